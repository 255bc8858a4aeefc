"""Epochs: who is the primary, decided by every site alike from what sites declared.

A site claims the next number in the log. Concurrent claims of one number are told apart by random
bits of the claiming actor, so the epoch in the stamps is another for each claim, and the highest
one wins everywhere. Nobody grants anything, so nobody has to be reachable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from conflict.stamp import Stamp
from conflict.version import ActorId, Dot, VersionVector

ACTOR_BITS = 40
NUMBER_MAX = 2**21  # so that an epoch fits into a stamp


@dataclass(frozen=True, slots=True)
class Claim:
    """A site is the primary from here on."""

    number: int  # 1 for the first primary of a volume
    site: str


@dataclass(frozen=True, slots=True)
class Release:
    """Who claimed this epoch writes no more in it: all that it ever wrote comes before this."""

    epoch: int


EpochStatement = Claim | Release


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement, the operation by which it was made, and what its author had received."""

    dot: Dot
    received: VersionVector
    statement: EpochStatement


@dataclass(frozen=True, slots=True)
class Tenure:
    """One claim, and its end if that was declared.

    Attributes:
        epoch: in the stamps of what the primary writes.
        received: what the claimant had received. What is written with a lower epoch and is not
            part of this is late.
        barrier: all that was written in the epoch, and before; None: it goes on.
    """

    epoch: int
    number: int
    site: str
    dot: Dot
    received: VersionVector
    barrier: VersionVector | None = None

    @property
    def actor(self) -> ActorId:
        """Who claimed it."""
        return self.dot.actor


@dataclass(frozen=True, slots=True)
class Succession:
    """All tenures of a volume, the lowest epoch first."""

    tenures: Sequence[Tenure] = field(default=())

    @property
    def current(self) -> Tenure | None:
        """The one that counts; None: nobody ever was the primary."""
        return self.tenures[-1] if self.tenures else None

    @property
    def next_number(self) -> int:
        """The number that the next claim takes."""
        return self.tenures[-1].number + 1 if self.tenures else 1

    def own(self, actor: ActorId) -> Tenure | None:
        """Returns the last tenure of an actor."""
        own = [tenure for tenure in self.tenures if tenure.actor == actor]
        return own[-1] if own else None

    def is_late(self, dot: Dot, stamp: Stamp) -> bool:
        """Tells whether an operation was written by who did not know of a later primary.

        It is when a claim of a higher epoch was made by somebody who had not received it.
        """
        return any(
            stamp.epoch < tenure.epoch and not tenure.received.includes(dot)
            for tenure in self.tenures
        )


def epoch_of(number: int, actor: ActorId) -> int:
    """Returns the epoch that a claim brings: higher for a higher number, unique to its actor.

    Actors are random, so two of them share these bits once in a million million times.
    """
    return (number << ACTOR_BITS) | int.from_bytes(actor[: ACTOR_BITS // 8], "big")


def succession(stated: Iterable[Stated]) -> Succession:
    """Derives the tenures from statements, in any order and as often as they come."""
    claims: dict[int, Stated] = {}
    releases: dict[tuple[ActorId, int], Stated] = {}
    for each in sorted(set(stated), key=lambda each: each.dot):
        match each.statement:
            case Claim(number=number):
                claims.setdefault(epoch_of(number, each.dot.actor), each)
            case Release(epoch=epoch):
                releases.setdefault((each.dot.actor, epoch), each)
    return Succession(
        tuple(
            _tenure(epoch, claims[epoch], releases.get((claims[epoch].dot.actor, epoch)))
            for epoch in sorted(claims)
        )
    )


def _tenure(epoch: int, claimed: Stated, released: Stated | None) -> Tenure:
    claim = claimed.statement
    assert isinstance(claim, Claim)
    barrier = None
    if released is not None:
        barrier = released.received.join({released.dot.actor: released.dot.counter})
    return Tenure(epoch, claim.number, claim.site, claimed.dot, claimed.received, barrier)
