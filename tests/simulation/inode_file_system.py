"""An in-memory POSIX file system: inodes, names, open files, and what a power cut leaves of it."""

from __future__ import annotations

import errno
import heapq
import os
import random
import struct
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Self

from conflict.observation import Attributes, DiskEntry, DiskKind, Fingerprint
from geosync.clock import Clock

NAME_SIZE_BYTES_MAX = 255
LINK_COUNT_MAX = 65_000  # as on ext4
DIRECTORY_SIZE_BYTES = 4096
ROOT_NUMBER = 2
TICK_NS = 1_000_000  # time stamps of one tick are told apart by a running number
WRITEBACK_S = 30.0  # what is older was written back by the kernel on its own account
NO_NAMES: Mapping[bytes, int] = {}


class RenameMode(Enum):
    """What a rename does about a name that is taken: rename(2) and the flags of renameat2(2)."""

    OVERWRITE = 0
    NO_REPLACE = 1
    EXCHANGE = 2


@dataclass(frozen=True, slots=True)
class Inode:
    """One state of one inode. States are never changed, so a copy of the table is a snapshot."""

    number: int
    generation: int
    kind: DiskKind
    attributes: Attributes
    ctime_ns: int
    link_count: int
    content: bytes = b""
    target: bytes = b""  # of a symlink
    names: Mapping[bytes, int] = field(default_factory=dict)  # of a directory; never mutated

    @property
    def handle(self) -> bytes:
        """Identity that a later inode of the same number does not have."""
        return struct.pack(">QQ", self.number, self.generation)

    def fingerprint(self) -> Fingerprint:
        """The part of stat that changes with every change."""
        sizes = {
            DiskKind.DIRECTORY: DIRECTORY_SIZE_BYTES,
            DiskKind.SYMLINK: len(self.target),
        }
        size_bytes = sizes.get(self.kind, len(self.content))
        return Fingerprint(size_bytes, self.attributes.mtime_ns, self.ctime_ns)

    def entry(self, name: bytes) -> DiskEntry:
        """The inode as a directory shows it under `name`."""
        return DiskEntry(
            name,
            self.kind,
            self.handle,
            self.fingerprint(),
            self.attributes,
            self.link_count,
            self.target,
        )


@dataclass(frozen=True, slots=True)
class Image:
    """A snapshot of a whole file system; it costs one copy of the inode table."""

    inodes: Mapping[int, Inode]


@dataclass(frozen=True, slots=True)
class _Undo:
    """How to take one change back that is not yet on the platter."""

    at_s: float
    before: Mapping[int, Inode | None]
    written: int | None  # the inode whose content it wrote


class OpenFile:
    """A regular file open for writing; it stays valid when its name goes to another inode."""

    def __init__(self, file_system: FileSystem, number: int) -> None:
        self._file_system = file_system
        self._boot = file_system.boot
        self.number = number
        self._is_open = True
        file_system.writers[number] += 1
        file_system.writer_visits[number] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def write(self, content: bytes) -> None:
        """Appends, even to an inode that has no name any more.

        Raises:
            OSError: EBADF after `close` or a power cut.
        """
        self.rewrite(self.content() + content)

    def rewrite(self, content: bytes) -> None:
        """Replaces the whole content; raises as `write`."""
        self.content()
        self._file_system.write(self.number, content)

    def close(self) -> None:
        """Ends the writing; an inode without a name is gone then. Harmless when repeated."""
        if self._is_open and self._boot == self._file_system.boot:
            self._file_system.writers[self.number] -= 1
            self._file_system.forget_unreachable(self.number)
        self._is_open = False

    def content(self) -> bytes:
        """Returns the whole content; raises as `write`."""
        if not self._is_open or self._boot != self._file_system.boot:
            raise OSError(errno.EBADF, "the file is not open any more")
        return self._file_system.inodes[self.number].content


def failure(code: int, path: bytes) -> OSError:
    """The error that the kernel would give."""
    return OSError(code, os.strerror(code), path)


