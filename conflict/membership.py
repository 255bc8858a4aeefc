"""Who takes part in a volume: how a lost actor is retired, and what all who remain have.

Retiring needs no consensus. Somebody says that an actor is lost (`Suspect`); everybody else stops
reading its log and says how far that was read (`Frozen`); when all have, the farthest of these is
where the log ends (`Fence`). All read it up to there; what it holds beyond is void.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce

from conflict.version import ActorId, Dot, VersionVector


@dataclass(frozen=True, slots=True)
class Suspect:
    """An actor is lost, and is to be retired."""

    actor: ActorId


@dataclass(frozen=True, slots=True)
class Frozen:
    """Who says this has read the actor's log up to the counter, and reads no further."""

    actor: ActorId
    counter: int


@dataclass(frozen=True, slots=True)
class Fence:
    """The actor's log ends with the counter. Who says this answers for its packs from now on."""

    actor: ActorId
    counter: int


Statement = Suspect | Frozen | Fence


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement, and the operation by which it was made."""

    dot: Dot
    statement: Statement


@dataclass(frozen=True, slots=True)
class Inherited:
    """What an earlier journal of a site knew, which a fresh one must know before it reads."""

    suspected: frozenset[ActorId] = frozenset()
    fences: Mapping[ActorId, int] = field(default_factory=dict)


NOTHING_INHERITED = Inherited()


class Membership:
    """What follows from all statements that were received."""

    def __init__(self, stated: Iterable[Stated], inherited: Inherited = NOTHING_INHERITED) -> None:
        """Takes the statements in, in any order."""
        self.suspected: set[ActorId] = set(inherited.suspected)
        self.fences: dict[ActorId, int] = dict(inherited.fences)
        self._frozen: dict[ActorId, dict[ActorId, int]] = {}
        self._fenced_by: dict[ActorId, Dot] = {}
        self._is_inherited = set(inherited.suspected)
        self._stated = list(stated)
        for each in self._stated:
            self._take(each.dot, each.statement)

    def _take(self, dot: Dot, statement: Statement) -> None:
        target = statement.actor
        self.suspected.add(target)
        match statement:
            case Suspect():
                return
            case Frozen():
                frozen = self._frozen.setdefault(target, {})
                frozen[dot.actor] = max(statement.counter, frozen.get(dot.actor, 0))
            case Fence():
                self.fences[target] = max(statement.counter, self.fences.get(target, 0))
                self._fenced_by[target] = min(dot, self._fenced_by.get(target, dot))

    def is_retired(self, actor: ActorId) -> bool:
        """Tells whether the actor is, or is about to be, no part of the volume any more."""
        return actor in self.suspected

    def limit(self, actor: ActorId, reader: ActorId) -> int | None:
        """Returns how far the reader may read the actor's log; None: as far as it goes."""
        if actor in self.fences:
            return self.fences[actor]
        frozen = self._frozen.get(actor, {})
        if reader not in frozen and actor in self._is_inherited:
            return 0
        return frozen.get(reader)

    def live(self, known: Iterable[ActorId], received: VersionVector) -> set[ActorId]:
        """Returns which of these take part: a fenced one does until its log was read to the end."""
        return {
            actor
            for actor in known
            if actor not in self.fences or received.counter_of(actor) < self.fences[actor]
        }

    def awaited(self, target: ActorId, known: Iterable[ActorId]) -> set[ActorId]:
        """Returns whose word is missing before a suspected actor can be fenced."""
        frozen = self._frozen.get(target, {})
        return self._remaining(known) - frozen.keys()

    def due(
        self, own: ActorId, known: Iterable[ActorId], received: VersionVector
    ) -> list[Statement]:
        """Returns what an actor has to state now."""
        due: list[Statement] = []
        remaining = self._remaining(known)
        for target in sorted(self.suspected - self.fences.keys() - {own}):
            frozen = self._frozen.get(target, {})
            if frozen.get(own, -1) < received.counter_of(target):  # never, or not so far
                due.append(Frozen(target, received.counter_of(target)))
            elif own == min(remaining, default=None) and remaining <= frozen.keys():
                due.append(Fence(target, max(frozen.values())))
        return due

    def beyond_fence(self, received: VersionVector) -> ActorId | None:
        """Returns an actor of whose log more was received than is valid, None if there is none."""
        for actor, counter in sorted(self.fences.items()):
            if received.counter_of(actor) > counter:
                return actor
        return None

    def obsolete(self, certain: VersionVector) -> Iterator[Dot]:
        """Yields statements from which nothing follows any more: a fence stands for them.

        Args:
            certain: what everybody has.
        """
        for each in self._stated:
            fenced = self._fenced_by.get(each.statement.actor)
            is_over = fenced is not None and certain.includes(fenced)
            if is_over and certain.includes(each.dot) and not isinstance(each.statement, Fence):
                yield each.dot

    def owner_of(self, actor: ActorId) -> ActorId:
        """Returns who answers for an actor's packs: itself, or who fenced it, and so on."""
        seen: set[ActorId] = set()
        while actor in self._fenced_by and actor not in seen:
            seen.add(actor)
            actor = self._fenced_by[actor].actor
        return actor

    def to_inherit(self) -> Inherited:
        """Returns what the next journal of this site must know from its beginning."""
        return Inherited(frozenset(self.suspected), dict(self.fences))

    def _remaining(self, known: Iterable[ActorId]) -> set[ActorId]:
        return set(known) - self.suspected


def known_to_all(vectors: Iterable[VersionVector]) -> VersionVector:
    """Returns what every one of the vectors includes; nothing for no vectors."""
    return reduce(_meet, vectors, None) or VersionVector()


def _meet(one: VersionVector | None, other: VersionVector) -> VersionVector:
    if one is None:
        return other
    return VersionVector({a: min(n, other[a]) for a, n in one.items() if a in other})
