"""The engine's view of a simulated file system: the `Disk` interface, with faults and a window."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import wraps
from typing import Concatenate, ParamSpec

from conflict.observation import Attributes, DirectoryListing, DiskEntry, DiskKind
from geosync.disk.interface import (
    PRIVATE_DIRECTORY,
    ROOT_PATH,
    Applied,
    Busy,
    EntryBusy,
    EntryUnreadable,
    EntryVanished,
    Expected,
    Failed,
    Mismatch,
    Outcome,
    RelativePath,
    Retired,
    RootLost,
    StableReader,
    Staged,
)
from tests.simulation.inode_file_system import FileSystem, Inode, OpenFile, RenameMode

STAGE = PRIVATE_DIRECTORY + b"/stage"
TRASH = PRIVATE_DIRECTORY + b"/trash"
PARKED = PRIVATE_DIRECTORY + b"/parked"
MARKER = PRIVATE_DIRECTORY + b"/marker"
UNFINISHED = b"unfinished"
REMOVED = b"removed"
SYMLINK_MODE = 0o777  # whatever is asked for
PRIVATE_ATTRIBUTES = Attributes(0o700, b"root", b"root", 0)

Window = Callable[[str, bytes], None]
Arguments = ParamSpec("Arguments")


@dataclass(frozen=True, slots=True)
class DiskFaults:
    """How likely each fault is at each chance it has, from 0 (never) to 1."""

    stage_full: float = 0.0  # ENOSPC from a write into the stage
    read_error: float = 0.0  # EIO from a listing, an entry or a block of content
    busy: float = 0.0  # another program has the file open
    refused: float = 0.0  # EIO from a change
    sync_error: float = 0.0  # EIO from a sync


NO_FAULTS = DiskFaults()


def _outcome(
    change: Callable[Concatenate[SimulatedDisk, Arguments], Outcome],
) -> Callable[Concatenate[SimulatedDisk, Arguments], Outcome]:
    """Turns what the operating system refuses, by its rules or by the dice, into `Failed`."""

    @wraps(change)
    def attempt(
        self: SimulatedDisk, /, *args: Arguments.args, **named: Arguments.kwargs
    ) -> Outcome:
        if self.is_refused():
            return Failed(os.strerror(errno.EIO), errno.EIO)
        try:
            return change(self, *args, **named)
        except OSError as error:
            return Failed(os.strerror(error.errno or 0), error.errno or 0)

    return attempt


def no_window(_operation: str, _path: bytes) -> None:
    """Nobody acts between the compare and the act of a change."""


class SimulatedStagingFile:
    """A file in the stage; writes to it may find the disk full."""

    def __init__(self, disk: SimulatedDisk, path: bytes, file: OpenFile) -> None:
        self._disk = disk
        self._path = path
        self._file = file

    def write(self, block: bytes) -> None:
        """Appends. Raises OSError (ENOSPC; EBADF after a crash)."""
        self._disk.raise_when_full()
        self._file.append(block)

    def finish(self, attributes: Attributes) -> Staged:
        """Sets the attributes and closes. Raises OSError (EBADF) after a crash."""
        self._file.append(b"")
        return self._disk.finish_staged(self._path, self._file, attributes)

    def abandon(self) -> None:
        """Removes the unfinished file. Never raises."""
        self._disk.abandon_staged(self._path, self._file)


class SimulatedReader:
    """A regular file under a read lease, which the arrival of a writer breaks."""

    def __init__(self, disk: SimulatedDisk, entry: DiskEntry, inode: Inode) -> None:
        self.entry = entry
        self._disk = disk
        self._inode = inode
        self._visits = disk.file_system.writer_visits[inode.number]

    def blocks(self, size_bytes: int) -> Iterator[bytes]:
        """See `StableReader.blocks`; the window opens before each block and at the end."""
        for begin in range(0, len(self._inode.content), size_bytes):
            self._require_still()
            self._disk.raise_when_unreadable(self.entry.name)
            yield self._inode.content[begin : begin + size_bytes]
        self._require_still()

    def _require_still(self) -> None:
        file_system = self._disk.file_system
        self._disk.window("read", self.entry.name)
        number = self._inode.number
        present = file_system.inodes.get(number)
        if (
            present is None
            or file_system.writer_visits[number] != self._visits
            or present.fingerprint() != self._inode.fingerprint()
        ):
            raise EntryBusy(f"{self.entry.name!r} changed while it was read; read it later")


class SimulatedDisk:
    """A `Disk` over a simulated file system, as one process sees it.

    Attributes:
        file_system: outlives the process.
        faults: may be exchanged at any time; `NO_FAULTS` ends them.
        window: called with the operation and the path between the compare and the act of every
            change, and between the blocks of a read, so that an application can race there.
    """

    def __init__(
        self, file_system: FileSystem, fate: random.Random, faults: DiskFaults = NO_FAULTS
    ) -> None:
        self.file_system = file_system
        self.faults = faults
        self.window: Window = no_window
        self._fate = fate
        self._open: list[OpenFile] = []
        self._tokens = 0
        for path in (PRIVATE_DIRECTORY, STAGE, TRASH, PARKED):
            if file_system.find(path) is None:
                file_system.make(path, DiskKind.DIRECTORY, PRIVATE_ATTRIBUTES)
        if file_system.find(MARKER) is None:
            file_system.make(MARKER, DiskKind.REGULAR, PRIVATE_ATTRIBUTES)
        self._root_handle = file_system.lookup(ROOT_PATH).handle

    # Death

    def crash(self) -> None:
        """The process dies and the kernel lives on: all is as it is, open files are closed."""
        for file in self._open:
            file.close()
        self._open.clear()
        self.window = no_window

    def power_cut(self, fate: random.Random) -> None:
        """The machine dies; see `FileSystem.power_cut` for what is left."""
        self.file_system.power_cut(fate)
        self.crash()

    # Reading

    def check_root(self) -> None:
        """Raises RootLost when another root, or no marker, is there."""
        if self.file_system.lookup(ROOT_PATH).handle != self._root_handle:
            raise RootLost("the root is another directory than at first; mount the right one")
        if self.file_system.find(MARKER) is None:
            raise RootLost("the root has lost its marker; mount the right one")

    def list_directory(self, directory: RelativePath) -> DirectoryListing:
        """Lists in the order of names. Raises EntryVanished, EntryUnreadable."""
        self.raise_when_unreadable(directory)
        inode = self.file_system.find(directory)
        if inode is None or inode.kind is not DiskKind.DIRECTORY:
            raise EntryVanished(f"{directory!r} is no directory now; list its parent again")
        entries, unreadable = [], []
        for name in sorted(inode.names):
            if directory == ROOT_PATH and name == PRIVATE_DIRECTORY:
                continue
            if self._hits(self.faults.read_error):
                unreadable.append((name, os.strerror(errno.EIO)))
            else:
                entries.append(self.file_system.inodes[inode.names[name]].entry(name))
        return DirectoryListing(
            inode.entry(_last_name(directory)), tuple(entries), tuple(unreadable)
        )

    def observe(self, path: RelativePath) -> DiskEntry | None:
        """Returns what is at the path. Raises EntryUnreadable."""
        self.raise_when_unreadable(path)
        return self._entry(path)

    @contextmanager
    def open_stable(self, path: RelativePath, handle: bytes) -> Iterator[StableReader]:
        """Opens a regular file that nobody writes; see `Disk.open_stable`."""
        self.raise_when_unreadable(path)
        inode = self.file_system.find(path)
        if inode is None or inode.handle != handle or inode.kind is not DiskKind.REGULAR:
            raise EntryVanished(f"{path!r} is not the file that was seen; list its parent again")
        if self._is_busy(inode):
            raise EntryBusy(f"{path!r} is open for writing; read it later")
        yield SimulatedReader(self, inode.entry(_last_name(path)), inode)

    # The stage

    def stage_file(self, size_bytes: int) -> SimulatedStagingFile:
        """Begins a regular file. Raises OSError (ENOSPC)."""
        path, inode = self._stage(DiskKind.REGULAR)
        file = OpenFile(self.file_system, inode.number)
        self._open.append(file)
        return SimulatedStagingFile(self, path, file)

    def stage_symlink(self, target: bytes, attributes: Attributes) -> Staged:
        """Raises OSError (ENOSPC)."""
        return self._finish(*self._stage(DiskKind.SYMLINK, target), attributes)

    def stage_fifo(self, attributes: Attributes) -> Staged:
        """Raises OSError (ENOSPC)."""
        return self._finish(*self._stage(DiskKind.FIFO), attributes)

    def finish_staged(self, path: bytes, file: OpenFile, attributes: Attributes) -> Staged:
        """Closes a staging file."""
        self._open.remove(file)
        file.close()
        return self._finish(path, self.file_system.inodes[file.number], attributes)

    def abandon_staged(self, path: bytes, file: OpenFile) -> None:
        """Removes a staging file, unless a crash came first."""
        if file in self._open:
            self._open.remove(file)
            file.close()
            self.file_system.unlink(path)

    def sync_stage(self) -> None:
        """Makes everything durable. Raises OSError (EIO)."""
        self._raise_when_sync_fails()
        self.file_system.sync_all()

    def discard_staged(self, staged: Staged) -> None:
        """Removes a staged entry, if it is still there."""
        path = STAGE + b"/" + staged.token
        inode = self.file_system.find(path)
        if inode is not None:
            self._remove(path, inode)

    def clear_stage(self) -> None:
        """Removes what was never named, in the stage or on its way through the trash."""
        for directory in (STAGE, TRASH):
            for token, number in sorted(self.file_system.lookup(directory).names.items()):
                inode = self.file_system.inodes[number]
                if directory == STAGE or _is_made_for(token, inode.handle):
                    self._remove(directory + b"/" + token, inode)

    # Changes

    @_outcome
    def place_new(self, staged: Staged, path: RelativePath) -> Outcome:
        """Names a staged entry where the name is free."""
        self.window("place_new", path)
        return self._rename_to_free_name(STAGE + b"/" + staged.token, path)

    @_outcome
    def replace(self, staged: Staged, path: RelativePath, expected: Expected) -> Outcome:
        """Exchanges a staged file with the one at the path, and looks at what came out."""
        found = self._compare(path, expected)
        if not isinstance(found, Inode):
            return found
        return self._exchange("replace", staged, path, found)

    def _exchange(
        self, operation: str, staged: Staged, path: RelativePath, found: Inode
    ) -> Outcome:
        """Swaps a staged entry with what is at the path, and back when that was another.

        CRASH: the staged entry is brought to the trash first, so what a swap displaces is there at
        once; a token there that is made for its own inode tells that no swap was done.
        """
        held = TRASH + b"/" + staged.token
        self.file_system.rename(STAGE + b"/" + staged.token, held, RenameMode.NO_REPLACE)
        self.window(operation, path)
        with suppress(FileNotFoundError):
            self.file_system.rename(held, path, RenameMode.EXCHANGE)
            placed = self._entry(path)
            self.window(operation, path)
            if _is_untouched(self.file_system.lookup(held), found):
                return Applied(placed, self._retired(held))
            self._undo_exchange(held, path, staged.handle)
        if self._holds(held, staged.handle):
            self.file_system.rename(held, STAGE + b"/" + staged.token, RenameMode.NO_REPLACE)
        return Mismatch(self._entry(path))

    def _undo_exchange(self, held: bytes, path: RelativePath, ours: bytes) -> None:
        """Puts back what a wrong swap took out. Raises FileNotFoundError when ours was removed.

        RACE: an application may have renamed a third file over ours. What it did last stays as it
        is; the file that we hold stays in the trash, where it is found.
        """
        wrong = self.file_system.lookup(held).handle
        self.file_system.rename(held, path, RenameMode.EXCHANGE)
        if self.file_system.lookup(held).handle not in {ours, wrong}:
            self.file_system.rename(held, path, RenameMode.EXCHANGE)

    @_outcome
    def link(
        self,
        source: RelativePath,
        source_expected: Expected,
        target: RelativePath,
        target_expected: Expected | None,
    ) -> Outcome:
        """Makes `target` another name of the file at `source`."""
        found = self._compare(source, source_expected)
        if not isinstance(found, Inode):
            return found
        displaced = None if target_expected is None else self._compare(target, target_expected)
        if isinstance(displaced, Mismatch | Busy):
            return displaced
        self.window("link", source)
        if displaced is not None and displaced.number == found.number:
            return Applied(self._entry(target))
        staged = Staged(self._free_token(found.handle.hex().encode()), found.handle)
        held = STAGE + b"/" + staged.token
        self.file_system.link(source, held)
        if not self._holds(held, found.handle):
            self.file_system.unlink(held)
            return Mismatch(self._entry(source))
        if displaced is None:
            outcome = self._rename_to_free_name(held, target)
        else:
            outcome = self._exchange("link", staged, target, displaced)
        if not isinstance(outcome, Applied):
            self.discard_staged(staged)
        return outcome

    @_outcome
    def move(self, source: RelativePath, target: RelativePath, expected: Expected) -> Outcome:
        """Renames onto a free name; a wrong inode goes back."""
        return self._move("move", source, target, expected)

    @_outcome
    def park(self, path: RelativePath, expected: Expected) -> Outcome:
        """Moves an entry to `parked_path`."""
        return self._move("park", path, self.parked_path(expected.handle), expected)

    def _move(
        self, operation: str, source: RelativePath, target: RelativePath, expected: Expected
    ) -> Outcome:
        found = self._compare(source, expected)
        if not isinstance(found, Inode):
            return found
        self.window(operation, source)
        outcome = self._rename_to_free_name(source, target)
        if not isinstance(outcome, Applied) or outcome.entry is None:
            return outcome
        self.window(operation, source)
        if outcome.entry.handle == found.handle:
            return outcome
        self.file_system.rename(target, source, RenameMode.NO_REPLACE)
        return Mismatch(self._entry(source))

    @_outcome
    def make_directory(self, path: RelativePath, attributes: Attributes) -> Outcome:
        """Makes a directory, complete, where the name is free."""
        staged = STAGE + b"/" + self._finish(*self._stage(DiskKind.DIRECTORY), attributes).token
        self.window("make_directory", path)
        outcome = self._rename_to_free_name(staged, path)
        if not isinstance(outcome, Applied):
            self.file_system.remove_directory(staged)
        return outcome

    @_outcome
    def remove_file(self, path: RelativePath, expected: Expected) -> Outcome:
        """Takes a file into the trash; a wrong one goes back."""
        found = self._compare(path, expected)
        if not isinstance(found, Inode):
            return found
        if found.kind is DiskKind.DIRECTORY:
            return Failed(os.strerror(errno.EISDIR), errno.EISDIR)
        held = TRASH + b"/" + self._free_token(REMOVED)
        self.window("remove_file", path)
        try:
            self.file_system.rename(path, held, RenameMode.NO_REPLACE)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return Mismatch(None)
            raise
        self.window("remove_file", path)
        if _is_untouched(self.file_system.lookup(held), found):
            return Applied(None, self._retired(held))
        # RACE: when the name is taken again, the wrong file stays in the trash and is found there.
        self._rename_to_free_name(held, path)
        return Mismatch(self._entry(path))

    @_outcome
    def remove_directory(self, path: RelativePath, expected: Expected) -> Outcome:
        """Removes an empty directory."""
        found = self._compare(path, expected)
        if not isinstance(found, Inode):
            return found
        self.window("remove_directory", path)
        # RACE: another empty directory may have taken the name; nothing is lost with it.
        self.file_system.remove_directory(path)
        return Applied(None)

    @_outcome
    def set_attributes(
        self, path: RelativePath, expected: Expected, attributes: Attributes
    ) -> Outcome:
        """Sets all attributes of an inode that is still what was compared."""
        found = self._compare(path, expected)
        if not isinstance(found, Inode):
            return found
        self.window("set_attributes", path)
        present = self.file_system.find(path)
        if present is None or not _is_untouched(present, found):
            return Mismatch(self._entry(path))
        self._apply_attributes(present, attributes)
        return Applied(self._entry(path))

    def parked_path(self, handle: bytes) -> RelativePath:
        """Where `park` puts an inode."""
        return RelativePath(PARKED + b"/" + handle.hex().encode())

    def sync_changes(self) -> None:
        """Makes names durable. Raises OSError (EIO)."""
        self._raise_when_sync_fails()
        self.file_system.sync_names()

    # The trash

    def retired(self) -> Iterator[Retired]:
        """Yields the trash in the order of tokens."""
        for token in sorted(self.file_system.lookup(TRASH).names):
            entry = self._entry(TRASH + b"/" + token)
            if entry is not None and not _is_made_for(token, entry.handle):
                yield Retired(token, entry)

    @contextmanager
    def open_retired(self, retired: Retired) -> Iterator[StableReader]:
        """Opens a retired file that nobody writes; see `Disk.open_retired`."""
        path = RelativePath(TRASH + b"/" + retired.token)
        with self.open_stable(path, retired.entry.handle) as reader:
            yield reader

    @_outcome
    def discard_retired(self, retired: Retired) -> Outcome:
        """Unlinks a retired inode that is as it was and that nobody writes."""
        path = RelativePath(TRASH + b"/" + retired.token)
        entry = retired.entry
        found = self._compare(path, Expected(entry.handle, entry.fingerprint))
        if not isinstance(found, Inode):
            return found
        self.file_system.unlink(path)
        return Applied(None)

    # What faults do

    def is_refused(self) -> bool:
        """Tells whether the dice let a change fail."""
        return self._hits(self.faults.refused)

    def raise_when_full(self) -> None:
        """Raises OSError (ENOSPC) when the dice say so."""
        if self._hits(self.faults.stage_full):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def raise_when_unreadable(self, path: bytes) -> None:
        """Raises EntryUnreadable (EIO) when the dice say so."""
        if self._hits(self.faults.read_error):
            raise EntryUnreadable(f"cannot read {path!r}: {os.strerror(errno.EIO)}; check the disk")

    def _raise_when_sync_fails(self) -> None:
        if self._hits(self.faults.sync_error):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _hits(self, rate: float) -> bool:
        return rate > 0 and self._fate.random() < rate

    def _is_busy(self, inode: Inode) -> bool:
        return self.file_system.writers[inode.number] > 0 or self._hits(self.faults.busy)

    # Parts

    def _compare(self, path: RelativePath, expected: Expected) -> Inode | Mismatch | Busy:
        inode = self.file_system.find(path)
        if inode is None or inode.handle != expected.handle:
            return Mismatch(self._entry(path))
        if inode.kind is DiskKind.DIRECTORY:
            return inode
        if expected.fingerprint not in {None, inode.fingerprint()}:
            return Mismatch(self._entry(path))
        if inode.kind is DiskKind.REGULAR and self._is_busy(inode):
            return Busy()
        return inode

    def _rename_to_free_name(self, source: bytes, target: RelativePath) -> Outcome:
        try:
            self.file_system.rename(source, target, RenameMode.NO_REPLACE)
        except OSError as error:
            if error.errno == errno.EEXIST:
                return Mismatch(self._entry(target))
            raise
        return Applied(self._entry(target))

    def _stage(self, kind: DiskKind, target: bytes = b"") -> tuple[bytes, Inode]:
        self.raise_when_full()
        path = STAGE + b"/" + self._free_token(UNFINISHED)
        return path, self.file_system.make(path, kind, PRIVATE_ATTRIBUTES, target)

    def _finish(self, path: bytes, inode: Inode, attributes: Attributes) -> Staged:
        """Gives a staged entry its attributes, and a name that tells which inode it is."""
        self._apply_attributes(inode, attributes)
        staged = Staged(self._free_token(inode.handle.hex().encode()), inode.handle)
        self.file_system.rename(path, STAGE + b"/" + staged.token, RenameMode.NO_REPLACE)
        return staged

    def _apply_attributes(self, inode: Inode, attributes: Attributes) -> None:
        if inode.kind is DiskKind.SYMLINK:
            attributes = replace(attributes, mode=SYMLINK_MODE, extended=())
        self.file_system.set_attributes(inode.number, attributes)

    def _free_token(self, purpose: bytes) -> bytes:
        """Returns a name that is free in stage and trash and ends with what it is for."""
        while True:
            self._tokens += 1
            token = b"%08d-" % self._tokens + purpose
            if not any(self.file_system.find(d + b"/" + token) for d in (STAGE, TRASH)):
                return token

    def _remove(self, path: bytes, inode: Inode) -> None:
        if inode.kind is DiskKind.DIRECTORY:
            self.file_system.remove_directory(path)
        else:
            self.file_system.unlink(path)

    def _retired(self, held: bytes) -> Retired:
        token = _last_name(held)
        return Retired(token, self.file_system.lookup(held).entry(token))

    def _holds(self, path: bytes, handle: bytes) -> bool:
        inode = self.file_system.find(path)
        return inode is not None and inode.handle == handle

    def _entry(self, path: bytes) -> DiskEntry | None:
        inode = self.file_system.find(path)
        return None if inode is None else inode.entry(_last_name(path))


def _last_name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _is_made_for(token: bytes, handle: bytes) -> bool:
    return token.endswith(handle.hex().encode())


def _is_untouched(present: Inode, compared: Inode) -> bool:
    """Tells whether nobody changed the file; a rename of our own changes no more than ctime.

    A real disk holds a lease meanwhile, so a writer that comes in the window has to wait and its
    bytes appear after the change. Here they are there already, which must not go unnoticed.
    """
    return (
        present.handle == compared.handle
        and present.content == compared.content
        and present.attributes == compared.attributes
    )
