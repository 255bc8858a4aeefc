"""The application whose files are synced: what a disk test does behind geosync's back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from geosync.disk.interface import Disk


class OpenFile(Protocol):
    """A file that the application has open for writing."""

    def write(self, content: bytes) -> None:
        """Appends."""
        ...


class Application(Protocol):
    """A program that knows nothing of geosync. Paths are relative to the root."""

    def write(self, path: bytes, content: bytes) -> None:
        """Makes a file with this content, or truncates and rewrites the one that is there."""
        ...

    def append(self, path: bytes, content: bytes) -> None:
        """Opens the file, appends and closes."""
        ...

    def begin_append(self, path: bytes, content: bytes) -> Callable[[], None]:
        """As `append`, for a file that a reader may hold still.

        Returns when the open has been asked for; the call that is returned waits until the
        content is written.
        """
        ...

    def rename(self, source: bytes, target: bytes) -> None:
        """Renames over whatever is at the target."""
        ...

    def remove(self, path: bytes) -> None:
        """Removes a name of a file, or an empty directory."""
        ...

    def make_directory(self, path: bytes) -> None:
        """Makes a directory."""
        ...

    def symlink(self, target: bytes, path: bytes) -> None:
        """Makes a symlink."""
        ...

    def hard_link(self, source: bytes, path: bytes) -> None:
        """Makes another name of a file."""
        ...

    def chmod(self, path: bytes, mode: int) -> None:
        """Changes the mode."""
        ...

    def set_mtime(self, path: bytes, mtime_ns: int) -> None:
        """Changes the time of the last modification."""
        ...

    def read(self, path: bytes) -> bytes:
        """Returns the content of a file."""
        ...

    def open_for_writing(self, path: bytes) -> AbstractContextManager[OpenFile]:
        """Keeps an existing file open for appending."""
        ...

    def list_tree(self) -> set[bytes]:
        """Returns all paths but those of geosync's private directory."""
        ...


@dataclass(frozen=True, slots=True)
class DiskWorld:
    """A disk under test and the application beside it."""

    disk: Disk
    application: Application
    sees_writers: bool  # whether an open writer is noticed (leases)
    lose_marker: Callable[[], None]
    restart: Callable[[], Disk]  # a new process on the same disk; the old one must not be used
    close: Callable[[], None]  # gives descriptors back


@dataclass(frozen=True, slots=True)
class _RealOpenFile:
    descriptor: int

    def write(self, content: bytes) -> None:
        assert os.write(self.descriptor, content) == len(content)


class RealApplication:
    """An application on a real directory."""

    def __init__(self, root: bytes) -> None:
        self.root = root

    def _at(self, path: bytes) -> bytes:
        return os.path.join(self.root, path)

    def write(self, path: bytes, content: bytes) -> None:
        with open(self._at(path), "wb") as file:
            file.write(content)

    def append(self, path: bytes, content: bytes) -> None:
        with open(self._at(path), "ab") as file:
            file.write(content)

    def begin_append(self, path: bytes, content: bytes) -> Callable[[], None]:
        try:
            os.close(os.open(self._at(path), os.O_WRONLY | os.O_NONBLOCK))
        except BlockingIOError:
            # The lease is being broken now; a blocking open waits for its end.
            thread = threading.Thread(target=self.append, args=(path, content), daemon=True)
            thread.start()
            return thread.join
        self.append(path, content)
        return lambda: None

    def rename(self, source: bytes, target: bytes) -> None:
        os.rename(self._at(source), self._at(target))

    def remove(self, path: bytes) -> None:
        if os.path.isdir(self._at(path)) and not os.path.islink(self._at(path)):
            os.rmdir(self._at(path))
        else:
            os.unlink(self._at(path))

    def make_directory(self, path: bytes) -> None:
        os.mkdir(self._at(path))

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, self._at(path))

    def hard_link(self, source: bytes, path: bytes) -> None:
        os.link(self._at(source), self._at(path))

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def set_mtime(self, path: bytes, mtime_ns: int) -> None:
        os.utime(self._at(path), ns=(mtime_ns, mtime_ns))

    def read(self, path: bytes) -> bytes:
        with open(self._at(path), "rb") as file:
            return file.read()

    @contextmanager
    def open_for_writing(self, path: bytes) -> Iterator[OpenFile]:
        descriptor = os.open(self._at(path), os.O_WRONLY | os.O_APPEND)
        try:
            yield _RealOpenFile(descriptor)
        finally:
            os.close(descriptor)

    def list_tree(self) -> set[bytes]:
        found = set()
        for directory, directories, files in os.walk(self.root):
            if directory == self.root and b".geosync" in directories:
                directories.remove(b".geosync")
            inside = os.path.relpath(directory, self.root)
            for name in directories + files:
                found.add(name if inside == b"." else os.path.join(inside, name))
        return found
