"""Reading: which changed files are read now, each as the operator wants it, and what has to wait.

A file that can't be read never keeps another one waiting, unless they belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, TypeVar

from conflict.capture import StableContent
from conflict.observation import DirectoryListing, DiskEntry, DiskKind, Fingerprint
from conflict.scan import Scan, contents_wanted, directory_entry
from conflict.synced import EntryId, Path, SyncedEntry, SyncedStore
from geosync.configuration.capture_rules import CaptureRule, CaptureRules, OpenFiles
from geosync.disk.interface import (
    DiskError,
    EntryBusy,
    EntryUnreadable,
    EntryVanished,
    StableReader,
)
from geosync.engine.groups import SQLITE_MAGIC, Group, Groups
from geosync.engine.intake import Intake
from geosync.engine.large_file import busy_until_next_snapshot
from geosync.engine.reading_ahead import ReadingAhead
from geosync.engine.site import Site, joined
from geosync.engine.veil import veiled
from geosync.terminal import display_name

_Result = TypeVar("_Result")
GROUP_FILES_MAX: Final = 20_000  # of one transaction, which is one record in memory
_COPIES_OPEN_MAX: Final = 100  # each is a descriptor
_RETRY_SNAPSHOT_S: Final = 0.2
_READING_SHARE_MAX: Final = 0.1  # of the time that may go into snapshots of one file


@dataclass(slots=True)
class Read:
    """What was read of a scan.

    Attributes:
        scan: without what has to wait although it could be read.
        contents: of the files that changed.
        waiting: the files that have to wait, and why.
        unreadable: the files that can't be read, and why.
        groups: the groups of which something was read.
        held: the groups that have to wait, and why.
        missing: what is missing in these.
        looked_at: the directories that were looked at, or are gone.
    """

    scan: Scan
    looked_at: frozenset[Path]
    contents: dict[Path, StableContent] = field(default_factory=dict)
    waiting: dict[Path, str] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    held: dict[Group, str] = field(default_factory=dict)
    missing: set[EntryId] = field(default_factory=set)


class Reading:
    """Reads for one site. Remembers when the next snapshot of what is open may be taken."""

    def __init__(self, site: Site, ahead: ReadingAhead) -> None:
        self._site = site
        self._ahead = ahead
        self._rules: CaptureRules = site.capture_rules
        self._next_snapshot_s: dict[Path, float] = {}
        self._is_database: dict[bytes, bool] = {}  # handle -> of files with a companion
        self.groups = Groups(self._rules, site.journal.synced, self)

    def read(
        self, scan: Scan, intake: Intake, confirmed: set[EntryId], *, may_wait: bool = True
    ) -> Read:
        """Reads what changed.

        Args:
            scan: what was seen.
            intake: keeps the contents.
            confirmed: entries that are certainly gone, if they are missing.
            may_wait: large files are read bit by bit, in later cycles, and wait until then.

        Raises:
            OSError: the spool can't be written.
        """
        wanted = dict(contents_wanted(self._site.journal.synced, scan))
        result = Read(scan, frozenset(scan.listings.keys() | scan.absent))
        for group in self.groups.find(scan, wanted):
            members = {path: wanted.pop(path) for path in list(wanted) if group.contains(path)}
            for path in [path for path in wanted if group.is_rebuilt(path)]:
                del wanted[path]
                result.scan = veiled(self._site.journal.synced, result.scan, group.is_rebuilt)
            self._read_group(group, members, result, intake, confirmed)
        large = {path for path, entry in wanted.items() if may_wait and self._ahead.is_large(entry)}
        self._ahead.note_look(result.looked_at, large)
        for path, entry in wanted.items():
            take = self._ahead.take if path in large else self._take
            try:
                result.contents[path] = take(path, entry, intake)
            except EntryBusy as busy:
                result.waiting[path] = busy.reason
            except EntryVanished:
                result.waiting[path] = "it was replaced while it was looked at"
            except EntryUnreadable as error:
                result.unreadable[path] = f"{error} Its last captured version stays."
        return result

    # One file

    def _take(self, path: Path, entry: DiskEntry, intake: Intake) -> StableContent:
        try:
            content = intake.take(path, entry)
        except EntryBusy:
            rule = self._rules.rule_for(path)
            if rule.open_files is not OpenFiles.SNAPSHOT:
                raise
            return self._at_its_time(
                path, rule, lambda: intake.take(path, entry, despite_writers=True)
            )
        self._next_snapshot_s.pop(path, None)
        return content

    def _at_its_time(
        self, path: Path, rule: CaptureRule, snapshot: Callable[[], _Result]
    ) -> _Result:
        """Takes a snapshot unless the last one, or the last attempt, was too short a time ago."""
        clock = self._site.clock
        began_s = clock.monotonic_s()
        if began_s < self._next_snapshot_s.get(path, began_s):
            raise busy_until_next_snapshot(path, rule)
        pause_s = _RETRY_SNAPSHOT_S
        try:
            taken = snapshot()
            pause_s = max(pause_s, rule.snapshot_every_s)
        finally:
            now_s = clock.monotonic_s()
            pause_s = max(pause_s, (now_s - began_s) / _READING_SHARE_MAX)
            self._next_snapshot_s[path] = now_s + pause_s
        return taken

    # What belongs together

    def _read_group(
        self,
        group: Group,
        members: Mapping[Path, DiskEntry],
        result: Read,
        intake: Intake,
        confirmed: set[EntryId],
    ) -> None:
        missing = self._missing(group, result.scan)
        if not members and not missing:
            return
        reason = None
        unconfirmed = [path for entry, path in missing.items() if entry not in confirmed]
        try:
            if unconfirmed:
                # The others would be captured now, and that this one is gone only later.
                shown = display_name(joined(unconfirmed[0]))
                reason = f"it is not certain yet that {shown} is gone"
            else:
                result.contents.update(self._take_group(group, members, result.scan, intake))
        except EntryBusy as busy:
            reason = busy.reason
        except DiskError as error:
            reason = str(error)
        if reason is None:
            result.groups.append(group)
            return
        base = display_name(joined(group.base))
        text = f"{reason}; all of {base} is captured together"
        result.waiting.update(dict.fromkeys(members or [group.base], text))
        result.held[group] = reason
        result.missing |= missing.keys()
        result.scan = veiled(self._site.journal.synced, result.scan, group.contains)

    def _missing(self, group: Group, scan: Scan) -> dict[EntryId, Path]:
        """Returns what was in the group and is nowhere now, perhaps only on the move."""
        synced = self._site.journal.synced
        seen = {at.directory.handle for at in scan.listings.values()}
        seen.update(entry.handle for at in scan.listings.values() for entry in at.entries)
        missing: dict[EntryId, Path] = {}
        for path in group.directories(scan):
            listing = scan.listings[path]
            directory = directory_entry(synced, path, listing)
            names = {entry.name for entry in listing.entries}
            for known in list(synced.entries_in(directory.entry)) if directory is not None else ():
                below = (*path, known.name)
                if known.name not in names and group.contains(below):
                    missing.update(_with_all_below(synced, known, below, seen))
        return missing

    def _take_group(
        self, group: Group, members: Mapping[Path, DiskEntry], scan: Scan, intake: Intake
    ) -> dict[Path, StableContent]:
        lock = group.lock(scan)
        if lock is not None:
            raise _busy(f"git is at work, as {display_name(joined(lock))} says")
        if len(members) > GROUP_FILES_MAX:
            raise _busy(f"{len(members)} files changed, and at most {GROUP_FILES_MAX} can be one")

        def take(*, despite_writers: bool) -> dict[Path, StableContent]:
            return self._together(group, members, scan, intake, despite_writers=despite_writers)

        try:
            contents = take(despite_writers=False)
        except EntryBusy:
            if group.rule.open_files is not OpenFiles.SNAPSHOT:
                raise
            return self._at_its_time(group.base, group.rule, lambda: take(despite_writers=True))
        self._next_snapshot_s.pop(group.base, None)
        return contents

    def _together(
        self,
        group: Group,
        members: Mapping[Path, DiskEntry],
        scan: Scan,
        intake: Intake,
        *,
        despite_writers: bool,
    ) -> dict[Path, StableContent]:
        """Reads the changed files of a group as of one moment.

        All of the group is the same before the first and after the last file was read; where
        large files can be copied at once, only until the last one was copied.

        Raises:
            EntryBusy: there was no such moment now.
            EntryVanished, EntryUnreadable: a part of the group can't be looked at.
            OSError: the spool can't be written.
        """
        contents: dict[Path, StableContent] = {}
        copies: dict[Path, StableReader] = {}
        with ExitStack() as stack:
            for path, entry in sorted(members.items(), key=_largest_first):
                if entry.kind is not DiskKind.REGULAR:
                    contents[path] = intake.take(path, entry)
                    continue
                with ExitStack() as own:
                    reader = own.enter_context(
                        self._site.disk.open_stable(
                            joined(path), entry.handle, despite_writers=despite_writers
                        )
                    )
                    if reader.is_copy and len(copies) < _COPIES_OPEN_MAX:
                        copies[path] = reader
                        stack.push(own.pop_all())
                    else:
                        contents[path] = intake.read(reader)
            self._require_same(group, scan)
            contents.update({path: intake.read(reader) for path, reader in copies.items()})
        return contents

    def _require_same(self, group: Group, scan: Scan) -> None:
        for path in group.directories(scan):
            before = _members(group, path, scan.listings[path])
            if _members(group, path, self._site.disk.list_directory(joined(path))) != before:
                raise _busy("it changed while it was read")

    def is_database(self, path: Path, entry: DiskEntry) -> bool:
        """See `Databases`."""
        if entry.handle not in self._is_database:
            try:
                opened = self._site.disk.open_stable(
                    joined(path), entry.handle, despite_writers=True
                )
                with opened as reader:
                    first = next(reader.blocks(len(SQLITE_MAGIC)), b"")
            except DiskError:
                return False
            if not first:
                return False  # it may become one
            self._is_database[entry.handle] = first == SQLITE_MAGIC
        return self._is_database[entry.handle]


def _with_all_below(
    synced: SyncedStore, known: SyncedEntry, path: Path, seen: set[bytes]
) -> Iterator[tuple[EntryId, Path]]:
    if known.handle not in seen:
        yield known.entry, path
        for child in list(synced.entries_in(known.entry)):
            yield from _with_all_below(synced, child, (*path, child.name), seen)


def _largest_first(member: tuple[Path, DiskEntry]) -> tuple[int, Path]:
    path, entry = member
    return -entry.fingerprint.size_bytes, path


def _members(
    group: Group, path: Path, listing: DirectoryListing
) -> dict[bytes, tuple[bytes, Fingerprint]]:
    return {
        entry.name: (entry.handle, entry.fingerprint)
        for entry in listing.entries
        if group.contains((*path, entry.name))
    }


def _busy(reason: str) -> EntryBusy:
    return EntryBusy(f"can't capture this group now: {reason}", reason)
