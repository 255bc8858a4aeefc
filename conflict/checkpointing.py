"""Which checkpoints count, and how much of each log they make superfluous.

A checkpoint counts when a second site has compared it with what it knows itself. An actor whose
log such a checkpoint covers says so in that very log; whoever has read this has read all that came
before it. So once all have, nobody reads that part of the log any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from conflict.version import ActorId, Dot, VersionVector

KEPT_COUNT = 2  # confirmed checkpoints that are always kept


@dataclass(frozen=True, slots=True)
class Written:
    """A checkpoint of the author's is complete in the store."""

    number: int
    digest: bytes  # of its manifest as stored
    covered: Mapping[ActorId, int]  # the next segment of each log that must still be read


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The author has read this checkpoint, and found in it just what it knows itself."""

    writer: ActorId
    number: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Released:
    """The segments of this log before `sequence` go when everybody has read that they go."""

    actor: ActorId  # the author, or one whom it fenced
    sequence: int


CheckpointStatement = Written | Confirmed | Released


@dataclass(frozen=True, slots=True)
class CheckpointStated:
    """A statement, and the operation by which it was made."""

    dot: Dot
    received: VersionVector  # what its author had received then
    statement: CheckpointStatement


@dataclass(frozen=True, slots=True)
class CheckpointKnown:
    """A checkpoint of which its writer told."""

    writer: ActorId
    dot: Dot
    received: VersionVector
    written: Written
    confirmers: frozenset[ActorId]


class Checkpointing:
    """What follows from all statements that were received, in any order."""

    def __init__(self, stated: Iterable[CheckpointStated]) -> None:
        # What was said with more knowledge comes later, whatever any clock says.
        statements = sorted(stated, key=lambda each: (sum(each.received.values()), each.dot))
        confirmers: dict[tuple[ActorId, int, bytes], set[ActorId]] = {}
        self._releases: list[tuple[Dot, Released]] = []
        self._confirmations: list[tuple[Dot, Confirmed]] = []
        for each in statements:
            match each.statement:
                case Confirmed(writer, number, digest):
                    confirmers.setdefault((writer, number, digest), set()).add(each.dot.actor)
                    self._confirmations.append((each.dot, each.statement))
                case Released():
                    self._releases.append((each.dot, each.statement))
                case Written():
                    pass
        self.written = [
            CheckpointKnown(
                each.dot.actor,
                each.dot,
                each.received,
                each.statement,
                frozenset(
                    confirmers.get(
                        (each.dot.actor, each.statement.number, each.statement.digest), ()
                    )
                ),
            )
            for each in statements
            if isinstance(each.statement, Written)
        ]

    def released(self, known: VersionVector | None = None) -> dict[ActorId, int]:
        """Returns with which segment logs begin, or will.

        Args:
            known: only what was said by one of these operations counts; None: all of it.
        """
        found: dict[ActorId, int] = {}
        for dot, release in self._releases:
            if known is None or known.includes(dot):
                found[release.actor] = max(release.sequence, found.get(release.actor, 0))
        return found

    def obsolete(
        self, confirmed: Sequence[CheckpointKnown], certain: VersionVector
    ) -> Iterator[Dot]:
        """Yields statements from which nothing follows any more.

        Args:
            confirmed: the checkpoints that count.
            certain: what everybody has.
        """
        outdated = self.outdated(confirmed)
        gone = {(each.writer, each.written.number) for each in outdated}
        yield from (each.dot for each in outdated if certain.includes(each.dot))
        for dot, confirmation in self._confirmations:
            if (confirmation.writer, confirmation.number) in gone and certain.includes(dot):
                yield dot
        begins = self.released(certain)
        for dot, release in self._releases:
            if release.sequence < begins.get(release.actor, 0) and certain.includes(dot):
                yield dot

    def newest(self) -> CheckpointKnown | None:
        """Returns the checkpoint that was written last: with the most knowledge."""
        return self.written[-1] if self.written else None

    def confirmed(
        self, site_of: Callable[[ActorId], str], live: Collection[ActorId]
    ) -> list[CheckpointKnown]:
        """Returns the checkpoints that count, oldest first.

        Another site has to have compared it. Where there is no other site, it is enough that the
        writer read it back.
        """
        sites = {site_of(actor) for actor in live}
        return [
            each
            for each in self.written
            if _is_confirmed(each, site_of, is_alone=sites <= {site_of(each.writer)})
        ]

    def outdated(self, confirmed: Sequence[CheckpointKnown]) -> list[CheckpointKnown]:
        """Returns the checkpoints after which enough others came that count."""
        return [
            each
            for each in self.written
            if sum(later.received.includes(each.dot) for later in confirmed) >= KEPT_COUNT
        ]


def _is_confirmed(
    known: CheckpointKnown, site_of: Callable[[ActorId], str], *, is_alone: bool
) -> bool:
    of_other_sites = {a for a in known.confirmers if site_of(a) != site_of(known.writer)}
    return bool(of_other_sites or (is_alone and known.confirmers))


def rank(actor: ActorId, live: Collection[ActorId], last: ActorId | None) -> int:
    """Returns how many others have their turn before this actor, after the last one who had it."""
    order = sorted(live)
    after = [each for each in order if last is not None and each > last]
    order = after + [each for each in order if each not in after]
    return order.index(actor) if actor in order else len(order)
