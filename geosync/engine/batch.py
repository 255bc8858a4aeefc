"""A batch: changes that are staged, synced and committed together.

The order of durability: contents are staged and synced; then the intents are committed; then the
disk is changed and synced; then the synced tree is committed. A crash between any two of these is
mended by geosync.engine.recovery, which asks the disk which of the intended changes were made.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from conflict.actions import (
    Action,
    Adopt,
    ApplyAttributes,
    LinkFile,
    Park,
    PlaceFile,
    ReplaceFile,
    entries_of,
)
from conflict.synced import PARKED, ROOT_ENTRY, EntryId, Path, SyncedEntry
from geosync.disk.interface import Applied, Busy, Failed, Mismatch
from geosync.engine.changing import REMOVALS, Changer
from geosync.engine.content_stage import ContentStage
from geosync.engine.downloading import ContentUnavailable, StillComing
from geosync.engine.fetching import NO_ROOM, Fetcher, is_large
from geosync.engine.gathering import Gathering
from geosync.engine.generation import begin_generation
from geosync.engine.intending import intents_of
from geosync.engine.places import NEVER_SEEN, note_own_times
from geosync.engine.planned_entries import PlannedEntries
from geosync.engine.replaced_file import ReplacedFile
from geosync.engine.site import Site
from geosync.engine.step import Step

BATCH_ACTIONS_MAX: Final = 500
BATCH_SIZE_BYTES_MAX: Final = 32 * 1024 * 1024
# Of one file, not of the disk: the target of a symlink is too long for xfs; no FIFOs, no symlinks.
_CANT_BE_HERE: Final = frozenset((errno.ENAMETOOLONG, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL))


@dataclass(slots=True)
class ApplyResult:
    """What one round of applying did and could not do."""

    done: int = 0
    arrived: set[Path] = field(default_factory=set)  # names that show something else now
    blocked: dict[Path, str] = field(default_factory=dict)  # path -> why, for the operator
    failed: dict[Path, str] = field(default_factory=dict)  # of these, what the system refused
    to_capture: set[Path] = field(default_factory=set)  # directories that hold a surprise
    to_bring_out: set[EntryId] = field(default_factory=set)  # parked directories that hold one
    no_room: OSError | None = None  # for some file; all others were gone on with
    is_coming: bool = False  # some large file is on its way: it is worth going on at once
    undone: list[Action] = field(default_factory=list)


def batches(actions: Iterable[Action]) -> Iterator[list[Action]]:
    """Cuts a plan into pieces of bounded size; a large file ends one: it may have yet to come."""
    batch: list[Action] = []
    size_bytes = 0
    for action in actions:
        batch.append(action)
        is_last = False
        if isinstance(action, (PlaceFile, ReplaceFile)):
            size_bytes += action.content.size_bytes
            is_last = is_large(action.content)
        is_full = len(batch) >= BATCH_ACTIONS_MAX or size_bytes >= BATCH_SIZE_BYTES_MAX
        if is_full or is_last:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


class BatchRunner:
    """Carries out the batches of one plan."""

    def __init__(
        self, site: Site, fetcher: Fetcher, entries: PlannedEntries, stage: ContentStage
    ) -> None:
        self._site = site
        self._fetcher = fetcher
        self._entries = entries
        self._stage = stage
        self._changer = Changer(site, fetcher, entries)
        self._expected: Gathering | None = None  # for the next batch

    def run(self, batch: list[Action], following: list[Action], result: ApplyResult) -> None:
        """Does what can be done of one batch, and adds to `result` what became of it.

        Args:
            batch: what is to be done.
            following: what the next call will do, unless it is held back.
            result: gets what became of it.

        Raises:
            OSError: the stage can't be written or synced; nothing was changed by this batch.
        """
        steps = [Step(action) for action in batch]
        try:
            self._fetcher.use(self._expected or self._gathering(batch))
            self._expected = self._gathering(following)
            self._expected.begin()
            self._prepare(steps, result)
            self._change(steps, result)
        finally:
            for step in steps:
                if step.staged is not None:
                    self._site.disk.discard_staged(step.staged)
            self._fetcher.forget()

    def close(self) -> None:
        """Waits for nothing that was begun."""
        if self._expected is not None:
            self._expected.give_up()

    def hold_back(self, batch: list[Action], result: ApplyResult) -> None:
        """Does nothing of a batch: a large file that was written before it has yet to come."""
        for action in batch:
            result.undone.append(action)
            shown = self._entries.path(_subject(action))
            if shown is not None:
                result.blocked.setdefault(shown, "waits for a large file that was written before")

    def _gathering(self, batch: list[Action]) -> Gathering:
        contents = [a.content for a in batch if isinstance(a, (PlaceFile, ReplaceFile))]
        return self._fetcher.gathering(filter(self._stage.may_have_room, contents))

    def _prepare(self, steps: list[Step], result: ApplyResult) -> None:
        wanted = [
            (step, step.action)
            for step in steps
            if isinstance(step.action, (PlaceFile, ReplaceFile))
        ]
        for step, action in wanted:
            try:
                replaced = self._replaced(action)
                step.staged = self._stage.stage(action.content, action.attributes, replaced)
                self._site.progress.note_brought(1, 0, self._site.clock.monotonic_s())
            except StillComing as error:
                step.why_not = str(error)
                result.is_coming = True
            except ContentUnavailable as error:
                step.why_not = f"waits for its content: {error}"
            except OSError as error:
                if error.errno in _CANT_BE_HERE:
                    step.why_not = f"this file system can't hold it: {error.strerror}"
                    continue
                if error.errno not in NO_ROOM:
                    raise
                step.why_not = f"there is no room for it here: {error.strerror}"
                result.no_room = error
        if wanted:
            self._site.disk.sync_stage()

    def _replaced(self, action: PlaceFile | ReplaceFile) -> ReplacedFile | None:
        if not isinstance(action, ReplaceFile):
            return None
        was = self._entries.current(action.expected)
        path = self._entries.path(action.expected)
        if was is None or was.content is None or path is None:
            return None
        return ReplacedFile(path, was.handle, was.content)

    def _change(self, steps: list[Step], result: ApplyResult) -> None:
        for step in steps:
            self._entries.give_id(step.action)
        journal = self._site.journal
        intents = intents_of(steps, self._entries, journal.synced)
        if intents:
            with journal.transaction():
                journal.begin_intents(intents)
        with journal.transaction():
            for step in steps:
                self._run(step, result)
            self._changer.settle()
            note_own_times(self._site, self._directories_of(steps))
            if intents:
                begin_generation(self._site)
                # CRASH: changes that are not durable yet are undone by the file system as a
                # prefix; the intents are still there and the disk tells what became of them.
                self._site.disk.sync_changes()
            journal.end_intents()

    def _directories_of(self, steps: list[Step]) -> set[EntryId]:
        """Returns the directories in which a name came or went."""
        return {
            self._entries.id_of(entry.parent)
            for step in steps
            if not isinstance(step.action, (ApplyAttributes, Adopt))
            for entry in entries_of(step.action)
        }

    def _run(self, step: Step, result: ApplyResult) -> None:
        action = step.action
        if isinstance(action, Adopt):
            self._changer.adopt(action)
            return
        shown = self._entries.path(_subject(action))
        directories = self._visible_directories(action)
        names = self._visible_paths(entries_of(action))
        outcome = self._changer.change(step)
        if isinstance(outcome, Applied):
            result.done += 1
            result.arrived |= names
            if outcome.entry is not None and outcome.entry.fingerprint == NEVER_SEEN:
                result.to_capture |= directories
            return
        result.undone.append(action)
        if isinstance(outcome, Mismatch):
            self._changer.remember_strays(step)
            result.to_capture |= directories
        if isinstance(outcome, (Mismatch, Failed)):
            result.to_bring_out |= self._parked_above(action)
        if shown is None:
            return  # what it rests on is blocked, and shown
        if outcome is None:
            result.blocked.setdefault(shown, step.why_not)
            return
        _note_failure(shown, outcome, result, will_capture=self._site.role.may_capture)

    def _parked_above(self, action: Action) -> set[EntryId]:
        """Returns the parked directories that an action is about something in."""
        synced = self._site.journal.synced
        found: set[EntryId] = set()
        for entry in entries_of(action):
            above = synced.entry(self._entries.id_of(entry.parent))
            while above is not None and above.entry != ROOT_ENTRY:
                if above.parent == PARKED:
                    found.add(above.entry)
                    break
                above = synced.entry(above.parent)
        return found

    def _visible_directories(self, action: Action) -> set[Path]:
        """Returns the directories of the volume in which an action expects or makes something."""
        entries = [*entries_of(action)]
        if isinstance(action, LinkFile):
            source = self._site.journal.synced.entry(self._entries.id_of(action.source))
            entries += [source] if source is not None else []
        return {path[:-1] for path in self._visible_paths(entries)}

    def _visible_paths(self, entries: Iterable[SyncedEntry]) -> set[Path]:
        visible = (entry for entry in entries if entry.parent != PARKED)
        return {path for path in map(self._entries.path, visible) if path}


def _subject(action: Action) -> SyncedEntry:
    return action.expected if isinstance(action, (*REMOVALS, Park)) else action.becomes


def _note_failure(
    path: Path, outcome: Mismatch | Busy | Failed, result: ApplyResult, *, will_capture: bool
) -> None:
    match outcome:
        case Mismatch() if will_capture:
            result.blocked[path] = "changed on this site meanwhile; it is captured first"
        case Mismatch():
            result.blocked[path] = (
                "was changed on this site, where nothing is captured; what the volume has there"
                " waits (see: geosync conflicts list)"
            )
        case Busy():
            result.blocked[path] = "a program has the file open for writing"
        case Failed(reason=reason, errno=number):
            result.blocked[path] = result.failed[path] = reason
            if number in (errno.ENOTEMPTY, errno.EEXIST):
                result.to_capture.update((path[:-1], path))
