"""Who wrote what after having seen what: dots and version vectors.

A dot names one operation for ever. A version vector tells a prefix of every actor's operations.
Parker et al., "Detection of Mutual Inconsistency in Distributed Systems", 1983; Preguica et al.,
"Dotted Version Vectors", 2010.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, NewType

from conflict.errors import MalformedValueError

ActorId = NewType("ActorId", bytes)  # one incarnation of a site's journal: 16 random bytes
ACTOR_SIZE_BYTES = 16
COUNTER_MAX = 2**62


def actor_id(value: bytes) -> ActorId:
    """Checks that bytes from outside can be an actor. Raises MalformedValueError."""
    if len(value) != ACTOR_SIZE_BYTES:
        raise MalformedValueError(f"not an actor: {len(value)} bytes instead of {ACTOR_SIZE_BYTES}")
    return ActorId(value)


class Dot(NamedTuple):
    """The name of one operation: the actor's n-th, counted from 1 without gaps."""

    actor: ActorId
    counter: int

    def __str__(self) -> str:
        return f"{self.actor.hex()[:8]}:{self.counter}"

    @property
    def label(self) -> str:
        """What operators call it: of a version, a conflict, a brake. A word of a command line."""
        return f"{self.actor.hex()[:8]}-{self.counter}"


def checked_dot(actor: bytes, counter: int) -> Dot:
    """Makes a dot of values from outside. Raises MalformedValueError."""
    if not 1 <= counter <= COUNTER_MAX:
        raise MalformedValueError(f"not a counter of operations: {counter}")
    return Dot(actor_id(actor), counter)


class VersionVector(Mapping[ActorId, int]):
    """The highest counter of each actor, all earlier ones included. Immutable and hashable.

    Actors without operations do not appear, so equal knowledge is an equal value. Join makes
    vectors a lattice: commutative, associative, idempotent.

    Raises:
        MalformedValueError: a counter below one or an actor of the wrong length.
    """

    __slots__ = ("_counters",)

    def __init__(self, counters: Mapping[ActorId, int] | None = None) -> None:
        self._counters: dict[ActorId, int] = dict(sorted((counters or {}).items()))
        for actor, counter in self._counters.items():
            checked_dot(actor, counter)

    def __getitem__(self, actor: ActorId) -> int:
        return self._counters[actor]

    def __iter__(self) -> Iterator[ActorId]:
        return iter(self._counters)

    def __len__(self) -> int:
        return len(self._counters)

    def __hash__(self) -> int:
        return hash(tuple(self._counters.items()))

    def __repr__(self) -> str:
        inside = ", ".join(f"{actor.hex()[:8]}:{n}" for actor, n in self._counters.items())
        return f"VersionVector({inside})"

    def counter_of(self, actor: ActorId) -> int:
        """Returns how many operations of the actor are included; 0 for an unknown actor."""
        return self._counters.get(actor, 0)

    def includes(self, dot: Dot) -> bool:
        """Tells whether the operation is part of this knowledge."""
        return dot.counter <= self.counter_of(dot.actor)

    def covers(self, other: VersionVector) -> bool:
        """Tells whether everything that `other` knows is known here."""
        return all(counter <= self.counter_of(actor) for actor, counter in other.items())

    def join(self, other: Mapping[ActorId, int]) -> VersionVector:
        """Returns what is known when both are."""
        counters = dict(self._counters)
        for actor, counter in other.items():
            counters[actor] = max(counter, counters.get(actor, 0))
        return VersionVector(counters)

    def changed_since(self, earlier: VersionVector) -> dict[ActorId, int]:
        """Returns the entries that `earlier` does not have so high."""
        return {a: n for a, n in self.items() if n > earlier.counter_of(a)}