class FileSystem:
    """All inodes of one site. Paths are relative to the root, b"" is the root.

    Every method either does all of what it says or raises OSError and does nothing. No method
    follows a symlink: ELOOP where one is in the way, as openat2(2) with RESOLVE_NO_SYMLINKS.

    Attributes:
        inodes: the present state of each inode by its number.
        writers: how many have each inode open for writing now.
        writer_visits: how often each inode was opened for writing: a reader that finds another
            number than before knows that a writer came, as one whose lease was broken.
        boot: how often the power came back.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stamps = 0
        self._generations = 0
        self._free: list[int] = []
        self._next_number = ROOT_NUMBER + 1
        self._unsynced: deque[_Undo] = deque()
        self._unflushed: dict[int, float] = {}  # inode -> when it was written
        self.inodes: dict[int, Inode] = {}
        self.writers: Counter[int] = Counter()
        self.writer_visits: Counter[int] = Counter()
        self.boot = 0
        self._unmounted: Image | None = None
        self._make_root()

    # Reading

    def lookup(self, path: bytes) -> Inode:
        """Returns the inode at the path. Raises OSError (ENOENT, ENOTDIR, ELOOP)."""
        inode = self.inodes[ROOT_NUMBER]
        for name in path.split(b"/") if path else ():
            if inode.kind is DiskKind.SYMLINK:
                raise failure(errno.ELOOP, path)
            if inode.kind is not DiskKind.DIRECTORY:
                raise failure(errno.ENOTDIR, path)
            if len(name) > NAME_SIZE_BYTES_MAX:
                raise failure(errno.ENAMETOOLONG, path)
            if name not in inode.names:
                raise failure(errno.ENOENT, path)
            inode = self.inodes[inode.names[name]]
        return inode

    def find(self, path: bytes) -> Inode | None:
        """As `lookup`, with None for a free name or a way that is not there."""
        try:
            return self.lookup(path)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return None
            raise

    # Changes

    def make(
        self, path: bytes, kind: DiskKind, attributes: Attributes, target: bytes = b""
    ) -> Inode:
        """Makes an inode of any kind at a free name; its mtime is now. Raises OSError."""
        parent, name = self._free_name(path)
        now_ns = self._now_ns()
        self._generations += 1
        made = Inode(
            self._free_number(),
            self._generations,
            kind,
            replace(attributes, mtime_ns=now_ns),
            now_ns,
            link_count=2 if kind is DiskKind.DIRECTORY else 1,
            target=target,
        )
        self._commit(
            made, self._with_name(parent, name, made.number, kind is DiskKind.DIRECTORY, now_ns)
        )
        return made

    def write(self, number: int, content: bytes) -> None:
        """Sets the content of a regular file."""
        inode = self.inodes[number]
        now_ns = self._now_ns()
        attributes = replace(inode.attributes, mtime_ns=now_ns)
        changed = replace(inode, content=content, attributes=attributes, ctime_ns=now_ns)
        self._commit(changed, written=number)

    def set_attributes(self, number: int, attributes: Attributes) -> None:
        """Sets all attributes, mtime among them."""
        inode = self.inodes[number]
        self._commit(replace(inode, attributes=attributes, ctime_ns=self._now_ns()))

    def link(self, source: bytes, target: bytes) -> None:
        """Gives the inode at `source` another name. Raises OSError (EEXIST, EPERM, EMLINK)."""
        inode = self.lookup(source)
        parent, name = self._free_name(target)
        if inode.kind is DiskKind.DIRECTORY:
            raise failure(errno.EPERM, source)
        if inode.link_count >= LINK_COUNT_MAX:
            raise failure(errno.EMLINK, source)
        now_ns = self._now_ns()
        self._commit(
            replace(inode, link_count=inode.link_count + 1, ctime_ns=now_ns),
            self._with_name(parent, name, inode.number, False, now_ns),
        )

    def unlink(self, path: bytes) -> None:
        """Takes a name from an inode that is not a directory. Raises OSError."""
        inode = self.lookup(path)
        if inode.kind is DiskKind.DIRECTORY:
            raise failure(errno.EISDIR, path)
        now_ns = self._now_ns()
        parent, name = self._split(path)
        self._commit(
            replace(inode, link_count=inode.link_count - 1, ctime_ns=now_ns),
            self._without_name(parent, name, False, now_ns),
        )
        self.forget_unreachable(inode.number)

    def remove_directory(self, path: bytes) -> None:
        """Removes an empty directory. Raises OSError (ENOTEMPTY, ENOTDIR, EBUSY for the root)."""
        inode = self.lookup(path)
        if inode.kind is not DiskKind.DIRECTORY:
            raise failure(errno.ENOTDIR, path)
        if not path:
            raise failure(errno.EBUSY, path)
        if inode.names:
            raise failure(errno.ENOTEMPTY, path)
        parent, name = self._split(path)
        self._commit(
            replace(inode, link_count=0), self._without_name(parent, name, True, self._now_ns())
        )
        self.forget_unreachable(inode.number)

    def rename(self, source: bytes, target: bytes, mode: RenameMode) -> None:
        """As renameat2(2). Raises OSError (EEXIST, ENOENT, EINVAL, ENOTEMPTY, EISDIR, ENOTDIR)."""
        moved = self.lookup(source)
        displaced = self.find(target)
        self._split(target)
        if (target + b"/").startswith(source + b"/") and source != target:
            raise failure(errno.EINVAL, target)
        if mode is RenameMode.EXCHANGE:
            self._exchange(source, target)
            return
        if displaced is not None and mode is RenameMode.NO_REPLACE:
            raise failure(errno.EEXIST, target)
        if displaced is not None and displaced.number == moved.number:
            return  # two names of one inode: rename(2) does nothing and succeeds
        self._require_overwritable(moved, displaced, target)
        self._move_over(source, target)

    # Power, snapshots, mounts

    def sync_all(self) -> None:
        """As syncfs(2): names and contents survive a power cut from now on."""
        self._unsynced.clear()
        self._unflushed.clear()

    def sync_names(self) -> None:
        """As fsync(2) of directories: names survive, contents that were not flushed need not."""
        while self._unsynced:
            undo = self._unsynced.popleft()
            if undo.written is not None:
                self._unflushed[undo.written] = undo.at_s

    def power_cut(self, fate: random.Random) -> None:
        """Keeps a prefix of the changes since the last sync; unflushed contents may be empty."""
        self._expire()
        survivors = fate.randint(0, len(self._unsynced))
        while len(self._unsynced) > survivors:
            self._restore_inodes(self._unsynced.pop().before)
        self.sync_names()
        for number in sorted(self._unflushed):
            if number in self.inodes and fate.random() < 0.5:
                self.inodes[number] = replace(self.inodes[number], content=b"")
        self._unflushed.clear()
        self._forget_open_files()

    def snapshot(self) -> Image:
        """The present state, as a snapshot of the volume would hold it."""
        return Image(dict(self.inodes))

    def copy(self) -> FileSystem:
        """Returns a file system of its own in the present state."""
        copied = FileSystem(self._clock)
        copied.inodes = dict(self.inodes)
        copied._next_number = self._next_number
        copied._generations = self._generations
        return copied

    def restore(self, image: Image) -> None:
        """Puts back an earlier state, as a rollback of the VM does: no file stays open."""
        self.inodes = dict(image.inodes)
        for number, inode in image.inodes.items():  # perhaps of another machine
            self._next_number = max(self._next_number, number + 1)
            self._generations = max(self._generations, inode.generation)
        self._unsynced.clear()
        self._unflushed.clear()
        self._forget_open_files()

    def clear(self) -> None:
        """Makes all anew: a disk that was formatted."""
        self.restore(Image({}))
        self._make_root()

    def restore_files(self, image: Image) -> None:
        """Puts back the files of an earlier state, as a program does that copies a backup here.

        They have the times and links that they had, but are other inodes; the root is the same.
        """
        root = self.inodes[ROOT_NUMBER]
        self.restore(Image({n: self._copied(inode) for n, inode in image.inodes.items()}))
        self.inodes[ROOT_NUMBER] = replace(self.inodes[ROOT_NUMBER], generation=root.generation)

    def _copied(self, inode: Inode) -> Inode:
        self._generations += 1
        return replace(inode, generation=self._generations, ctime_ns=self._now_ns())

    @property
    def is_mounted(self) -> bool:
        """Tells whether the root is the one that it was at first."""
        return self._unmounted is None

    def unmount(self) -> None:
        """Leaves an empty directory where the root was; files that were open are closed."""
        assert self._unmounted is None, "it is unmounted already"
        image = self.snapshot()
        self.clear()
        self._unmounted = image

    def mount(self) -> None:
        """Brings back what `unmount` took away."""
        assert self._unmounted is not None, "it is mounted"
        self.restore(self._unmounted)
        self._unmounted = None

    def forget_unreachable(self, number: int) -> None:
        """Frees an inode that has neither a name nor a writer."""
        inode = self.inodes.get(number)
        if inode is not None and inode.link_count == 0 and not self.writers[number]:
            self._remember(_Undo(self._clock.monotonic_s(), {number: inode}, None))
            del self.inodes[number]
            heapq.heappush(self._free, number)

    # Parts

    def _make_root(self) -> None:
        now_ns = self._now_ns()
        self._generations += 1
        attributes = Attributes(0o755, b"root", b"root", now_ns)
        self.inodes[ROOT_NUMBER] = Inode(
            ROOT_NUMBER, self._generations, DiskKind.DIRECTORY, attributes, now_ns, link_count=2
        )
        self._free = []

    def wall_ns(self) -> int:
        """Returns what the kernel's clock says."""
        return self._clock.wall_ns()

    def _now_ns(self) -> int:
        self._stamps += 1
        return self._clock.wall_ns() // TICK_NS * TICK_NS + self._stamps % TICK_NS

    def _free_number(self) -> int:
        """The lowest number that is free: numbers are used again at once, as on ext4."""
        while self._free:
            number = heapq.heappop(self._free)
            if number not in self.inodes:
                return number
        self._next_number += 1
        return self._next_number - 1

    def _split(self, path: bytes) -> tuple[Inode, bytes]:
        """Returns the directory and the name in it. Raises OSError when there is no such one."""
        directory, _, name = path.rpartition(b"/")
        if not name:
            raise failure(errno.EBUSY, path)
        if len(name) > NAME_SIZE_BYTES_MAX:
            raise failure(errno.ENAMETOOLONG, path)
        parent = self.lookup(directory)
        if parent.kind is DiskKind.SYMLINK:
            raise failure(errno.ELOOP, path)
        if parent.kind is not DiskKind.DIRECTORY:
            raise failure(errno.ENOTDIR, path)
        return parent, name

    def _free_name(self, path: bytes) -> tuple[Inode, bytes]:
        parent, name = self._split(path)
        if name in parent.names:
            raise failure(errno.EEXIST, path)
        return parent, name

    def _with_name(
        self, parent: Inode, name: bytes, number: int, is_directory: bool, now_ns: int
    ) -> Inode:
        return replace(
            parent,
            names={**parent.names, name: number},
            link_count=parent.link_count + is_directory,
            attributes=replace(parent.attributes, mtime_ns=now_ns),
            ctime_ns=now_ns,
        )

    def _without_name(self, parent: Inode, name: bytes, is_directory: bool, now_ns: int) -> Inode:
        return replace(
            parent,
            names={other: number for other, number in parent.names.items() if other != name},
            link_count=parent.link_count - is_directory,
            attributes=replace(parent.attributes, mtime_ns=now_ns),
            ctime_ns=now_ns,
        )

    def _require_overwritable(self, moved: Inode, displaced: Inode | None, target: bytes) -> None:
        if displaced is None:
            return
        if displaced.kind is not DiskKind.DIRECTORY:
            if moved.kind is DiskKind.DIRECTORY:
                raise failure(errno.ENOTDIR, target)
        elif moved.kind is not DiskKind.DIRECTORY:
            raise failure(errno.EISDIR, target)
        elif displaced.names:
            raise failure(errno.ENOTEMPTY, target)

    def _move_over(self, source: bytes, target: bytes) -> None:
        """Moves a name; what was at the target loses that name. One step, as a journal has it."""
        now_ns = self._now_ns()
        moved, displaced = self.lookup(source), self.find(target)
        is_directory = moved.kind is DiskKind.DIRECTORY
        parent, name = self._split(source)
        changes = {parent.number: self._without_name(parent, name, is_directory, now_ns)}
        parent, name = self._split(target)
        parent = changes.get(parent.number, parent)
        if displaced is not None:
            parent = self._without_name(parent, name, is_directory, now_ns)
            left = 0 if is_directory else displaced.link_count - 1
            changes[displaced.number] = replace(displaced, link_count=left, ctime_ns=now_ns)
        changes[parent.number] = self._with_name(parent, name, moved.number, is_directory, now_ns)
        changes[moved.number] = replace(moved, ctime_ns=now_ns)
        self._commit(*changes.values())
        if displaced is not None:
            self.forget_unreachable(displaced.number)

    def _exchange(self, source: bytes, target: bytes) -> None:
        now_ns = self._now_ns()
        first, second = self.lookup(source), self.lookup(target)
        if (source + b"/").startswith(target + b"/") and source != target:
            raise failure(errno.EINVAL, source)
        changes = {
            first.number: replace(first, ctime_ns=now_ns),
            second.number: replace(second, ctime_ns=now_ns),
        }
        for path, old, new in ((source, first, second), (target, second, first)):
            parent, name = self._split(path)
            parent = changes.get(parent.number, parent)
            parent = self._without_name(parent, name, old.kind is DiskKind.DIRECTORY, now_ns)
            changes[parent.number] = self._with_name(
                parent, name, new.number, new.kind is DiskKind.DIRECTORY, now_ns
            )
        self._commit(*changes.values())

    def _commit(self, *changed: Inode, written: int | None = None) -> None:
        before = {inode.number: self.inodes.get(inode.number) for inode in changed}
        self._remember(_Undo(self._clock.monotonic_s(), before, written))
        self.inodes.update((inode.number, inode) for inode in changed)

    def _remember(self, undo: _Undo) -> None:
        self._unsynced.append(undo)
        self._expire()

    def _expire(self) -> None:
        """Writes back what is old, oldest first, so that the list stays short."""
        oldest_s = self._clock.monotonic_s() - WRITEBACK_S
        while self._unsynced and self._unsynced[0].at_s < oldest_s:
            self._unsynced.popleft()
        for number in [n for n, at_s in self._unflushed.items() if at_s < oldest_s]:
            del self._unflushed[number]

    def _restore_inodes(self, before: Mapping[int, Inode | None]) -> None:
        for number, inode in before.items():
            if inode is None:
                del self.inodes[number]
            else:
                self.inodes[number] = inode

    def _forget_open_files(self) -> None:
        self.boot += 1
        self.writers.clear()
        for number in [n for n, inode in self.inodes.items() if inode.link_count == 0]:
            del self.inodes[number]
        self._free = []
