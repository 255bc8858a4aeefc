"""Numbers for actors, so that a stored dot or identity takes a few bytes instead of 24.

A reference is a pair. The first number is the actor's place in the table, the second one the
counter. The author has place 0, and its counters are stored as distances back from the counter of
the operation in hand: those are small, and alike from one operation to the next.
"""

from __future__ import annotations

from conflict.operations import ID_SIZE_BYTES, NOTHING, ROOT, Context, NodeId
from conflict.version import (
    ACTOR_SIZE_BYTES,
    COUNTER_MAX,
    ActorId,
    Dot,
    VersionVector,
    actor_id,
    checked_dot,
)
from transport.msgpack_codec import WireValue, byte_string, integer, pairs, shown
from transport.wire_errors import MalformedContentsError, OversizeObjectError

ACTORS_MAX = 2**16


class ActorTableWriter:
    """Gives each actor a place, in the order in which they are first asked for."""

    __slots__ = ("_places",)

    def __init__(self, author: ActorId) -> None:
        self._places: dict[bytes, int] = {author: 0}

    def packed(self) -> bytes:
        """Returns the whole table. To be called last, when all references are made.

        Raises:
            OversizeObjectError: more than ACTORS_MAX actors.
        """
        if len(self._places) > ACTORS_MAX:
            raise OversizeObjectError(
                f"{len(self._places)} actors in one object, {ACTORS_MAX} at most:"
                " start sites anew less often; this version can't forget old ones"
            )
        return b"".join(self._places)

    def place(self, actor: bytes) -> int:
        """Returns the actor's place in the table."""
        return self._places.setdefault(actor, len(self._places))

    def dot(self, dot: Dot, origin: int) -> tuple[int, int]:
        """Returns a reference to an operation from the one with the counter `origin`."""
        return self._reference(dot.actor, dot.counter, origin)

    def identity(self, identity: bytes, origin: int) -> tuple[int, int]:
        """Returns a reference to a node or link; the root's actor and counter are zero.

        Raises:
            MalformedValueError: no operation can have created this identity.
        """
        actor = identity[:ACTOR_SIZE_BYTES]
        counter = int.from_bytes(identity[ACTOR_SIZE_BYTES:], "big")
        is_known = actor in self._places and 1 <= counter <= COUNTER_MAX
        if not is_known and identity != ROOT:
            checked_dot(actor, counter)
        return self._reference(actor, counter, origin)

    def context(self, context: Context, origin: int) -> tuple[int, ...]:
        """Returns references to all dots, in order of the dots, in one flat array."""
        if not context:
            return ()
        return tuple(number for dot in sorted(context) for number in self.dot(dot, origin))

    def vector(self, vector: VersionVector) -> tuple[int, ...]:
        """Returns places and counters (no distances) in turn."""
        return tuple(n for item in vector.items() for n in (self.place(item[0]), item[1]))

    def _reference(self, actor: bytes, counter: int, origin: int) -> tuple[int, int]:
        place = self.place(actor)
        return (place, counter) if place else (0, origin - counter)


class ActorTable:
    """Resolves the references that an ActorTableWriter made.

    Every method raises MalformedContentsError or MalformedValueError for what it can't have made.
    """

    __slots__ = ("_actors",)

    def __init__(self, packed: WireValue) -> None:
        joined = byte_string(packed, "actors")
        count = len(joined) // ACTOR_SIZE_BYTES
        if not 1 <= count <= ACTORS_MAX or len(joined) % ACTOR_SIZE_BYTES:
            raise MalformedContentsError(f"not a table of actors: {len(joined)} bytes")
        self._actors = tuple(
            actor_id(joined[start : start + ACTOR_SIZE_BYTES])
            for start in range(0, len(joined), ACTOR_SIZE_BYTES)
        )
        if len(set(self._actors)) != count:
            raise MalformedContentsError("an actor is in the table twice")

    @property
    def author(self) -> ActorId:
        """The actor whose operations these are."""
        return self._actors[0]

    def actor(self, place: WireValue) -> ActorId:
        """Returns the actor at this place."""
        if type(place) is not int or not 0 <= place < len(self._actors):
            raise MalformedContentsError(
                f"{shown(place)} is not one of the {len(self._actors)} actors in the table"
            )
        return self._actors[place]

    def dot(self, place: WireValue, number: WireValue, origin: int) -> Dot:
        """Returns the dot that is referred to from the operation with the counter `origin`."""
        return checked_dot(self.actor(place), _counter(place, number, origin))

    def identity(self, place: WireValue, number: WireValue, origin: int) -> NodeId:
        """Returns the node or link that is referred to."""
        actor, counter = self.actor(place), _counter(place, number, origin)
        identity = NodeId(actor + counter.to_bytes(ID_SIZE_BYTES - ACTOR_SIZE_BYTES, "big"))
        if not counter and identity != ROOT:
            raise MalformedContentsError(f"{actor.hex()}:0 is neither the root nor an operation")
        return identity

    def context(self, value: WireValue, origin: int, subject: str) -> Context:
        """Returns the dots that are referred to."""
        if value == ():
            return NOTHING
        references = pairs(value, subject)
        dots = frozenset(self.dot(place, number, origin) for place, number in references)
        if len(dots) != len(references):
            raise MalformedContentsError(f"{subject}: a dot is there twice")
        return dots

    def vector(self, value: WireValue, subject: str) -> VersionVector:
        """Returns the version vector."""
        return VersionVector(self.counters(value, 1, subject))

    def counters(self, value: WireValue, lowest: int, subject: str) -> dict[ActorId, int]:
        """Returns actors with their numbers, each of which is at least `lowest`."""
        entries = pairs(value, subject)
        counters = {
            self.actor(place): integer(number, lowest, COUNTER_MAX, subject)
            for place, number in entries
        }
        if len(counters) != len(entries):
            raise MalformedContentsError(f"{subject}: an actor is there twice")
        return counters


def _counter(place: WireValue, number: WireValue, origin: int) -> int:
    if type(number) is not int:
        raise MalformedContentsError(f"{shown(number)} is not a counter of operations")
    counter = number if place else origin - number
    if not 0 <= counter <= COUNTER_MAX:
        raise MalformedContentsError(f"not a counter of operations: {counter}")
    return counter
