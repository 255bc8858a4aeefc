"""Capturing: looks at directories, reads what changed, and writes the operations that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from conflict.capture import (
    CaptureResult,
    Scan,
    capture,
    further_directories,
)
from conflict.in_place import not_in_place
from conflict.joining import LateRecognition, Recognition
from conflict.node import Location
from conflict.observation import DirectoryListing, DiskKind
from conflict.scan import directory_entry, without_new_fifos
from conflict.synced import EntryId, Path
from geosync.disk.interface import EntryUnreadable, EntryVanished, Glance
from geosync.engine.authoring import author_of, save_written
from geosync.engine.braking import Braking, Parked
from geosync.engine.drifting import Drifting
from geosync.engine.exclusion import Exclusion
from geosync.engine.generation import begin_generation
from geosync.engine.group_problems import GroupProblems
from geosync.engine.ignoring import without_ignored
from geosync.engine.intake import Intake
from geosync.engine.missing_entries import MissingEntries
from geosync.engine.pending_directories import PendingDirectories
from geosync.engine.reading import Read, Reading
from geosync.engine.reading_ahead import ReadingAhead
from geosync.engine.site import Site, joined
from geosync.engine.spool import Spool
from geosync.engine.uncertain_files import UncertainFiles
from geosync.engine.unchanged_directories import UnchangedDirectories
from geosync.engine.unreadable import Unreadable
from geosync.engine.waiting_files import WaitingFiles
from geosync.event_log import event_logger

ENTRIES_AT_ONCE_MAX: Final = 1000  # of one transaction; a directory is never cut in two
# The first of many travel while the rest is read; each further transaction is twice as large.
ENTRIES_AT_FIRST_MAX: Final = 250
GLANCES_IN_A_LOOK: Final = 10  # so many names seen by a glance cost less than one that is looked at
QUIETLY_GONE_MAX: Final = 20  # more at once are looked at twice, as what looks like a mass deletion
_BURSTING: Final = "many files change at once: it is seen first whether a brake engages"
_log = event_logger(__name__)


@dataclass(slots=True)
class Captured:
    """What one round of capturing brought."""

    touched: set[Location] = field(default_factory=set)  # names that may have to be planned
    operations: int = 0
    looked_at: int = 0  # names on the disk
    to_apply: set[Path] = field(default_factory=set)  # recognised, or where nothing is captured


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look at the disk shows."""

    scan: Scan
    unknown: dict[Path, str]  # directories that can't be read, and why
    new: set[Path]  # directories that were not looked at
    confirmed: set[EntryId]  # what is certainly gone, if it is still missing


