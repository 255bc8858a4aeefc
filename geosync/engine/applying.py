"""Applying: makes the disk show the merged tree. Plans, stages, swaps, and keeps what it displaced.

The order of durability: contents are staged and synced; then the intents are committed; then the
disk is changed and synced; then the synced tree is committed. A crash between any two of these is
mended by geosync.engine.recovery, which asks the disk which of the intended changes were made.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from conflict.actions import (
    Action,
    Adopt,
    ApplyAttributes,
    LinkFile,
    MakeDirectory,
    Move,
    Park,
    PlaceFile,
    RemoveDirectory,
    RemoveFile,
    ReplaceFile,
)
from conflict.content import Content, ContentKind
from conflict.merged_tree import ROOT_LOCATION
from conflict.node import Location
from conflict.observation import Attributes
from conflict.operations import ROOT, NodeId
from conflict.planner import plan
from conflict.policy import policy_of
from conflict.report import contended_paths
from conflict.synced import (
    PARKED,
    ROOT_ENTRY,
    EntryId,
    Path,
    SyncedEntry,
    path_of_entry,
)
from geosync.disk.interface import (
    Applied,
    Busy,
    Expected,
    Failed,
    Mismatch,
    Outcome,
    RelativePath,
    Staged,
)
from geosync.engine.dirty_names import DirtyNames
from geosync.engine.fetching import ContentUnavailable, Fetcher
from geosync.engine.places import NEVER_SEEN, as_seen, note_own_times, path_on_disk
from geosync.engine.site import Site, joined, split
from geosync.event_log import event_logger
from geosync.journal.journal import ANY_DIRECTORY, Intent, RetiredFile

BATCH_ACTIONS_MAX: Final = 500
BATCH_SIZE_BYTES_MAX: Final = 32 * 1024 * 1024
_log = event_logger(__name__)


@dataclass(slots=True)
class ApplyResult:
    """What one round of applying did and could not do."""

    done: int = 0
    blocked: dict[Path, str] = field(default_factory=dict)  # path -> why, for the operator
    to_capture: set[Path] = field(default_factory=set)  # directories that hold a surprise
    no_room: OSError | None = None  # for some file; all others were gone on with
    undone: list[Action] = field(default_factory=list)


@dataclass(slots=True)
class _Step:
    """One action with what was prepared for it."""

    action: Action
    staged: Staged | None = None
    why_not: str = "waits for another change"  # for the operator, if it can't be done now


class Applier:
    """Knows which names may differ between merged tree and disk, and brings them together."""

    def __init__(self, site: Site, fetcher: Fetcher) -> None:
        self._site = site
        self._fetcher = fetcher
        self._dirty = DirtyNames(site.journal)
        self._ids: dict[EntryId, EntryId] = {}

    def mark(self, touched: Iterable[Location]) -> None:
        """Says that the merged tree may look different at these names."""
        names = set(touched)
        if ROOT_LOCATION in names or self._moves_policies(names):
            self._dirty.add_paths(contended_paths(self._site.journal.nodes))
        self._dirty.add(names - {ROOT_LOCATION})

    def _moves_policies(self, names: set[Location]) -> bool:
        """Tells whether other policies may hold for what is below one of these names."""
        nodes = self._site.journal.nodes
        if not policy_of(nodes.node(ROOT)).depends_on_directory:
            return False
        found = (nodes.node(live.node) for at in names for live in nodes.live_links_at(at))
        return any(state is not None and state.is_directory for state in found)

    def mark_everything(self) -> None:
        """Compares the whole trees next time: after a crash, nobody knows what was under way."""
        nodes, synced = self._site.journal.nodes, self._site.journal.synced
        pending: list[NodeId] = [ROOT]
        while pending:
            node = pending.pop()
            for live in nodes.live_links_in(node):
                self._dirty.add([Location(node, live.name)])
                pending.append(live.node)
        below: list[EntryId] = [ROOT_ENTRY]
        while below:
            entry = below.pop()
            for child in synced.entries_in(entry):
                self._dirty.add_entry(entry, child.name)
                if child.is_directory:
                    below.append(child.entry)

    def has_work(self) -> bool:
        """Tells whether the disk may differ from the merged tree."""
        return bool(self._dirty) or any(self._site.journal.synced.entries_in(PARKED))

    def waiting(self) -> list[Path]:
        """Returns the names at which the disk may differ, sorted."""
        return sorted(self._dirty.paths())

    def apply(self) -> ApplyResult:
        """Does what can be done now; the rest stays marked.

        Raises:
            OSError: the stage can't be written or synced; nothing was changed by this batch.
        """
        result = ApplyResult()
        journal = self._site.journal
        asked, paths = self._dirty, self._dirty.paths()
        planned = plan(journal.nodes, journal.synced, paths)
        self._ids = {}
        self._dirty = DirtyNames(journal)
        self._dirty.update(asked)
        self._note(planned.actions)  # an exception must not lose what the planner found
        for batch in _batches(planned.actions):
            self._run_batch(batch, result)
        # Names below a directory that was moved are elsewhere now: they were not planned.
        self._dirty = asked.displaced(paths)
        self._note(result.undone)
        self._dirty.add_paths(self._spoilt(planned.actions))
        if not self.has_work():
            self._fetcher.discard_downloads()
        return result

    def _note(self, actions: Iterable[Action]) -> None:
        """Marks the names that actions are about."""
        nodes = self._site.journal.nodes
        for action in actions:
            for entry in (getattr(action, "expected", None), getattr(action, "becomes", None)):
                if entry is None:
                    continue
                for claim in entry.claims:
                    state = nodes.node(claim.node)
                    at = state.presence().get(claim.link) if state is not None else None
                    self._dirty.add([at] if at is not None else [])
                parent = self._real(entry.parent)
                if parent >= ROOT_ENTRY:
                    self._dirty.add_entry(parent, entry.name)

    def _spoilt(self, actions: Iterable[Action]) -> set[Path]:
        """Returns directories whose mtime a program changed while we were restoring it."""
        found: set[Path] = set()
        for action in actions:
            if isinstance(action, ApplyAttributes) and action.becomes.is_directory:
                now = self._site.journal.synced.entry(self._real(action.becomes.entry))
                if now is not None and now.intended.mtime_ns != action.attributes.mtime_ns:
                    found.add(path_of_entry(self._site.journal.synced, now) or ())
        return found - {()}

    def note_applied(self) -> None:
        """Remembers, once nothing is left to do, that all that was received is on the disk."""
        journal = self._site.journal
        received = journal.log.received()
        if not self.has_work() and self._site.applied() != received:
            with journal.transaction():
                self._site.save_applied(received)

    # One batch

    def _run_batch(self, actions: list[Action], result: ApplyResult) -> None:
        steps = [_Step(action) for action in actions]
        try:
            self._stage(steps, result)
            self._change(steps, result)
        finally:
            self._discard_unused(steps)
            self._fetcher.forget()

    def _change(self, steps: list[_Step], result: ApplyResult) -> None:
        for step in steps:
            self._give_real_id(step.action)
        intents = self._intents(steps)
        journal = self._site.journal
        if intents:
            with journal.transaction():
                journal.begin_intents(intents)
        with journal.transaction():
            for step in steps:
                self._run(step, result)
            note_own_times(self._site, self._directories_of(steps))
            if intents:
                # CRASH: changes that are not durable yet are undone by the file system as a
                # prefix; the intents are still there and the disk tells what became of them.
                self._site.disk.sync_changes()
            journal.end_intents()

    def _stage(self, steps: list[_Step], result: ApplyResult) -> None:
        wanted = [
            (step, step.action)
            for step in steps
            if isinstance(step.action, (PlaceFile, ReplaceFile))
        ]
        self._fetcher.prefetch(action.content for _, action in wanted)
        for step, action in wanted:
            try:
                step.staged = self._staged(action.content, action.attributes)
            except ContentUnavailable as error:
                step.why_not = f"waits for its content: {error}"
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                step.why_not = f"there is no room for it here: {error.strerror}"
                result.no_room = error
        if wanted:
            self._site.disk.sync_stage()

    def _staged(self, content: Content, attributes: Attributes) -> Staged:
        disk = self._site.disk
        if content.kind is ContentKind.SYMLINK:
            return disk.stage_symlink(content.target, attributes)
        if content.kind is ContentKind.FIFO:
            return disk.stage_fifo(attributes)
        file = disk.stage_file(content.size_bytes)
        try:
            for block in self._fetcher.blocks(content):
                file.write(block)
            return file.finish(attributes)
        except BaseException:
            file.abandon()
            raise

    def _discard_unused(self, steps: list[_Step]) -> None:
        for step in steps:
            if step.staged is not None:
                self._site.disk.discard_staged(step.staged)

    # Planned entries and real ones

    def _give_real_id(self, action: Action) -> None:
        """The planner numbers new entries below zero; the journal gives them numbers of its own."""
        becomes = getattr(action, "becomes", None)
        if becomes is not None and becomes.entry < PARKED and becomes.entry not in self._ids:
            self._ids[becomes.entry] = self._site.journal.synced.new_entry_id()

    def _real(self, entry: EntryId) -> EntryId:
        return self._ids.get(entry, entry)

    def _realised(self, entry: SyncedEntry) -> SyncedEntry:
        return replace(entry, entry=self._real(entry.entry), parent=self._real(entry.parent))

    def _current(self, expected: SyncedEntry) -> SyncedEntry | None:
        """Returns the entry as it is now, None unless it is what and where the plan expects.

        It is not when an earlier change could not be made: to go on would record a content that
        is not on the disk, and what is there would be taken for a program's later write.
        """
        wanted = self._realised(expected)
        now = self._site.journal.synced.entry(wanted.entry)
        is_there = now is not None and (now.parent, now.name) == (wanted.parent, wanted.name)
        return now if now is not None and is_there and now.content == wanted.content else None

    def _intents(self, steps: list[_Step]) -> list[Intent]:
        """Says what each change leaves at its place, given that those before it were made."""
        handles: dict[EntryId, bytes] = {}
        found = (self._intent(step, handles) for step in steps)
        return [intent for intent in found if intent is not None]

    def _intent(self, step: _Step, handles: dict[EntryId, bytes]) -> Intent | None:
        action = step.action
        match action:
            case PlaceFile() | ReplaceFile():
                handle = step.staged.handle if step.staged is not None else None
            case Move() | Park() | ApplyAttributes():
                handle = self._handle(action.expected.entry, action.expected.content, handles)
            case LinkFile():
                handle = self._handle(action.source, action.becomes.content, handles)
            case MakeDirectory():
                handle = ANY_DIRECTORY
            case RemoveFile() | RemoveDirectory():
                entry = self._real(action.expected.entry)
                return Intent(entry, action.expected.handle, None)
            case Adopt():
                return None
            case _:
                assert_never(action)
        if handle is None:
            return None
        becomes = self._realised(action.becomes)
        handles[becomes.entry] = handle
        return Intent(becomes.entry, handle, becomes)

    def _handle(
        self, entry: EntryId, content: Content | None, handles: dict[EntryId, bytes]
    ) -> bytes | None:
        """Returns the inode of an entry once the changes before this one are made.

        None when it can't have the content that the plan expects by then.
        """
        real = self._real(entry)
        if real in handles:
            return handles[real]
        now = self._site.journal.synced.entry(real)
        return now.handle if now is not None and now.content == content else None

    def _directories_of(self, steps: list[_Step]) -> set[EntryId]:
        """Returns the directories in which a name came or went."""
        entries = (
            entry
            for step in steps
            if not isinstance(step.action, (ApplyAttributes, Adopt))
            for entry in (
                getattr(step.action, "expected", None),
                getattr(step.action, "becomes", None),
            )
        )
        return {self._real(entry.parent) for entry in entries if entry is not None}

    def _planned_path(self, entry: SyncedEntry) -> Path | None:
        real = self._realised(entry)
        if real.parent == PARKED:
            return split(self._site.disk.parked_path(real.handle))
        above = self._site.journal.synced.entry(real.parent)
        path = path_of_entry(self._site.journal.synced, above) if above is not None else None
        return None if path is None else (*path, real.name)

    # One action

    def _run(self, step: _Step, result: ApplyResult) -> None:
        action = step.action
        if isinstance(action, Adopt):
            self._adopt(action)
            return
        subject = action.becomes if not isinstance(action, _REMOVALS) else action.expected
        shown = self._planned_path(subject)
        outcome = self._outcome(step)
        if isinstance(outcome, Applied):
            result.done += 1
            return
        result.undone.append(action)
        if isinstance(outcome, Mismatch):
            self._remember_strays(action)
        if shown is None:
            return  # what it rests on is blocked, and shown
        if outcome is None:
            result.blocked.setdefault(shown, step.why_not)
            return
        self._note_failure(shown, outcome, result)

    def _remember_strays(self, action: Action) -> None:
        """Keeps track of a program's file that ended up in the trash although we gave way.

        RACE: a program that renames over a name, again and again, while we undo a swap, can have
        one of its files end there. Its content is captured as a version of the file at the name.
        """
        expected = getattr(action, "expected", None)
        was = self._current(expected) if expected is not None else None
        if was is None or was.is_directory:
            return
        known = {retired.token for retired in self._site.journal.retired()}
        for stray in self._site.disk.retired():
            if stray.token not in known:
                self._site.journal.add_retired(
                    RetiredFile(
                        token=stray.token,
                        handle=stray.entry.handle,
                        fingerprint=NEVER_SEEN,
                        since_ms=self._site.now_ms(),
                        was=was,
                    )
                )

    def _note_failure(
        self, path: Path, outcome: Mismatch | Busy | Failed, result: ApplyResult
    ) -> None:
        match outcome:
            case Mismatch():
                result.blocked[path] = "changed on this site meanwhile; it is captured first"
                result.to_capture.add(path[:-1])
            case Busy():
                result.blocked[path] = "a program has the file open for writing"
            case Failed(reason=reason, errno=number):
                result.blocked[path] = reason
                if number in (errno.ENOTEMPTY, errno.EEXIST):
                    result.to_capture.update((path[:-1], path))
                _log.warning("change_failed", path=joined(path), reason=reason)

    def _adopt(self, action: Adopt) -> None:
        wanted = self._realised(action.becomes)
        now = self._site.journal.synced.entry(wanted.entry)
        if now is not None and (now.parent, now.name) == (wanted.parent, wanted.name):
            is_same_content = now.content == wanted.content
            if is_same_content:
                self._site.journal.synced.save_entry(
                    replace(now, claims=wanted.claims, losers=wanted.losers, copy_of=wanted.copy_of)
                )

    def _outcome(self, step: _Step) -> Outcome | None:
        """Makes one change; None when what it rests on did not happen."""
        action = step.action
        if isinstance(action, _REMOVALS):
            return self._remove(action)
        assert not isinstance(action, Adopt)
        becomes = self._realised(action.becomes)
        target = path_on_disk(self._site, becomes)
        expected = getattr(action, "expected", None)
        now = self._current(expected) if expected is not None else None
        if target is None or (expected is not None and now is None):
            return None
        outcome: Outcome | None
        match action:
            case MakeDirectory(attributes=attributes):
                outcome = self._site.disk.make_directory(target, attributes)
            case PlaceFile() | ReplaceFile():
                outcome = self._place(step, now, target)
            case LinkFile():
                outcome = self._link(action, target, now)
            case Move() | Park() | ApplyAttributes():
                outcome = self._change_in_place(action, now, target)
            case _:
                assert_never(action)
        if isinstance(outcome, Applied):
            self._record(becomes, outcome, now)
        return outcome

    def _place(self, step: _Step, now: SyncedEntry | None, target: RelativePath) -> Outcome | None:
        if step.staged is None:
            return None
        if now is None:
            outcome = self._site.disk.place_new(step.staged, target)
        else:
            outcome = self._site.disk.replace(step.staged, target, _expected(now))
        if isinstance(outcome, Applied):
            self._placed(step)
        return outcome

    def _placed(self, step: _Step) -> None:
        assert isinstance(step.action, (PlaceFile, ReplaceFile))
        step.staged = None
        self._fetcher.finish_download(step.action.content)

    def _change_in_place(
        self, action: Move | Park | ApplyAttributes, now: SyncedEntry | None, target: RelativePath
    ) -> Outcome | None:
        path = path_on_disk(self._site, now) if now is not None else None
        if now is None or path is None:
            return None
        match action:
            case Move():
                return self._site.disk.move(path, target, _expected(now))
            case Park():
                return self._site.disk.park(path, _expected(now))
            case ApplyAttributes(attributes=attributes):
                return self._site.disk.set_attributes(path, _expected(now), attributes)

    def _link(
        self, action: LinkFile, target: RelativePath, now: SyncedEntry | None
    ) -> Outcome | None:
        anchor = self._site.journal.synced.entry(self._real(action.source))
        path = path_on_disk(self._site, anchor) if anchor is not None else None
        if anchor is None or path is None or anchor.content != action.becomes.content:
            return None
        expected = _expected(now) if now is not None else None
        return self._site.disk.link(path, _expected(anchor), target, expected)

    def _remove(self, action: RemoveFile | RemoveDirectory) -> Outcome | None:
        now = self._current(action.expected)
        path = path_on_disk(self._site, now) if now is not None else None
        if now is None or path is None:
            return None
        disk = self._site.disk
        if isinstance(action, RemoveDirectory):
            if any(self._site.journal.synced.entries_in(now.entry)):
                return None  # what a program removed there is captured first
            outcome = disk.remove_directory(path, _expected(now))
        else:
            outcome = disk.remove_file(path, _expected(now))
        if isinstance(outcome, Applied):
            self._retire(outcome, now)
            self._site.journal.synced.remove_entry(now.entry)
        return outcome

    def _record(self, becomes: SyncedEntry, outcome: Applied, now: SyncedEntry | None) -> None:
        synced = self._site.journal.synced
        assert outcome.entry is not None
        if now is not None and outcome.retired is not None:
            self._retire(outcome, now)
        synced.save_entry(as_seen(becomes, outcome.entry))
        for other in synced.entries_of_handle(outcome.entry.handle):
            if other.entry != becomes.entry:  # a hard link: its change time changed with ours
                seen = replace(outcome.entry, name=other.name)
                synced.save_entry(as_seen(other, seen))

    def _retire(self, outcome: Applied, was: SyncedEntry) -> None:
        if outcome.retired is None:
            return
        self._site.journal.add_retired(
            RetiredFile(
                token=outcome.retired.token,
                handle=outcome.retired.entry.handle,
                fingerprint=outcome.retired.entry.fingerprint,
                since_ms=self._site.now_ms(),
                was=was,
            )
        )


_REMOVALS = (RemoveFile, RemoveDirectory)
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def _expected(entry: SyncedEntry) -> Expected:
    if entry.is_directory:
        return Expected(entry.handle)
    return Expected(entry.handle, entry.fingerprint)


def _batches(actions: tuple[Action, ...]) -> Iterator[list[Action]]:
    """Cuts a plan into pieces that are staged, synced and committed together."""
    batch: list[Action] = []
    size_bytes = 0
    for action in actions:
        batch.append(action)
        if isinstance(action, (PlaceFile, ReplaceFile)):
            size_bytes += action.content.size_bytes
        if len(batch) >= BATCH_ACTIONS_MAX or size_bytes >= BATCH_SIZE_BYTES_MAX:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
