"""Supplying again: what a site asks of the others, and whose turn it is to answer. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from conflict.version import ActorId, Dot


@dataclass(frozen=True, slots=True)
class Want:
    """Chunks that the store does not give, with the packs that were tried for each.

    A place that is not among these answers it, whoever announced it and when: so a want needs no
    end of its own, and two sites that answer at the same time do no harm.
    """

    chunks: Mapping[bytes, frozenset[str]]  # digest -> packs


@dataclass(frozen=True, slots=True)
class Supplied:
    """Packs that hold chunks which were wanted, or were found to be missing."""

    packs: tuple[str, ...]


SupplyStatement = Want | Supplied


def is_answered(tried: frozenset[str], known: Collection[str]) -> bool:
    """Tells whether a chunk is known to be in a pack that was not tried in vain."""
    return not tried.issuperset(known)


def turn_of(want: Dot, actor: ActorId, actors: Collection[ActorId]) -> int:
    """Returns when an actor is to answer: 0 for at once, and each later one only if need be.

    The same at all sites that know the same actors, and another order for each want.
    """
    ordered = sorted({*actors, actor})
    return (ordered.index(actor) + want.counter) % len(ordered)