class Capturer:
    """Remembers what is missing, until it is certain that it was deleted."""

    def __init__(self, site: Site, spool: Spool, braking: Braking) -> None:
        self._site = site
        self._spool = spool
        self._braking = braking
        self._missing = MissingEntries(site.journal.synced)
        self._waiting = WaitingFiles(site.clock)
        self._uncertain = UncertainFiles(site.clock)
        self._ahead = ReadingAhead(site, spool)
        self._reading = Reading(site, self._ahead)
        self._drifting = Drifting(site, spool)
        self._exclusion = Exclusion(site)
        self._group_problems = GroupProblems(site)
        self._unreadable = Unreadable(site)
        self._pending = PendingDirectories()
        self._unchanged = UnchangedDirectories(site)
        self._entries_max = ENTRIES_AT_FIRST_MAX  # of the next transaction
        self._quiet: frozenset[Path] = frozenset()
        self._new: set[Path] = set()  # directories that were found since nothing was left
        self._named: set[Path] = set()  # those of which the name is captured
        self._recognition: Recognition | None = None
        self._late: LateRecognition | None = None
        self._has_looked = False

    def recognise(self, recognition: Recognition | None) -> None:
        """Says that what is on the disk may be the volume's: while the site joins.

        What a program has open until that is over is recognised when it can be read: else an old
        file would look like a new one, and win.
        """
        if recognition is None and self._recognition is not None:
            self._late = LateRecognition(self._recognition, self.waiting())
        self._recognition = recognition

    def waiting(self) -> dict[Path, str]:
        """Returns the files that changed and could not be read yet, and why."""
        return self._waiting.reasons(self._ahead.reasons())

    def excluded(self) -> list[Path]:
        """Returns the files that are never captured, as far as they were seen."""
        return self._exclusion.paths()

    def due(self) -> dict[Path, bool]:
        """Returns directories that must be looked at again, without any event."""
        return dict.fromkeys(self._waiting.due() | self._uncertain.due(), False)

    def due_large(self) -> dict[Path, bool]:
        """Returns directories in which a large file can be captured now."""
        return dict.fromkeys(self._ahead.due(), False)

    def due_missing(self) -> dict[Path, bool]:
        """Returns directories where something seems to be gone, for long enough to tell."""
        return dict.fromkeys(self._missing.due(self._site.clock.monotonic_s()), False)

    def missing_due_s(self) -> float | None:
        """Returns when `due_missing` has something, on the monotonic clock; None: never."""
        return self._missing.due_s()

    def has_unconfirmed(self) -> bool:
        """Tells whether something is missing that is not yet certain to be deleted."""
        return bool(self._missing)

    def read_ahead(self) -> None:
        """Reads a slice of a large file, if one is waiting and this site captures anything.

        Raises:
            OSError: the disk can't be looked at.
        """
        if not self._site.role.may_capture:
            self._ahead.close()
        self._ahead.advance()
        self._ahead.note_progress()
        if self._ahead.is_idle() and self._has_looked and not self._pending:
            self._site.journal.chunks.release_ahead()

    def has_slice(self) -> bool:
        """Tells whether there is more to read of large files now, or one to capture."""
        return self._ahead.has_slice()

    def close(self) -> None:
        """Lets go of the file that is being read."""
        self._ahead.close()

    def look_at(self, dirty: Mapping[Path, bool]) -> None:
        """Says which directories must be looked at; True: with everything below."""
        self._pending.add(dirty)

    def trust_quiet(self, quiet: frozenset[Path]) -> None:
        """Says in which directories of those what is missing is gone; see `Haste`."""
        self._quiet = quiet

    def has_pending(self) -> bool:
        """Tells whether there are directories that must be looked at."""
        return bool(self._pending)

    def capture(self) -> Captured:
        """Captures the changes in directories that wait, as many as fit into one transaction.

        Raises:
            RootLost: nothing was captured, nothing is taken for deleted.
            OSError: the state directory can't be written; nothing was captured.
        """
        result = Captured()
        try:
            look = self._look()
            scan = look.scan
            result.looked_at = sum(len(each.entries) for each in scan.listings.values())
            # Checked after the look at the directories: a root that went away in between must not
            # make its files look deleted.
            self._site.disk.check_root()
            may_capture = self._site.role.may_capture
            read = self._commit(look, result) if may_capture else self._compare(scan, result)
        except BaseException:
            self._pending.put_back()
            raise
        self._pending.finish()
        self._has_looked = True
        larger = min(2 * self._entries_max, ENTRIES_AT_ONCE_MAX)
        self._entries_max = larger if self._pending else ENTRIES_AT_FIRST_MAX
        self._unreadable.tell(scan, look.unknown, read.unreadable)
        self._group_problems.tell(scan, read)
        self._add_new(look)
        if self._recognition is None and may_capture:
            self._unchanged.note(scan)
        return result

    def _add_new(self, look: _Look) -> None:
        """Has new directories looked at, each once until nothing is left to look at.

        One whose name can't be captured yet shows its neighbours as new each time, and so do they.
        Once its name is captured it is looked at once more: what is in it waited for that.
        """
        named = {path for path in look.new if self._is_captured(look.scan, path)}
        for path in (named - self._named) | (look.new - self._new):
            self._pending.add_to_turn(path, is_recursive=True)
        self._new, self._named = self._new | look.new, self._named | named
        if not self._pending:
            self._new, self._named = set(), set()

    def _is_captured(self, scan: Scan, path: Path) -> bool:
        handles = (e.handle for e in scan.listings[path[:-1]].entries if e.name == path[-1])
        return any(self._site.journal.synced.entries_of_handle(handle) for handle in handles)

    def _look(self) -> _Look:
        """Lists directories up to the size of one transaction."""
        listings: dict[Path, DirectoryListing] = {}
        absent: set[Path] = set()
        unknown: dict[Path, str] = {}
        count = 0.0
        waiting = {path[:-1] for path in self.waiting()}  # for a full look at where they are
        while self._pending and count < min(self._entries_max, ENTRIES_AT_ONCE_MAX):
            path, is_recursive = self._pending.take()
            glance = self._glance(path) if path not in waiting else None
            if glance is not None:
                count += glance.count / GLANCES_IN_A_LOOK
                below: Iterable[bytes] = glance.directories
            else:
                self._list(path, listings, absent, unknown)
                entries = listings[path].entries if path in listings else ()
                count += len(entries)
                below = [each.name for each in entries if each.kind is DiskKind.DIRECTORY]
            for name in below if is_recursive else ():
                self._pending.add_to_turn((*path, name), is_recursive=True)
        new: set[Path] = set()
        confirmed = self._confirmed()
        places = self._missing.places_of(confirmed)
        while True:
            self._list_groups(listings, absent, unknown)
            scan = Scan(listings, frozenset(absent), frozenset(unknown))
            wanted = further_directories(self._site.journal.synced, scan) - new
            wanted |= places - listings.keys() - absent - unknown.keys()
            fresh = {path for path in wanted - places if _is_entry(listings, path)}
            new |= fresh
            if not wanted - fresh:
                return _Look(scan, unknown, new, confirmed)
            for path in sorted(wanted - fresh):
                self._list(path, listings, absent, unknown)

    def _glance(self, path: Path) -> Glance | None:
        """Returns what a glance shows of a directory in which nothing can have changed."""
        if self._recognition is not None or not self._site.role.may_capture:
            self._unchanged.forget()
            return None
        return self._unchanged.glance(path)

    def _list_groups(
        self,
        listings: dict[Path, DirectoryListing],
        absent: set[Path],
        unknown: dict[Path, str],
    ) -> None:
        """Lists all of the directory groups of which a part was listed."""
        while True:
            wanted = self._reading.groups.further_directories(listings) - absent - unknown.keys()
            if not wanted:
                return
            for path in sorted(wanted):
                self._list(path, listings, absent, unknown)

    def _list(
        self,
        path: Path,
        listings: dict[Path, DirectoryListing],
        absent: set[Path],
        unknown: dict[Path, str],
    ) -> None:
        if self._site.ignored.is_ignored(path, is_directory=True):
            absent.add(path)
            return
        try:
            listing = self._site.disk.list_directory(joined(path))
            if not self._site.syncs_fifos:
                listing = without_new_fifos(self._site.journal.synced, path, listing)
            shown = without_ignored(self._site, path, listing)
            is_known = directory_entry(self._site.journal.synced, path, listing) is not None
            if listing.entries and not shown.entries and not is_known:
                absent.add(path)  # it holds nothing that is not ignored, and is no new directory
                return
            listings[path] = self._exclusion.applied_to(path, shown)
        except EntryVanished:
            absent.add(path)
        except EntryUnreadable as error:
            unknown[path] = f"{error} What is in it is neither captured nor taken for deleted."

    def _commit(self, look: _Look, result: Captured) -> Read:
        """Writes one transaction. Contents are durable before it, so it never names lost bytes.

        CRASH: a program need not have synced what it did. A power cut would take it back, and the
        next start would take that for a change, made by somebody who had seen what was captured:
        an emptied file, a deletion. So the disk is synced before that is recorded.

        Returns:
            What was read.
        """
        site, journal = self._site, self._site.journal
        intake = Intake(site, self._spool)
        confirmed = look.confirmed | self._quietly_gone(look) | self._braking.held()
        read = self._reading.read(
            self._braking.unread(look.scan),
            intake,
            confirmed,
            may_wait=self._recognition is None,  # else what is known already would look new later
        )
        missing_s = self._missing.missing_s(site.clock.monotonic_s())
        parked = self._braking.park(look.scan, read, confirmed, missing_s, intake)
        contents = parked.contents
        intake.finish_packs()
        with journal.transaction():
            author = author_of(site)
            self._braking.engage(author, parked)
            gone = confirmed - parked.kept
            recognition = self._recognition or self._late
            left = capture(author, journal.synced, parked.scan, contents, gone, recognition)
            self._braking.release(author, parked)
            transaction = save_written(site, author)
            if transaction is not None or contents:
                intake.commit()
            if transaction is not None:
                begin_generation(site)
                site.disk.sync_everything()
        result.to_apply = left.recognised
        self._braking.note_kept(parked)
        again = self._ahead.note_captured(contents.keys() - left.skipped - parked.bursting)
        self._remember(left, read, parked)
        self._late = self._late and self._late.among(self.waiting())
        self._pending.add(dict.fromkeys(again, False))
        if transaction is not None:
            result.touched |= not_in_place(journal.nodes, journal.synced, author.touched)
            result.operations += len(transaction.operations)
            _log.debug("captured", operations=len(transaction.operations))
        return read

    def _compare(self, scan: Scan, result: Captured) -> Read:
        """Finds drift instead, where nothing is captured; returns what was read."""
        look = self._drifting.look(scan, self._recognition)
        result.to_apply = look.to_apply
        read = Read(scan, frozenset(scan.listings.keys() | scan.absent), look.contents)
        self._missing.clear()
        self._waiting.note(read.looked_at, look.waiting)
        self._uncertain.note(read.looked_at, look.contents)
        return read

    def _confirmed(self) -> set[EntryId]:
        now_s = self._site.clock.monotonic_s()
        return self._missing.confirmed(self._pending.turn, now_s)

    def _quietly_gone(self, look: _Look) -> set[EntryId]:
        """Returns what an event and this scan, a while later, both say is gone, with all below.

        Nothing, while there are directories that were not looked at: it may have moved there.

        RACE: a program that takes longer than that between removing a name and making it anew is
        seen to do both; so it is by the second look that all others get.
        """
        quiet, self._quiet = self._quiet, frozenset()
        if look.new or self._pending:
            return set()
        synced, scan = self._site.journal.synced, look.scan
        gone: set[EntryId] = set()
        seen = {each.handle for at in scan.listings.values() for each in at.entries}
        for path in quiet & scan.listings.keys():
            listing = scan.listings[path]
            directory = directory_entry(synced, path, listing)
            names = {entry.name for entry in listing.entries}
            left = [] if directory is None else list(synced.entries_in(directory.entry))
            pending = [each for each in left if each.name not in names]
            while pending and len(gone) <= QUIETLY_GONE_MAX:
                each = pending.pop()
                if each.handle not in seen:
                    gone.add(each.entry)
                    pending += synced.entries_in(each.entry)
        return gone if len(gone) <= QUIETLY_GONE_MAX else set()

    def _remember(self, left: CaptureResult, read: Read, parked: Parked) -> None:
        now_s = self._site.clock.monotonic_s()
        self._missing.forget(self._braking.held())
        unconfirmed = left.unconfirmed | read.missing | parked.deferred
        self._missing.note(unconfirmed, left.waiting, read.scan, self._pending.turn, now_s)
        skipped = left.skipped - read.contents.keys()
        waiting = dict.fromkeys(skipped, "it is not certain yet what happened to it")
        waiting |= {path: why for path, why in read.unreadable.items() if path in skipped}
        looked_at = read.looked_at
        waiting |= dict.fromkeys(parked.bursting, _BURSTING)
        self._waiting.note(looked_at, waiting | read.waiting)
        self._uncertain.note(looked_at, read.contents)
        self._pending.add(dict.fromkeys(parked.again, True))


def _is_entry(listings: dict[Path, DirectoryListing], path: Path) -> bool:
    """Tells whether a listing shows this directory: then it is new, not where something was."""
    above = listings.get(path[:-1]) if path else None
    return above is not None and any(
        entry.name == path[-1] and entry.kind is DiskKind.DIRECTORY for entry in above.entries
    )
