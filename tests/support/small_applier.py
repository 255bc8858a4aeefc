"""Does planned actions on a disk, one by one, as plainly as can be, and keeps the synced tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

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
from conflict.observation import Attributes, DiskEntry
from conflict.synced import (
    PARKED,
    ROOT_ENTRY,
    EntryId,
    Path,
    SyncedEntry,
    SyncedStore,
    path_of_entry,
)
from geosync.disk.interface import Applied, Disk, Expected, Outcome, RelativePath, Staged


class SmallApplier:
    """Does the actions of one plan.

    Attributes:
        done: the actions that changed something.
        failures: the others, with what the disk said; None when what an action rests on is not
            there.
        brought: digests of the contents that came to the disk.
        blocked: where the entries are that could not be changed.
    """

    def __init__(self, disk: Disk, synced: SyncedStore, contents: Mapping[bytes, bytes]) -> None:
        self.done: list[Action] = []
        self.failures: list[tuple[Action, Outcome | None]] = []
        self.brought: set[bytes] = set()
        self.blocked: set[Path] = set()
        self._disk = disk
        self._synced = synced
        self._contents = contents
        self._ids: dict[EntryId, EntryId] = {}

    def run(self, actions: Iterable[Action]) -> None:
        """Does all actions that can be done."""
        for action in actions:
            outcome = self._run(action)
            if isinstance(outcome, Applied):
                self.done.append(action)
            else:
                self.failures.append((action, outcome))
                self.blocked.update(self._shown_path(action))

    def _shown_path(self, action: Action) -> Iterator[Path]:
        planned = getattr(action, "expected", None) or getattr(action, "becomes", None)
        now = self._synced.entry(self._ids.get(planned.entry, planned.entry)) if planned else None
        path = path_of_entry(self._synced, now) if now is not None else None
        if path:
            yield path

    def _run(self, action: Action) -> Outcome | None:
        if isinstance(action, Adopt):
            return self._adopt(action)
        if isinstance(action, RemoveFile | RemoveDirectory):
            return self._remove(action)
        becomes = self._realised(action.becomes)
        target = self._path(becomes)
        expected = getattr(action, "expected", None)
        now = self._current(expected) if expected is not None else None
        if target is None or (expected is not None and now is None):
            return None
        there = self._synced.entry_at(becomes.parent, becomes.name)
        if there is not None and there.entry != becomes.entry:
            return None  # it could not be brought out of the way: a program has moved it, perhaps
        outcome = self._change(action, target, now)
        if isinstance(outcome, Applied):
            self._record(becomes, outcome)
        return outcome

    def _change(
        self, action: Action, target: RelativePath, now: SyncedEntry | None
    ) -> Outcome | None:
        path = self._path(now) if now is not None else None
        match action:
            case MakeDirectory():
                return self._disk.make_directory(target, action.attributes)
            case PlaceFile():
                return self._disk.place_new(self._staged(action.content, action.attributes), target)
            case LinkFile():
                return self._link(action, target, now)
        return self._change_in_place(action, path, target, now) if now and path else None

    def _change_in_place(
        self, action: Action, path: RelativePath, target: RelativePath, now: SyncedEntry
    ) -> Outcome:
        match action:
            case ReplaceFile():
                staged = self._staged(action.content, action.attributes)
                return self._disk.replace(staged, path, _expected(now))
            case Move():
                return self._disk.move(path, target, _expected(now))
            case Park():
                return self._disk.park(path, action.becomes.name, _expected(now))
            case ApplyAttributes():
                return self._disk.set_attributes(path, _expected(now), action.attributes)
        raise AssertionError(action)

    def _link(
        self, action: LinkFile, target: RelativePath, now: SyncedEntry | None
    ) -> Outcome | None:
        source = self._synced.entry(self._ids.get(action.source, action.source))
        path = self._path(source) if source is not None else None
        if source is None or path is None:
            return None
        expected = _expected(now) if now is not None else None
        return self._disk.link(path, _expected(source), target, expected)

    def _adopt(self, action: Adopt) -> Outcome | None:
        wanted = self._realised(action.becomes)
        now = self._synced.entry(wanted.entry)
        if now is None or (now.parent, now.name, now.content) != (
            wanted.parent,
            wanted.name,
            wanted.content,
        ):
            return None
        self._synced.save_entry(
            replace(now, claims=wanted.claims, losers=wanted.losers, copy_of=wanted.copy_of)
        )
        return Applied(None)

    def _remove(self, action: RemoveFile | RemoveDirectory) -> Outcome | None:
        now = self._current(action.expected)
        path = self._path(now) if now is not None else None
        if now is None or path is None:
            return None
        if any(self._synced.entries_in(now.entry)):
            return None  # something below could not be removed
        if isinstance(action, RemoveFile):
            outcome = self._disk.remove_file(path, _expected(now))
        else:
            outcome = self._disk.remove_directory(path, _expected(now))
        if isinstance(outcome, Applied):
            self._synced.remove_entry(now.entry)
            self._refresh_links(outcome)
        return outcome

    def _staged(self, content: Content, attributes: Attributes) -> Staged:
        self.brought.add(content.digest)
        if content.kind is ContentKind.SYMLINK:
            return self._disk.stage_symlink(content.target, attributes)
        if content.kind is ContentKind.FIFO:
            return self._disk.stage_fifo(attributes)
        file = self._disk.stage_file(content.size_bytes)
        file.write(self._contents[content.digest])
        return file.finish(attributes)

    def _record(self, becomes: SyncedEntry, outcome: Applied) -> None:
        assert outcome.entry is not None
        self._synced.save_entry(_as_seen(becomes, outcome.entry))
        self._refresh_links(outcome)

    def _refresh_links(self, outcome: Applied) -> None:
        """Other names of the inodes show another change time now; a write would show, too."""
        retired = outcome.retired.entry if outcome.retired is not None else None
        for seen in (outcome.entry, retired):
            for other in self._synced.entries_of_handle(seen.handle) if seen is not None else ():
                known = other.fingerprint
                if (known.size_bytes, known.mtime_ns) == (
                    seen.fingerprint.size_bytes,
                    seen.fingerprint.mtime_ns,
                ):
                    self._synced.save_entry(_as_seen(other, seen))

    def _realised(self, entry: SyncedEntry) -> SyncedEntry:
        """Gives what is new a number of its own; the planner has numbers below zero for it."""
        if entry.entry < PARKED and entry.entry not in self._ids:
            self._ids[entry.entry] = self._synced.new_entry_id()
        return replace(
            entry,
            entry=self._ids.get(entry.entry, entry.entry),
            parent=self._ids.get(entry.parent, entry.parent),
        )

    def _current(self, expected: SyncedEntry) -> SyncedEntry | None:
        """Returns the entry as it is now, None unless it is where the plan expects it."""
        wanted = self._realised(expected)
        now = self._synced.entry(wanted.entry)
        is_there = now is not None and (now.parent, now.name) == (wanted.parent, wanted.name)
        return now if is_there else None

    def _path(self, entry: SyncedEntry) -> RelativePath | None:
        names: list[bytes] = []
        while entry.entry != ROOT_ENTRY:
            if entry.parent == PARKED:
                names.append(self._disk.parked_path(entry.name))
                break
            names.append(entry.name)
            above = self._synced.entry(entry.parent)
            if above is None:
                return None
            entry = above
        return RelativePath(b"/".join(reversed(names)))


def _expected(entry: SyncedEntry) -> Expected:
    return Expected(entry.handle, None if entry.is_directory else entry.fingerprint)


def _as_seen(entry: SyncedEntry, found: DiskEntry) -> SyncedEntry:
    return replace(
        entry,
        kind=found.kind,
        handle=found.handle,
        fingerprint=found.fingerprint,
        attributes=found.attributes,
    )
