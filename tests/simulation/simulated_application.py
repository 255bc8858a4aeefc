"""An application on a simulated file system: it writes whenever it likes and asks nobody."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace

from conflict.observation import Attributes, DiskKind
from geosync.disk.interface import PRIVATE_DIRECTORY
from tests.simulation.inode_file_system import FileSystem, Inode, OpenFile, RenameMode, failure

FILE_ATTRIBUTES = Attributes(0o644, b"root", b"root", 0)
DIRECTORY_ATTRIBUTES = Attributes(0o755, b"root", b"root", 0)
LINK_ATTRIBUTES = Attributes(0o777, b"root", b"root", 0)


class SimulatedApplication:
    """System calls of a program, by path. Each raises OSError as the kernel would."""

    def __init__(self, file_system: FileSystem) -> None:
        self._file_system = file_system

    def write(self, path: bytes, content: bytes) -> None:
        """Rewrites a file in place, or makes it."""
        if not self.exists(path):
            self._file_system.make(path, DiskKind.REGULAR, FILE_ATTRIBUTES)
        with self.open_for_writing(path) as file:
            file.rewrite(content)

    def append(self, path: bytes, content: bytes) -> None:
        """Adds to a file."""
        self.begin_append(path, content)()

    def begin_append(self, path: bytes, content: bytes) -> Callable[[], None]:
        """Opens a file, which tells a reader to give way; writes when the result is called."""
        file = self.open_for_writing(path)

        def finish() -> None:
            with file:
                file.write(content)

        return finish

    def open_for_writing(self, path: bytes) -> OpenFile:
        """Keeps a file open: it is busy, and what is written goes to this inode for ever."""
        inode = self._file_system.lookup(path)
        if inode.kind is not DiskKind.REGULAR:
            raise failure(errno.EINVAL, path)
        return OpenFile(self._file_system, inode.number)

    def rename(self, source: bytes, target: bytes) -> None:
        """As rename(2): what was at the target is gone."""
        self._file_system.rename(source, target, RenameMode.OVERWRITE)

    def save(self, path: bytes, content: bytes) -> None:
        """Saves as editors do: writes a temporary file and renames it over."""
        temporary = path + b"~"
        self.write(temporary, content)
        self.rename(temporary, path)

    def remove(self, path: bytes) -> None:
        """As remove(3): a name of a file, or an empty directory."""
        if self._file_system.lookup(path).kind is DiskKind.DIRECTORY:
            self._file_system.remove_directory(path)
        else:
            self._file_system.unlink(path)

    def make_directory(self, path: bytes) -> None:
        """As mkdir(2)."""
        self._file_system.make(path, DiskKind.DIRECTORY, DIRECTORY_ATTRIBUTES)

    def symlink(self, target: bytes, path: bytes) -> None:
        """As symlink(2)."""
        self._file_system.make(path, DiskKind.SYMLINK, LINK_ATTRIBUTES, target)

    def make_fifo(self, path: bytes) -> None:
        """As mkfifo(3)."""
        self._file_system.make(path, DiskKind.FIFO, FILE_ATTRIBUTES)

    def hard_link(self, source: bytes, path: bytes) -> None:
        """As link(2)."""
        self._file_system.link(source, path)

    def chmod(self, path: bytes, mode: int) -> None:
        """As chmod(2)."""
        inode = self._file_system.lookup(path)
        self._file_system.set_attributes(inode.number, replace(inode.attributes, mode=mode))

    def set_mtime(self, path: bytes, mtime_ns: int) -> None:
        """As utimensat(2)."""
        inode = self._file_system.lookup(path)
        self._file_system.set_attributes(inode.number, replace(inode.attributes, mtime_ns=mtime_ns))

    def read(self, path: bytes) -> bytes:
        """Returns the content of a file, or the target of a symlink."""
        inode = self._file_system.lookup(path)
        return inode.target if inode.kind is DiskKind.SYMLINK else inode.content

    def exists(self, path: bytes) -> bool:
        """Tells whether anything is at the path."""
        return self._file_system.find(path) is not None

    def tree(self) -> dict[bytes, Inode]:
        """Returns all that the application can see, by path, in the order of paths."""
        seen: dict[bytes, Inode] = {}
        directories = [b""]
        while directories:
            directory = directories.pop()
            inode = self._file_system.lookup(directory)
            for name, number in inode.names.items():
                path = directory + b"/" + name if directory else name
                if path != PRIVATE_DIRECTORY:
                    seen[path] = self._file_system.inodes[number]
                    if seen[path].kind is DiskKind.DIRECTORY:
                        directories.append(path)
        return dict(sorted(seen.items()))

    def list_tree(self) -> set[bytes]:
        """Returns all paths that the application can see."""
        return set(self.tree())
