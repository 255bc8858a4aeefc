"""Looking at entries below the root: each is pinned by a descriptor before it is described."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from conflict.observation import DiskEntry, DiskKind, Fingerprint
from geosync.disk.attributes import read_attributes
from geosync.disk.interface import RelativePath
from geosync.disk.owner_names import OwnerNames
from geosync.disk.syscalls import birth_of, file_handle, open_beneath

GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))  # also: a parent is no directory

_KINDS = {
    stat.S_IFDIR: DiskKind.DIRECTORY,
    stat.S_IFREG: DiskKind.REGULAR,
    stat.S_IFLNK: DiskKind.SYMLINK,
    stat.S_IFIFO: DiskKind.FIFO,
}
_INODE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a directory that a descriptor holds."""

    directory: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Pinned:
    """An inode that a descriptor (O_PATH) holds, and what it looked like when it was opened."""

    descriptor: int
    entry: DiskEntry


class Tree:
    """The tree below a root directory that a descriptor holds. No method follows a symlink.

    Attributes:
        names: what the volume calls the owners.
    """

    def __init__(self, root: int, *, has_handles: bool, names: OwnerNames) -> None:
        self.names = names
        self._root = root
        self._has_handles = has_handles
        self._device = os.fstat(root).st_dev
        self._mount = file_handle(root, b"")[1] if has_handles else 0

    def handle_at(self, place: Place) -> bytes:
        """Returns the identity of the inode at a name, or of the directory itself for b"".

        Raises:
            OSError: EXDEV when another file system is mounted there; ENOENT and the like.
        """
        if not self._has_handles:
            birth = birth_of(place.directory, place.name)
            return b"%d born %d" % (birth.inode, birth.birth_time_ns)
        handle, mount = file_handle(place.directory, place.name)
        if mount != self._mount:
            raise OSError(errno.EXDEV, "another file system is mounted here", place.name)
        return handle

    def handle_of(self, descriptor: int) -> bytes:
        """Returns the identity of the inode that a descriptor holds; raises as `handle_at`."""
        return self.handle_at(Place(descriptor, b""))

    def entry_of(self, descriptor: int, name: bytes) -> DiskEntry:
        """Describes the inode that a descriptor holds.

        Raises:
            OSError: a part of it could not be read.
        """
        # stat comes first: what changes afterwards leaves a newer ctime to be found.
        return self.described(descriptor, name, os.fstat(descriptor))

    def described(self, descriptor: int, name: bytes, status: os.stat_result) -> DiskEntry:
        """As `entry_of`, given what stat told before."""
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), DiskKind.UNSUPPORTED)
        if kind is DiskKind.DIRECTORY and status.st_dev != self._device:
            raise OSError(errno.EXDEV, "another file system begins here", name)
        return DiskEntry(
            name=name,
            kind=kind,
            handle=self.handle_of(descriptor),
            fingerprint=Fingerprint(status.st_size, status.st_mtime_ns, status.st_ctime_ns),
            attributes=read_attributes(descriptor, status, self.names),
            link_count=status.st_nlink,
            target=os.readlink(b"", dir_fd=descriptor) if kind is DiskKind.SYMLINK else b"",
        )

    @contextmanager
    def pinned(self, place: Place) -> Iterator[Pinned]:
        """Holds the inode at a name.

        Raises:
            OSError: ENOENT when the name is free, and the like.
        """
        descriptor = os.open(place.name, _INODE, dir_fd=place.directory)
        try:
            yield Pinned(descriptor, self.entry_of(descriptor, place.name))
        finally:
            os.close(descriptor)

    @contextmanager
    def pinned_path(self, path: RelativePath) -> Iterator[Pinned]:
        """Holds the inode at a path; see `pinned`."""
        descriptor = open_beneath(self._root, _checked(path) or b".", _INODE)
        try:
            yield Pinned(descriptor, self.entry_of(descriptor, path.rpartition(b"/")[2]))
        finally:
            os.close(descriptor)

    def entry_at(self, place: Place) -> DiskEntry:
        """Describes what lies at a name; raises as `pinned`."""
        return self.looked_at(place)[0]

    def looked_at(self, place: Place) -> tuple[DiskEntry, os.stat_result]:
        """Describes what lies at a name, and tells what stat told of it; raises as `pinned`."""
        # As `with self.pinned(place)`, without what a context manager costs in a large directory.
        descriptor = os.open(place.name, _INODE, dir_fd=place.directory)
        try:
            status = os.fstat(descriptor)
            return self.described(descriptor, place.name, status), status
        finally:
            os.close(descriptor)

    def found_at(self, place: Place) -> DiskEntry | None:
        """Describes what lies at a name, None when it is free. Raises OSError."""
        try:
            return self.entry_at(place)
        except FileNotFoundError:
            return None

    @contextmanager
    def place(self, path: RelativePath) -> Iterator[Place]:
        """Holds the directory of a path, so that its last name can be acted on.

        Raises:
            OSError: one of `GONE` when there is no such directory; EINVAL for the root.
        """
        parent, _, name = _checked(path).rpartition(b"/")
        if not name:
            raise OSError(errno.EINVAL, "the root has no name to act on", path)
        directory = open_beneath(self._root, parent or b".", os.O_PATH | os.O_DIRECTORY)
        try:
            yield Place(directory, name)
        finally:
            os.close(directory)

    def hold_directory(self, path: RelativePath) -> int:
        """Opens a directory to act on it, whatever its mode; the caller closes. Raises OSError."""
        return open_beneath(self._root, _checked(path) or b".", os.O_PATH | os.O_DIRECTORY)

    def open_directory(self, path: RelativePath) -> int:
        """Opens a directory for listing; the caller closes it. Raises OSError."""
        return open_beneath(self._root, _checked(path) or b".", os.O_RDONLY | os.O_DIRECTORY)


def _checked(path: RelativePath) -> bytes:
    """Refuses a path that could mean another one, wherever it comes from."""
    if path and not {b"", b".", b".."}.isdisjoint(path.split(b"/")):
        raise OSError(errno.EINVAL, "not a plain relative path", path)
    return path
