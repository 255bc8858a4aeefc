"""Changing: makes single changes of the disk, and records what they left there."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import assert_never

from conflict.actions import (
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
from conflict.observation import Attributes, DiskEntry, Fingerprint
from conflict.synced import PARKED, SyncedEntry
from geosync.disk.interface import (
    Applied,
    Expected,
    Failed,
    Mismatch,
    Outcome,
    RelativePath,
    Retired,
)
from geosync.engine.fetching import Fetcher
from geosync.engine.ignoring import holds_only_ignored
from geosync.engine.link_times import LinkTimes
from geosync.engine.places import NEVER_SEEN, as_seen, path_on_disk, replacing_nothing
from geosync.engine.planned_entries import PlannedEntries
from geosync.engine.site import Site, split
from geosync.engine.step import Step
from geosync.journal.journal import RetiredFile

REMOVALS = (RemoveFile, RemoveDirectory)


class Changer:
    """Carries out the actions of one plan. Used inside a transaction of the journal."""

    def __init__(self, site: Site, fetcher: Fetcher, entries: PlannedEntries) -> None:
        self._site = site
        self._fetcher = fetcher
        self._entries = entries
        self._shown: dict[bytes, DiskEntry] = {}  # inodes with hard links, after our last change
        self._link_times = LinkTimes()

    def settle(self) -> None:
        """Records what our changes of some names did to the others of a file.

        That is done once for a batch: else each of a thousand hard links that are made would be
        saved a thousand times.
        """
        synced = self._site.journal.synced
        for handle in self._shown:
            for other in list(synced.entries_of_handle(handle)):
                synced.save_entry(self._as_changed(other))
        self._shown.clear()
        self._link_times.settle(self._site.journal)

    def change(self, step: Step) -> Outcome | None:
        """Makes one change; None when what it rests on did not happen."""
        action = step.action
        if isinstance(action, REMOVALS):
            return self._remove(action)
        assert not isinstance(action, Adopt), "nothing is to be done to the disk"
        becomes = self._entries.realised(action.becomes)
        target = path_on_disk(self._site, becomes)
        expected = getattr(action, "expected", None)
        now = self._current(expected) if expected is not None else None
        if target is None or (expected is not None and now is None) or self._is_taken(becomes):
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

    def _is_taken(self, becomes: SyncedEntry) -> bool:
        """Tells whether the name is another entry's, which could not be moved on.

        Its file may be gone from there, but only a scan may find that out.
        """
        there = self._site.journal.synced.entry_at(becomes.parent, becomes.name)
        return there is not None and there.entry != becomes.entry

    def adopt(self, action: Adopt) -> None:
        """Records what an entry stands for, if it is where and what the plan expects."""
        wanted = self._entries.realised(action.becomes)
        now = self._site.journal.synced.entry(wanted.entry)
        is_there = now is not None and (now.parent, now.name) == (wanted.parent, wanted.name)
        if now is not None and is_there and now.content == wanted.content:
            self._site.journal.synced.save_entry(
                replace(now, claims=wanted.claims, losers=wanted.losers, copy_of=wanted.copy_of)
            )

    def remember_strays(self, step: Step) -> None:
        """Keeps track of files that ended up in the trash although we gave way.

        RACE: a program that renames over a name, again and again, while we undo a swap, can have
        one of its files end there. It is a version of the file at the name, but whether it replaced
        what was there before or what we had brought, nobody knows. So can the file that we had
        swapped in: what a program wrote to it meanwhile replaces the version that we brought.
        """
        expected = getattr(step.action, "expected", None)
        was = self._current(expected) if expected is not None else None
        if was is None or was.is_directory:
            return
        for stray in self._site.disk.retired(but_for=self._site.journal.retired_tokens()):
            if stray.entry.handle == was.handle and isinstance(step.action, ReplaceFile):
                self._note_overtaken(step, step.action, stray, was)
            else:
                brought = self._brought_as(step, stray.entry.handle)
                self._retire(stray, brought or replacing_nothing(was), NEVER_SEEN)

    def _note_overtaken(
        self, step: Step, action: ReplaceFile, displaced: Retired, was: SyncedEntry
    ) -> None:
        """Records a swap of which the result is gone already: a program has replaced it.

        The version that the program saw was the new one, so the old one is not what it replaced.
        """
        assert step.staged is not None, "it was swapped with what is there"
        becomes = self._entries.realised(action.becomes)
        self._retire(displaced, was, was.fingerprint)
        self._site.journal.synced.save_entry(
            replace(becomes, handle=step.staged.handle, fingerprint=NEVER_SEEN)
        )

    def _brought_as(self, step: Step, handle: bytes) -> SyncedEntry | None:
        """Returns what an inode was to become, if it is the one that was staged."""
        if step.staged is None or step.staged.handle != handle:
            return None
        assert isinstance(step.action, (PlaceFile, ReplaceFile))
        return self._entries.realised(step.action.becomes)

    # Single changes

    def _place(self, step: Step, now: SyncedEntry | None, target: RelativePath) -> Outcome | None:
        if step.staged is None:
            return None
        if now is None:
            outcome = self._site.disk.place_new(step.staged, target)
        else:
            outcome = self._site.disk.replace(step.staged, target, self._expected(now))
        if isinstance(outcome, Applied):
            assert isinstance(step.action, (PlaceFile, ReplaceFile))
            handle, step.staged = step.staged.handle, None
            self._fetcher.note_placed(step.action.content, split(target), handle)
        return outcome

    def _change_in_place(
        self, action: Move | Park | ApplyAttributes, now: SyncedEntry | None, target: RelativePath
    ) -> Outcome | None:
        path = path_on_disk(self._site, now) if now is not None else None
        if now is None or path is None:
            return None
        match action:
            case Move() if now.parent == PARKED:
                return self._bring_back(now, path, target)
            case Move():
                return _moved(self._site.disk.move(path, target, self._expected(now)), now)
            case Park():
                return _moved(
                    self._site.disk.park(path, action.becomes.name, self._expected(now)), now
                )
            case ApplyAttributes(attributes=attributes):
                return self._set_attributes(now, path, attributes)

    def _set_attributes(
        self, now: SyncedEntry, path: RelativePath, attributes: Attributes
    ) -> Outcome:
        if now.is_directory:  # of which only the inode is compared by the disk
            found = self._site.disk.observe(path)
            if found is None or not _is_same_but_mtime(found.attributes, now.attributes):
                return Mismatch(found)
        outcome = self._site.disk.set_attributes(path, self._expected(now), attributes)
        if now.is_directory and isinstance(outcome, Applied) and not _has_time(outcome, attributes):
            # A program made a file there just then. If this file system can't hold the time, it
            # shows the same one again.
            outcome = self._site.disk.set_attributes(path, self._expected(now), attributes)
        return outcome

    def _bring_back(self, now: SyncedEntry, path: RelativePath, target: RelativePath) -> Outcome:
        """Moves what was parked to its name, also when a program has written to it meanwhile.

        No scan looks where it is parked: only at a name of the volume can it be captured.
        """
        found = self._site.disk.observe(path)
        if found is None:
            self._forget(now)
            return Mismatch(None)
        outcome = self._site.disk.move(path, target, Expected(now.handle))
        if now.is_directory:
            return _moved(outcome, now)
        is_as_known = found.fingerprint == now.fingerprint
        if is_as_known or not isinstance(outcome, Applied):
            return outcome
        return _left_to_scan(outcome, now)

    def _forget(self, parked: SyncedEntry) -> None:
        """Somebody took away what was parked. That deletes nothing: it is brought here again."""
        synced = self._site.journal.synced
        for child in list(synced.entries_in(parked.entry)):
            self._forget(child)
        synced.remove_entry(parked.entry)

    def _link(
        self, action: LinkFile, target: RelativePath, now: SyncedEntry | None
    ) -> Outcome | None:
        source = self._site.journal.synced.entry(self._entries.id_of(action.source))
        anchor = self._as_changed(source) if source is not None else None
        path = path_on_disk(self._site, anchor) if anchor is not None else None
        if anchor is None or path is None or anchor.content != action.becomes.content:
            return None
        expected = self._expected(now) if now is not None else None
        outcome = self._site.disk.link(path, self._expected(anchor), target, expected)
        # RACE: a program may have changed the file since it was compared.
        if isinstance(outcome, Applied) and not _shows(outcome, anchor):
            return _left_to_scan(outcome, anchor)
        return outcome

    def _remove(self, action: RemoveFile | RemoveDirectory) -> Outcome | None:
        now = self._current(action.expected)
        path = path_on_disk(self._site, now) if now is not None else None
        if now is None or path is None:
            return None
        if isinstance(action, RemoveFile):
            outcome = self._site.disk.remove_file(path, self._removable(now))
        elif any(self._site.journal.synced.entries_in(now.entry)):
            return None  # what a program removed there is captured first
        else:
            outcome = self._site.disk.remove_directory(path, self._expected(now))
            if _is_not_empty(outcome) and holds_only_ignored(self._site, split(path)):
                outcome = Applied(None)  # it stays, and is not the volume's any more
        if isinstance(outcome, Applied):
            self._retire(outcome.retired, now)
            self._site.journal.synced.remove_entry(now.entry)
        elif outcome == Mismatch(None) and now.parent == PARKED:
            self._forget(now)
        return outcome

    def _removable(self, now: SyncedEntry) -> Expected:
        """What a program wrote to a parked file is a late write, for a sweep to find."""
        return Expected(now.handle) if now.parent == PARKED else self._expected(now)

    def _note_link_times(self, retired: Retired, was: SyncedEntry) -> None:
        """A name that goes changes the times of the file's other names; nobody else did."""
        if retired.entry.link_count > 1 and retired.entry.attributes == was.attributes:
            before = self._link_times.now(was.handle, was.fingerprint)
            self._link_times.note(was.handle, before, retired.entry.fingerprint)

    def _expected(self, entry: SyncedEntry) -> Expected:
        if entry.is_directory:
            return Expected(entry.handle)
        return Expected(entry.handle, self._link_times.now(entry.handle, entry.fingerprint))

    # Records

    def _record(self, becomes: SyncedEntry, outcome: Applied, now: SyncedEntry | None) -> None:
        synced = self._site.journal.synced
        assert outcome.entry is not None
        if now is not None:
            self._retire(outcome.retired, now)
        synced.save_entry(as_seen(becomes, outcome.entry))
        if outcome.entry.link_count > 1:  # the change time of its other names changed, too
            self._shown[outcome.entry.handle] = outcome.entry
            self._link_times.forget(outcome.entry.handle)

    def _current(self, expected: SyncedEntry) -> SyncedEntry | None:
        now = self._entries.current(expected)
        return None if now is None else self._as_changed(now)

    def _as_changed(self, entry: SyncedEntry) -> SyncedEntry:
        """Returns an entry as our last change of another name of its inode left it."""
        shown = self._shown.get(entry.handle)
        return entry if shown is None else as_seen(entry, replace(shown, name=entry.name))

    def _retire(
        self, retired: Retired | None, was: SyncedEntry, fingerprint: Fingerprint | None = None
    ) -> None:
        if retired is None:
            return
        if fingerprint is None:
            self._note_link_times(retired, was)
            is_known = was.parent != PARKED  # else compared with nothing: a sweep reads it
            fingerprint = retired.entry.fingerprint if is_known else was.fingerprint
        self._site.journal.add_retired(
            RetiredFile(
                token=retired.token,
                handle=retired.entry.handle,
                fingerprint=fingerprint,
                since_ms=self._site.now_ms(),
                was=was,
            )
        )


def _moved(outcome: Outcome, now: SyncedEntry) -> Outcome:
    """Leaves it to a scan to find what a program did to the attributes in the same instant."""
    if not isinstance(outcome, Applied) or _shows(outcome, now):
        return outcome
    return _left_to_scan(outcome, now)


def _shows(outcome: Applied, known: SyncedEntry) -> bool:
    return outcome.entry is not None and outcome.entry.attributes == known.attributes


def _left_to_scan(outcome: Applied, known: SyncedEntry) -> Applied:
    """Returns the outcome so that a scan finds out what a program has changed."""
    assert outcome.entry is not None
    seen = replace(outcome.entry, fingerprint=NEVER_SEEN, attributes=known.attributes)
    return replace(outcome, entry=seen)


def _has_time(outcome: Applied, attributes: Attributes) -> bool:
    shown = outcome.entry.attributes if outcome.entry is not None else None
    return shown is not None and shown.mtime_ns == attributes.mtime_ns


def _is_same_but_mtime(one: Attributes, other: Attributes) -> bool:
    return replace(one, mtime_ns=0) == replace(other, mtime_ns=0)


def _is_not_empty(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.errno in (errno.ENOTEMPTY, errno.EEXIST)
