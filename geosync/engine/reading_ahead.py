"""Reading ahead: large files are read in slices, one a cycle, so that nothing else waits for them.

A large file is read, and its packs are sent, before it is captured. Until then it waits like a
file that a program has open, and nothing refers to its chunks. When all of them are stored, the
next capture takes the content as if it had read it just then. So the transaction that refers to
them never keeps a later one waiting, as the log has only one order.

One file is read at a time, in the order in which they were found to have changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from conflict.capture import StableContent
from conflict.observation import DiskEntry, DiskKind, Fingerprint
from conflict.synced import EntryId, Path
from geosync.disk.interface import (
    DiskError,
    EntryBusy,
    EntryUnreadable,
    EntryVanished,
)
from geosync.engine.intake import Intake
from geosync.engine.large_file import LargeFile, busy
from geosync.engine.progress import Stage
from geosync.engine.site import Site, joined
from geosync.engine.spool import Spool
from geosync.event_log import event_logger
from geosync.terminal import display_name, human_size

RETRY_S: Final = 1.0  # after what was read could not be kept
SNAPSHOT_SHARE_MAX: Final = 0.1  # of the time that may go into snapshots of one file
TORN_SHARE_MAX: Final = 0.5  # of the time that may go into readings that come to nothing
_Captured = frozenset[tuple[EntryId, Fingerprint]]  # what is known of an inode
_log = event_logger(__name__)


@dataclass(slots=True)
class _Finished:
    """A file that is read to its end: it may be captured once its packs are stored.

    Attributes:
        found: what was read.
        captured: of the same inode, before that.
        packs: that hold some of it and were not stored when its end was read.
        is_offered: its directory was looked at since.
        is_outdated: the file was another one when it was taken.
    """

    found: StableContent
    captured: _Captured
    packs: frozenset[str]
    is_offered: bool = False
    is_outdated: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a file could not be read, and when it may be tried again."""

    error: DiskError
    again_s: float


