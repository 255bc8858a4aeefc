"""Collecting packs that nobody needs: what was said of them, and what follows from it.

Every pack has one owner. The owner *condemns* it; from then on nobody refers to its chunks anew.
When all have applied these words, the owner looks again, and *spares* it or *dooms* it. When all
know that, and a while has passed, it is deleted.

Why that is safe: an operation that refers to a condemned pack was written before its author had
applied the condemnation, so it is read before the author's word that this was applied. The owner
looks again after that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from conflict.version import ActorId, Dot, VersionVector


@dataclass(frozen=True, slots=True)
class Condemn:
    """Nobody may refer to what is in these packs any more, until they are spared."""

    packs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spare:
    """These packs are needed after all."""

    packs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Doom:
    """These packs will be deleted."""

    packs: tuple[str, ...]


Verdict = Condemn | Spare | Doom


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict, and the operation by which it was told."""

    dot: Dot
    verdict: Verdict


class Verdicts:
    """What follows from all that was received."""

    def __init__(self, told: Iterable[Told]) -> None:
        """Takes the verdicts in; each actor's in the order in which they were written."""
        self.doomed: dict[str, Dot] = {}
        self._condemned: dict[str, dict[ActorId, Dot]] = {}
        self._told = sorted(told, key=lambda told: told.dot)
        for each in self._told:
            self._take(each.dot, each.verdict)
        self.forbidden: frozenset[str] = frozenset(self._condemned) | frozenset(self.doomed)

    def _take(self, dot: Dot, verdict: Verdict) -> None:
        for pack in verdict.packs:
            match verdict:
                case Condemn():
                    self._condemned.setdefault(pack, {})[dot.actor] = dot
                case Spare():
                    condemned = self._condemned.get(pack, {})
                    condemned.pop(dot.actor, None)
                    if not condemned:
                        self._condemned.pop(pack, None)
                case Doom():
                    self.doomed[pack] = min(dot, self.doomed.get(pack, dot))

    def waiting(self, owner: ActorId) -> dict[str, Dot]:
        """Returns the packs that an actor condemned and has not judged yet."""
        return {
            pack: actors[owner]
            for pack, actors in sorted(self._condemned.items())
            if owner in actors and pack not in self.doomed
        }

    def to_judge(self, owner: ActorId, stable: VersionVector) -> list[str]:
        """Returns which of these all others have applied, so that it is time to look again."""
        return [pack for pack, dot in self.waiting(owner).items() if stable.includes(dot)]

    def obsolete(self, certain: VersionVector, is_over: Callable[[str], bool]) -> Iterator[Dot]:
        """Yields verdicts from which nothing follows any more.

        Args:
            certain: what everybody has.
            is_over: tells whether a doomed pack is deleted for good, as far as it is ours to
                delete, and no place in it is known.
        """
        kept: dict[str, list[Dot]] = {}  # packs -> what is kept of their being condemned
        for each in self._told:
            if isinstance(each.verdict, Condemn):
                packs = each.verdict.packs
                if all(self._is_answered(pack, each.dot, certain) for pack in packs):
                    yield each.dot
                else:
                    for pack in packs:
                        kept.setdefault(pack, []).append(each.dot)
        for each in self._told:
            match each.verdict:
                case Condemn():
                    continue
                case Spare(packs):
                    is_needed = any(
                        dot.actor == each.dot.actor for pack in packs for dot in kept.get(pack, ())
                    )
                case Doom(packs):
                    is_needed = any(pack in kept or not is_over(pack) for pack in packs)
            if not is_needed and certain.includes(each.dot):
                yield each.dot

    def _is_answered(self, pack: str, condemned: Dot, certain: VersionVector) -> bool:
        if not certain.includes(condemned):
            return False
        if pack in self.doomed:
            return certain.includes(self.doomed[pack])
        return any(
            each.dot.actor == condemned.actor
            and each.dot > condemned
            and isinstance(each.verdict, Spare)
            and pack in each.verdict.packs
            and certain.includes(each.dot)
            for each in self._told
        )

    def to_delete(self, stable: VersionVector) -> list[str]:
        """Returns the packs whose doom all others have applied."""
        return [pack for pack, dot in sorted(self.doomed.items()) if stable.includes(dot)]


def judge(packs: Iterable[str], needed: Collection[str]) -> tuple[Spare, Doom]:
    """Divides packs into those that are needed after all, and the others."""
    every = tuple(sorted(packs))
    return (
        Spare(tuple(pack for pack in every if pack in needed)),
        Doom(tuple(pack for pack in every if pack not in needed)),
    )
