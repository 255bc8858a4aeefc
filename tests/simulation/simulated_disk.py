"""The engine's view of a simulated file system: the `Disk` interface, with faults and a window."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from typing import Concatenate, ParamSpec

from conflict.observation import Attributes, DirectoryListing, DiskEntry, DiskKind
from geosync.disk.glances import REST_NS
from geosync.disk.interface import (
    PRIVATE_DIRECTORY,
    ROOT_PATH,
    Applied,
    Busy,
    EntryBusy,
    EntryVanished,
    Expected,
    Failed,
    Glance,
    Mismatch,
    Outcome,
    RelativePath,
    Retired,
    RootLost,
    StableReader,
    Staged,
)
from tests.simulation.disk_dice import DiskDice
from tests.simulation.inode_file_system import FileSystem, Inode, RenameMode, failure
from tests.simulation.simulated_stage import (
    GENERATION,
    MARKER,
    PARKED,
    PRIVATE_ATTRIBUTES,
    STAGE,
    TRASH,
    UNFINISHED,
    SimulatedDownloadFile,
    SimulatedSourceFile,
    SimulatedStage,
    SimulatedStagingFile,
    is_made_for,
    parked_name,
)

REMOVED = b"removed"
UNDO_ATTEMPTS = 10

Window = Callable[[str, bytes], None]
Arguments = ParamSpec("Arguments")


def _outcome(
    change: Callable[Concatenate[SimulatedDisk, Arguments], Outcome],
) -> Callable[Concatenate[SimulatedDisk, Arguments], Outcome]:
    """Turns what the operating system refuses, by its rules or by the dice, into `Failed`."""

    @wraps(change)
    def attempt(
        self: SimulatedDisk, /, *args: Arguments.args, **named: Arguments.kwargs
    ) -> Outcome:
        try:
            self.dice.require_granted()
            return change(self, *args, **named)
        except OSError as error:
            paths = os.fsdecode(b", ".join(arg for arg in args if isinstance(arg, bytes)))
            return Failed(f"can't {change.__name__} {paths}: {error.strerror}", error.errno or 0)

    return attempt


def no_window(_operation: str, _path: bytes) -> None:
    """Nobody acts between the compare and the act of a change."""


class SimulatedReader:
    """A regular file under a read lease, which the arrival of a writer breaks."""

    may_change_unseen = False  # every change has a time of its own
    is_copy = False

    def __init__(self, disk: SimulatedDisk, entry: DiskEntry, inode: Inode) -> None:
        self.entry = entry
        self._disk = disk
        self._inode = inode
        self._visits = disk.file_system.writer_visits[inode.number]

    def blocks(self, size_bytes: int) -> Iterator[bytes]:
        """See `StableReader.blocks`; the window opens before each block and at the end."""
        yield from self.unproven_blocks(size_bytes)
        for _ in self.proof(size_bytes):
            pass

    def sparse_blocks(self, size_bytes: int) -> Iterator[bytes]:
        """See `StableReader.sparse_blocks`: this disk has no holes."""
        return self.blocks(size_bytes)

    def unproven_blocks(self, size_bytes: int) -> Iterator[bytes]:
        """See `StableReader.unproven_blocks`."""
        for begin in range(0, len(self._inode.content), size_bytes):
            self._require_still()
            self._disk.dice.require_readable(self.entry.name)
            yield self._inode.content[begin : begin + size_bytes]

    def proof(self, _size_bytes: int) -> Iterator[None]:
        """See `StableReader.proof`; it takes two steps, so that something may happen in between."""
        yield None
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
        dice: decide about faults.
        window: called with the operation and the path between the compare and the act of every
            change, and between the blocks of a read, so that an application can race there.
        generation_window: the same where a generation is left.
    """

    def __init__(self, file_system: FileSystem, dice: DiskDice) -> None:
        self.file_system = file_system
        self.dice = dice
        self.window: Window = no_window
        self.generation_window: Window = no_window
        self._stage = SimulatedStage(file_system, dice)
        self._root_handle = file_system.lookup(ROOT_PATH).handle
        self._marker = b""

    def initialise(self, known_marker: bytes | None = None) -> bytes:
        """Makes the private directory and its marker, unless the marker is known already.

        Returns:
            The token in the marker.

        Raises:
            RootLost: `known_marker` is not the one that is there.
        """
        if known_marker is not None:
            self._require_marker(known_marker)
        for path in (PRIVATE_DIRECTORY, STAGE, TRASH, PARKED):
            if self.file_system.find(path) is None:
                self.file_system.make(path, DiskKind.DIRECTORY, PRIVATE_ATTRIBUTES)
        if self.file_system.find(MARKER) is None:
            marker = self.file_system.make(MARKER, DiskKind.REGULAR, PRIVATE_ATTRIBUTES)
            self.file_system.write(marker.number, self.dice.fate.randbytes(16))
            self.file_system.sync_all()
        self._marker = self.file_system.lookup(MARKER).content
        return self._marker

    def generation(self) -> bytes | None:
        """Returns the token that `set_generation` left last, None when it never did."""
        found = self.file_system.find(GENERATION)
        return None if found is None else found.target

    def set_generation(self, token: bytes) -> None:
        """Leaves a token as the target of a symlink, which takes its name whole."""
        unfinished = STAGE + b"/" + self._stage.free_token(UNFINISHED)
        self.file_system.make(unfinished, DiskKind.SYMLINK, PRIVATE_ATTRIBUTES, token)
        self.generation_window("set_generation", GENERATION)
        self.file_system.rename(unfinished, GENERATION, RenameMode.OVERWRITE)
        self.generation_window("set_generation", GENERATION)

    # Death

    def crash(self) -> None:
        """The process dies and the kernel lives on: all is as it is, open files are closed."""
        self._stage.close_all()
        self.window = self.generation_window = no_window

    def detach(self) -> None:
        """What the dying process still runs changes nothing that anybody else sees."""
        self.file_system = self._stage.file_system = self.file_system.copy()

    def power_cut(self, fate: random.Random) -> None:
        """The machine dies; see `FileSystem.power_cut` for what is left."""
        self.file_system.power_cut(fate)
        self.crash()

    # Reading

    def check_root(self) -> None:
        """Raises RootLost when another root, or no marker, is there."""
        if self.file_system.lookup(ROOT_PATH).handle != self._root_handle:
            raise RootLost("the root is another directory than at first; mount the right one")
        self._require_marker(self._marker)

    def _require_marker(self, token: bytes) -> None:
        found = self.file_system.find(MARKER)
        if found is None or found.content != token:
            raise RootLost("the root has not the marker that it had; mount the right one")

    def knows_user(self, _name: bytes) -> bool:
        """See `Disk.knows_user`: everybody is known here."""
        return True

    def knows_group(self, _name: bytes) -> bool:
        """See `Disk.knows_group`."""
        return True

    def list_directory(self, directory: RelativePath) -> DirectoryListing:
        """Lists in the order of names. Raises EntryVanished, EntryUnreadable."""
        self.dice.require_readable(directory)
        inode = self.file_system.find(directory)
        if inode is None or inode.kind is not DiskKind.DIRECTORY:
            raise EntryVanished(f"{directory!r} is no directory now; list its parent again")
        entries, unreadable = [], []
        for name in sorted(inode.names):
            if directory == ROOT_PATH and name == PRIVATE_DIRECTORY:
                continue
            if self.dice.fails_to_read():
                unreadable.append((name, os.strerror(errno.EIO)))
            else:
                entries.append(self.file_system.inodes[inode.names[name]].entry(name))
        glance, latest_ns = self._glance_at(directory, inode)
        is_at_rest = not unreadable and latest_ns < self.file_system.wall_ns() - REST_NS
        return DirectoryListing(
            inode.entry(_last_name(directory)),
            tuple(entries),
            tuple(unreadable),
            glance.digest if is_at_rest else b"",
        )

    def glance(self, directory: RelativePath) -> Glance:
        """See `Disk.glance`."""
        self.dice.require_readable(directory)
        inode = self.file_system.find(directory)
        if inode is None or inode.kind is not DiskKind.DIRECTORY:
            raise EntryVanished(f"{directory!r} is no directory now; list its parent again")
        return self._glance_at(directory, inode)[0]

    def _glance_at(self, directory: RelativePath, inode: Inode) -> tuple[Glance, int]:
        """Returns what stat tells, by which no inode differs from a later one of its number."""
        names = [
            name
            for name in sorted(inode.names)
            if (directory, name) != (ROOT_PATH, PRIVATE_DIRECTORY)
        ]
        below = [self.file_system.inodes[inode.names[name]] for name in names]
        rows = [
            (each.number, each.kind, each.link_count, each.attributes.mode, each.fingerprint())
            for each in (inode, *below)
        ]
        digest = hashlib.blake2b(repr((names, rows)).encode(), digest_size=16).digest()
        kinds = zip(names, below, strict=True)
        directories = tuple(name for name, each in kinds if each.kind is DiskKind.DIRECTORY)
        latest_ns = max(each.ctime_ns for each in (inode, *below))
        return Glance(digest, directories, len(names)), latest_ns

    def observe(self, path: RelativePath) -> DiskEntry | None:
        """Returns what is at the path. Raises EntryUnreadable."""
        self.dice.require_readable(path)
        return self._entry(path)

    @contextmanager
    def open_stable(
        self,
        path: RelativePath,
        handle: bytes,
        *,
        despite_writers: bool = False,
        is_slow: bool = False,
    ) -> Iterator[StableReader]:
        """Opens a regular file that nobody writes; see `Disk.open_stable`."""
        self.dice.require_readable(path)
        inode = self.file_system.find(path)
        if inode is None or inode.handle != handle or inode.kind is not DiskKind.REGULAR:
            raise EntryVanished(f"{path!r} is not the file that was seen; list its parent again")
        if self._is_busy(inode) and not despite_writers:
            raise EntryBusy(f"{path!r} is open for writing; read it later")
        yield SimulatedReader(self, inode.entry(_last_name(path)), inode)

    # The stage

    def stage_file(self, size_bytes: int) -> SimulatedStagingFile:
        """Begins a regular file. Raises OSError (ENOSPC)."""
        return self._stage.begin_file()

    def open_download(
        self,
        name: bytes,
        size_bytes: int,
        *,
        data_size_bytes: int,
    ) -> SimulatedDownloadFile:
        """Opens a download. Raises OSError (ENOSPC)."""
        return self._stage.open_download(name, size_bytes)

    def discard_download(self, name: bytes) -> None:
        """Removes a download, if it is there."""
        self._stage.discard_download(name)

    def discard_downloads(self, keep: frozenset[bytes]) -> None:
        """Removes the downloads with other names."""
        self._stage.discard_downloads(keep)

    def open_source(self, path: RelativePath, handle: bytes) -> SimulatedSourceFile:
        """Opens a regular file to copy from. Raises EntryVanished, EntryUnreadable."""
        self.dice.require_readable(path)
        inode = self.file_system.find(path)
        if inode is None or inode.handle != handle or inode.kind is not DiskKind.REGULAR:
            raise EntryVanished(f"{path!r} is not the file that was seen; list its parent again")
        return SimulatedSourceFile(self.file_system, inode)

    def stage_symlink(self, target: bytes, attributes: Attributes) -> Staged:
        """Raises OSError (ENOSPC)."""
        return self._stage.make(DiskKind.SYMLINK, attributes, target)

    def stage_fifo(self, attributes: Attributes) -> Staged:
        """Raises OSError (ENOSPC)."""
        return self._stage.make(DiskKind.FIFO, attributes)

    def sync_stage(self) -> None:
        """Makes everything durable. Raises OSError (EIO)."""
        self.dice.require_synced()
        self.file_system.sync_all()

    def discard_staged(self, staged: Staged) -> None:
        """Removes a staged entry, if it is still there."""
        self._stage.discard(staged)

    def clear_stage(self) -> None:
        """Removes what was never named, in the stage or on its way through the trash."""
        self._stage.clear()

    # Changes

    @_outcome
    def place_new(self, staged: Staged, path: RelativePath) -> Outcome:
        """Names a staged entry where the name is free."""
        self.window("place_new", path)
        return self._rename_to_free_name(STAGE + b"/" + staged.token, path)

    @_outcome
    def replace(self, staged: Staged, path: RelativePath, expected: Expected) -> Outcome:
        """Exchanges a staged file with the one at the path, and looks at what came out."""
        found = self._lease(path, expected)
        if not isinstance(found, Inode):
            return found
        if found.kind is DiskKind.DIRECTORY:
            raise failure(errno.EISDIR, path)
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
            # RACE: while it had the name, a program may have written to it, or opened it to do so.
            kept = TRASH + b"/" + self._stage.free_token(REMOVED)
            self.file_system.rename(held, kept, RenameMode.NO_REPLACE)
        return Mismatch(self._entry(path))

    def _undo_exchange(self, held: bytes, path: RelativePath, ours: bytes) -> None:
        """Exchanges until what comes back is what was put there the time before.

        RACE: an application may rename one file after the other over the path. Its last one ends
        there; another one that it replaced itself ends in the trash, where it is found.

        Raises:
            FileNotFoundError: the application removed what was at the path.
        """
        awaited = ours
        for _ in range(UNDO_ATTEMPTS):
            put = self.file_system.lookup(held).handle
            self.window("undo", path)
            self.file_system.rename(held, path, RenameMode.EXCHANGE)
            if self._holds(held, awaited):
                return
            awaited = put

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
        if found.kind is DiskKind.DIRECTORY:
            raise failure(errno.EISDIR, source)
        if target_expected is not None and target_expected.handle == found.handle:
            linked = self._compare(target, target_expected)
            return Applied(self._entry(target)) if isinstance(linked, Inode) else linked
        displaced = None if target_expected is None else self._lease(target, target_expected)
        if isinstance(displaced, Mismatch | Busy):
            return displaced
        self.window("link", source)
        staged = self._stage.link(source, found)
        if staged is None:
            return Mismatch(self._entry(source))
        return self._place_link(staged, target, found, displaced)

    def _place_link(
        self, staged: Staged, target: RelativePath, found: Inode, displaced: Inode | None
    ) -> Outcome:
        try:
            if displaced is None:
                outcome = self._rename_to_free_name(STAGE + b"/" + staged.token, target)
            else:
                outcome = self._exchange("link", staged, target, displaced)
        except OSError:
            self._stage.discard(staged)
            raise
        if isinstance(outcome, Applied) and outcome.entry is not None:
            return Applied(_known(found, outcome.entry), outcome.retired)
        self._stage.discard(staged)
        return outcome

    @_outcome
    def move(self, source: RelativePath, target: RelativePath, expected: Expected) -> Outcome:
        """Renames onto a free name; a wrong inode goes back."""
        return self._move("move", source, target, expected)

    @_outcome
    def park(self, path: RelativePath, name: bytes, expected: Expected) -> Outcome:
        """Moves an entry to `parked_path`."""
        return self._move("park", path, self.parked_path(name), expected)

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
            return Applied(_known(found, outcome.entry))
        self.file_system.rename(target, source, RenameMode.NO_REPLACE)
        return Mismatch(self._entry(source))

    @_outcome
    def make_directory(self, path: RelativePath, attributes: Attributes) -> Outcome:
        """Makes a directory, complete, where the name is free."""
        staged = self._stage.make(DiskKind.DIRECTORY, attributes)
        self.window("make_directory", path)
        try:
            return self._rename_to_free_name(STAGE + b"/" + staged.token, path)
        finally:
            self._stage.discard(staged)

    @_outcome
    def remove_file(self, path: RelativePath, expected: Expected) -> Outcome:
        """Takes a file into the trash; a wrong one goes back."""
        found = self._lease(path, expected)
        if not isinstance(found, Inode):
            return found
        if found.kind is DiskKind.DIRECTORY:
            raise failure(errno.EISDIR, path)
        held = TRASH + b"/" + self._stage.free_token(REMOVED)
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
        found = self._lease(path, expected)
        if not isinstance(found, Inode):
            return found
        self.window("set_attributes", path)
        present = self.file_system.find(path)
        if present is None or not _is_untouched(present, found):
            return Mismatch(self._entry(path))
        self._stage.apply_attributes(present, attributes)
        return Applied(self._entry(path))

    def parked_path(self, name: bytes) -> RelativePath:
        """Where `park` puts what is to be called so."""
        return RelativePath(parked_name(name))

    def sync_changes(self) -> None:
        """Makes names durable. Raises OSError (EIO)."""
        self.dice.require_synced()
        self.file_system.sync_names()

    def sync_everything(self) -> None:
        """Makes durable what programs have done, too. Raises OSError (EIO)."""
        self.dice.require_synced()
        self.file_system.sync_all()

    # The trash

    def retired(self, but_for: Collection[bytes] = frozenset()) -> Iterator[Retired]:
        """Yields the trash in the order of tokens."""
        for token in sorted(self.file_system.lookup(TRASH).names.keys() - set(but_for)):
            entry = self._entry(TRASH + b"/" + token)
            if entry is not None and not is_made_for(token, entry.handle):
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
        found = self._lease(path, Expected(entry.handle, entry.fingerprint))
        if not isinstance(found, Inode):
            return found
        self.file_system.unlink(path)
        left = self.file_system.inodes.get(found.number)
        if left is None or not left.link_count:
            return Applied(None)
        return Applied(None, Retired(retired.token, left.entry(retired.token)))

    # Parts

    def _compare(self, path: RelativePath, expected: Expected) -> Inode | Mismatch:
        inode = self.file_system.find(path)
        if inode is None or inode.handle != expected.handle:
            return Mismatch(self._entry(path))
        if inode.kind is DiskKind.DIRECTORY:
            return inode
        if expected.fingerprint not in {None, inode.fingerprint()}:
            return Mismatch(self._entry(path))
        return inode

    def _is_busy(self, inode: Inode) -> bool:
        return self.file_system.writers[inode.number] > 0 or self.dice.is_busy()

    def _lease(self, path: RelativePath, expected: Expected) -> Inode | Mismatch | Busy:
        """As `_compare`, for changes that must keep writers out."""
        inode = self._compare(path, expected)
        if isinstance(inode, Inode) and inode.kind is DiskKind.REGULAR and self._is_busy(inode):
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


def _known(before: Inode, now: DiskEntry) -> DiskEntry:
    """Returns `now` with the size and mtime of `before`, so that a write in between will show."""
    if now.kind is not DiskKind.REGULAR:
        return now
    fingerprint = replace(before.fingerprint(), ctime_ns=now.fingerprint.ctime_ns)
    attributes = replace(now.attributes, mtime_ns=fingerprint.mtime_ns)
    return replace(now, fingerprint=fingerprint, attributes=attributes)


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