class ReadingAhead:
    """Reads the large files of one site. Nothing of it outlives the engine but chunks and packs."""

    def __init__(self, site: Site, spool: Spool) -> None:
        self._site = site
        self._spool = spool
        self._turns: dict[Path, DiskEntry] = {}  # those that wait for their turn, in order
        self._file: LargeFile | None = None
        self._captured_before: _Captured = frozenset()
        self._finished: dict[Path, _Finished] = {}
        self._failures: dict[Path, _Failure] = {}
        self._next_snapshot_s: dict[Path, float] = {}

    def is_large(self, entry: DiskEntry) -> bool:
        """Tells whether a file is to be read ahead."""
        size_bytes = entry.fingerprint.size_bytes
        return (
            entry.kind is DiskKind.REGULAR and size_bytes >= self._site.large_files.size_bytes_min
        )

    def take(self, path: Path, entry: DiskEntry, intake: Intake) -> StableContent:
        """Returns a large file's content, if it was read ahead; else it is, from now on.

        Args:
            path: where it is.
            entry: what was seen there just now.
            intake: of the capture that is to refer to the chunks.

        Raises:
            EntryBusy: it has to wait; says how far it is, or what was in the way.
            EntryUnreadable: it could not be read.
        """
        finished = self._finished.get(path)
        if finished is not None:
            if self._is_of(finished, entry) and self._unsent_packs(finished):
                raise busy(path, self._reason_of_finished(finished))
            if self._is_of(finished, entry) and intake.has(finished.found.content):
                finished.is_outdated = finished.found.entry.fingerprint != entry.fingerprint
                return finished.found
            # Else it is another file, or somebody said that a pack will be deleted in which some
            # of it is: whose owner did not know of it, as nothing refers to it yet.
            self._drop(path)
        if self._file is not None and self._file.path == path:
            if self._file.handle == entry.handle:
                raise busy(path, self._reason_of_file(self._file))
            self._drop(path)
        failure = self._failures.get(path)
        if failure is None or self._now_s() >= failure.again_s:
            self._turns[path] = entry
        if failure is not None:
            raise failure.error.with_traceback(None)
        raise busy(path, self._reason_of_turn())

    def note_look(self, looked_at: Collection[Path], wanted: Collection[Path]) -> None:
        """Forgets the files that nobody wants to have read any more.

        Args:
            looked_at: directories that were looked at, or are gone.
            wanted: the large files in these that are to be read.
        """
        for path in self._all() - set(wanted):
            if path[:-1] in looked_at:
                self._drop(path)

    def note_captured(self, paths: Collection[Path]) -> set[Path]:
        """Forgets files that are captured now.

        Returns:
            Directories to look at again: a file in them has changed since it was read, and the
            event that told of that is long over.
        """
        again: set[Path] = set()
        for path in self._finished.keys() & paths:
            if self._finished[path].is_outdated:
                again.add(path[:-1])
            self._drop(path)
        return again

    def is_idle(self) -> bool:
        """Tells whether no large file is waiting for anything."""
        return not self._all()

    def has_slice(self) -> bool:
        """Tells whether there is something to read now, or to capture."""
        if any(self._offers()):
            return True
        return bool(self._file or self._turns) and not self._is_far_ahead()

    def due(self) -> set[Path]:
        """Returns directories to look at, in which something can be captured now; each once."""
        offered = list(self._offers())
        for _, finished in offered:
            finished.is_offered = True
        return {path[:-1] for path, _ in offered}

    def _offers(self) -> Iterator[tuple[Path, _Finished]]:
        for path, finished in self._finished.items():
            if not finished.is_offered and not self._unsent_packs(finished):
                yield path, finished

    def reasons(self) -> dict[Path, str]:
        """Returns how far each file is."""
        reasons = dict.fromkeys(self._turns.keys() - self._failures.keys(), self._reason_of_turn())
        if self._file is not None:
            reasons[self._file.path] = self._reason_of_file(self._file)
        finished = self._finished.items()
        return reasons | {path: self._reason_of_finished(each) for path, each in finished}

    def close(self) -> None:
        """Stops; what was read stays in the packs, and is not stored twice."""
        for path in self._all():
            self._drop(path)

    def advance(self) -> None:
        """Reads one slice of one file, if there is any and not too much waits to be sent."""
        if self._is_far_ahead():
            return
        while self._file is None and self._turns:
            path = next(iter(self._turns))
            self._begin(path, self._turns.pop(path))
        if self._file is not None:
            self._read_slice(self._file)

    def note_progress(self) -> None:
        """Tells how much is left to be read and sent."""
        progress = self._site.progress
        files = len(self._all() - self._failures.keys())
        if not files:
            progress.end(Stage.SENDING)
            return
        left = self._unsent_size_bytes()
        left += sum(entry.fingerprint.size_bytes for entry in self._turns.values())
        if self._file is not None:
            left += max(0, self._file.size_bytes - self._file.read_bytes)
        progress.note_sending(files, left, self._now_s())

    # One file

    def _begin(self, path: Path, entry: DiskEntry) -> None:
        may_take_snapshot = self._now_s() >= self._next_snapshot_s.get(path, 0.0)
        try:
            self._file = LargeFile(self._site, path, entry, may_take_snapshot=may_take_snapshot)
        except (EntryBusy, EntryVanished, EntryUnreadable) as error:
            self._fail(path, error, 0.0)
            return
        self._captured_before = self._captured(entry)
        self._failures.pop(path, None)
        if not self._file.is_snapshot:
            self._next_snapshot_s.pop(path, None)

    def _read_slice(self, file: LargeFile) -> None:
        """Reads on, and keeps what was read: also of a file that turns out to be torn.

        CRASH: what is not kept yet is read again after the next start; what is kept is not stored
        again.
        """
        intake = Intake(self._site, self._spool)
        is_over, failure = False, None
        try:
            try:
                is_over = file.read_on(intake)
            except (EntryBusy, EntryVanished, EntryUnreadable) as error:
                failure = error
            self._keep(intake)
        except OSError as error:
            self._stop(file)
            reason = busy(file.path, f"what is read of it can't be kept: {error}")
            self._failures[file.path] = _Failure(reason, self._now_s() + RETRY_S)
            return
        if failure is not None:
            self._stop(file)
            self._fail(file.path, failure, file.took_s)
        elif is_over:
            self._finish(file)

    def _keep(self, intake: Intake) -> None:
        if intake.has_news:
            intake.finish_packs()
            with self._site.journal.transaction():
                intake.commit(is_ahead=True)

    def _finish(self, file: LargeFile) -> None:
        self._stop(file)
        found = file.content()
        chunks = self._site.journal.chunks
        digests = {chunk.digest for chunk in found.content.chunks}
        packs = (
            name
            for name in chunks.packs_to_store()
            if not digests.isdisjoint(chunks.locations_in(name))
        )
        self._finished[file.path] = _Finished(found, self._captured_before, frozenset(packs))
        _log.debug("read_ahead", size_bytes=found.content.size_bytes, took_s=file.took_s)

    def _fail(self, path: Path, error: DiskError, took_s: float) -> None:
        """Notes why a file can't be read. What was read in vain took its time: so does a pause.

        What is not there is looked for again by whoever looks at its directory.
        """
        if not isinstance(error, EntryVanished):
            pause_s = took_s * (1 / TORN_SHARE_MAX - 1)
            self._failures[path] = _Failure(error, self._now_s() + pause_s)

    def _stop(self, file: LargeFile) -> None:
        self._file = None
        file.close()
        if file.is_snapshot:
            pause_s = max(file.rule().snapshot_every_s, file.took_s / SNAPSHOT_SHARE_MAX)
            self._next_snapshot_s[file.path] = self._now_s() + pause_s

    def _drop(self, path: Path) -> None:
        self._turns.pop(path, None)
        self._finished.pop(path, None)
        self._failures.pop(path, None)
        if self._file is not None and self._file.path == path:
            self._stop(self._file)

    def _all(self) -> set[Path]:
        now = {self._file.path} if self._file is not None else set()
        return {*self._turns, *self._finished, *self._failures, *now}

    def _is_of(self, finished: _Finished, entry: DiskEntry) -> bool:
        """Tells whether a content is newer than all that was captured of this inode.

        The file may have changed since it was read: then the next look has it read again.
        """
        is_same = finished.found.entry.handle == entry.handle
        return is_same and finished.captured == self._captured(entry)

    def _captured(self, entry: DiskEntry) -> _Captured:
        entries = self._site.journal.synced.entries_of_handle(entry.handle)
        return frozenset((each.entry, each.fingerprint) for each in entries)

    # How far it is

    def _is_far_ahead(self) -> bool:
        return self._unsent_size_bytes() >= self._site.large_files.unsent_size_bytes_max

    def _unsent_size_bytes(self) -> int:
        chunks = self._site.journal.chunks
        unsent = chunks.packs_ahead().intersection(chunks.packs_to_store())
        return sum(map(self._spool.size_bytes, unsent))

    def _unsent_packs(self, finished: _Finished) -> frozenset[str]:
        """Returns the packs that are still to be stored before this file is captured.

        Its transaction would keep all later ones waiting for these.
        """
        return finished.packs.intersection(self._site.journal.chunks.packs_to_store())

    def _reason_of_file(self, file: LargeFile) -> str:
        read, whole = human_size(file.read_bytes), human_size(file.size_bytes)
        waits = "; the rest is read when more of that is sent" if self._is_far_ahead() else ""
        return f"a large file: {read} of {whole} are read{waits}"

    def _reason_of_finished(self, finished: _Finished) -> str:
        whole = human_size(finished.found.content.size_bytes)
        left_size_bytes = sum(map(self._spool.size_bytes, self._unsent_packs(finished)))
        if left_size_bytes:
            left = human_size(left_size_bytes)
            return f"a large file: all {whole} are read; {left} are left to be sent"
        return f"a large file: all {whole} are read and sent; it is captured next"

    def _reason_of_turn(self) -> str:
        if self._file is None:
            return "a large file: it is read next"
        return f"a large file: it is read after {display_name(joined(self._file.path))}"

    def _now_s(self) -> float:
        return self._site.clock.monotonic_s()
