"""Making entries in the stage: complete, with attributes, before anybody can see them."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from conflict.content import Block, Zeros
from conflict.observation import Attributes
from geosync.disk.attributes import apply_attributes
from geosync.disk.interface import Staged
from geosync.disk.private_directory import (
    download_of,
    fresh_download_token,
    fresh_token,
    fresh_unfinished_name,
    name_of_download,
)
from geosync.disk.syscalls import sync_file_system
from geosync.disk.tree import Pinned, Place, Tree

_PAGE_SIZE_BYTES = 4096  # the smallest hole of common file systems
_ZERO_PAGE = bytes(_PAGE_SIZE_BYTES)


class Stage:
    """The stage directory, which a descriptor holds.

    What was displaced never comes here, so whatever a killed run left is ours to remove; downloads
    are kept, see geosync.disk.download_file.
    """

    def __init__(self, tree: Tree, directory: int) -> None:
        self._tree = tree
        self._directory = directory

    def begin_file(self, size_bytes: int) -> "PosixStagingFile":
        """Begins a regular file. Raises OSError, ENOSPC when there is no room for all of it."""
        self.require_space(size_bytes)
        name = fresh_unfinished_name()
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        return PosixStagingFile(self, name, os.open(name, flags, 0o600, dir_fd=self._directory))

    def require_space(self, size_bytes: int) -> None:
        """Refuses early: a file that can't fit must not fill the applications' disk first.

        Raises:
            OSError: ENOSPC.
        """
        space = os.fstatvfs(self._directory)
        if size_bytes > space.f_bavail * space.f_frsize:
            raise OSError(errno.ENOSPC, f"no room for a file of {size_bytes} bytes", b"stage")

    def symlink(self, target: bytes, attributes: Attributes) -> Staged:
        """Makes a symlink. Raises OSError."""
        name = fresh_unfinished_name()
        os.symlink(target, name, dir_fd=self._directory)
        return self._finish_named(name, attributes)

    def fifo(self, attributes: Attributes) -> Staged:
        """Makes a FIFO. Raises OSError."""
        name = fresh_unfinished_name()
        os.mkfifo(name, 0o600, dir_fd=self._directory)
        return self._finish_named(name, attributes)

    def directory(self, attributes: Attributes) -> Staged:
        """Makes a directory. Raises OSError."""
        name = fresh_unfinished_name()
        os.mkdir(name, 0o700, dir_fd=self._directory)
        return self._finish_named(name, attributes)

    def link(self, pin: Pinned) -> Staged:
        """Makes another name of a pinned inode. Raises OSError."""
        token = fresh_token(pin.entry.handle)
        os.link(
            f"/proc/self/fd/{pin.descriptor}",
            token,
            dst_dir_fd=self._directory,
            follow_symlinks=True,
        )
        return Staged(token, pin.entry.handle)

    def _finish_named(self, name: bytes, attributes: Attributes) -> Staged:
        with self._tree.pinned(Place(self._directory, name)) as pin:
            self.apply_attributes(pin.descriptor, attributes)
            return self.finish(name, pin.entry.handle)

    def finish(self, name: bytes, handle: bytes) -> Staged:
        """Renames what is complete to a token that tells its inode. Raises OSError."""
        token = fresh_token(handle)
        os.rename(name, token, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        return Staged(token, handle)

    def open_download(self, name: bytes) -> int | None:
        """Opens what an earlier run left of a download; None where there is nothing of use."""
        place = name_of_download(name)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(place, flags, dir_fd=self._directory)
        except FileNotFoundError:
            return None
        except OSError:
            self._remove(place)
            return None
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            return descriptor
        os.close(descriptor)
        self._remove(place)
        return None

    def make_download(self, name: bytes) -> int:
        """Makes an empty one. Raises OSError."""
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name_of_download(name), flags, 0o600, dir_fd=self._directory)

    def finish_download(self, name: bytes, handle: bytes) -> Staged:
        """As `finish`, for a download that is complete. Raises OSError."""
        token = fresh_download_token(name, handle)
        os.rename(
            name_of_download(name), token, src_dir_fd=self._directory, dst_dir_fd=self._directory
        )
        return Staged(token, handle)

    def discard_download(self, name: bytes) -> None:
        """Removes a download, if it is there. Raises OSError."""
        self._remove(name_of_download(name))

    def discard_downloads(self, keep: frozenset[bytes]) -> None:
        """Removes all downloads but those named. Raises OSError."""
        kept = {name_of_download(name) for name in keep}
        for name in map(os.fsencode, os.listdir(self._directory)):
            if download_of(name) == name and name not in kept:
                self._remove(name)

    def handle_of(self, descriptor: int) -> bytes:
        """Returns the identity of an open inode, whatever has its name by now. Raises OSError."""
        return self._tree.handle_at(Place(descriptor, b""))

    def apply_attributes(self, descriptor: int, attributes: Attributes) -> None:
        """Sets the attributes of an open inode as far as possible. Raises OSError."""
        apply_attributes(descriptor, attributes, self._tree.names)

    def place_of(self, staged: Staged) -> Place:
        """Returns where a staged entry lies."""
        return Place(self._directory, staged.token)

    def sync(self) -> None:
        """Makes everything in the stage durable.

        Raises:
            OSError: a write failed since the last call. The stage's descriptor is used for
                nothing else, so no other call can be told of the failure instead.
        """
        sync_file_system(self._directory)

    def discard(self, name: bytes) -> None:
        """Takes an entry out of the stage; of a download, it is one again. As `_remove`."""
        download = download_of(name)
        if download is None:
            self._remove(name)
            return
        with contextlib.suppress(FileNotFoundError):
            os.chmod(name, 0o600, dir_fd=self._directory)
            os.rename(name, download, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def _remove(self, name: bytes) -> None:
        """Removes an entry from the stage. Never raises when it is gone."""
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                os.rmdir(name, dir_fd=self._directory)
            else:
                os.unlink(name, dir_fd=self._directory)

    def clear(self) -> None:
        """Removes everything from the stage but downloads. Raises OSError."""
        for name in os.listdir(self._directory):
            self.discard(os.fsencode(name))


class PosixStagingFile:
    """A regular file that is being written in the stage; pages of zeros become holes."""

    def __init__(self, stage: Stage, name: bytes, descriptor: int) -> None:
        self._stage = stage
        self._name = name
        self._descriptor: int | None = descriptor
        self._size_bytes = 0

    def write(self, block: Block) -> None:
        """Appends. Raises OSError (ENOSPC and the like)."""
        descriptor = self._open_descriptor()
        if isinstance(block, Zeros):
            self._size_bytes += block.size_bytes
            return
        write_without_zero_pages(descriptor, block, self._size_bytes)
        self._size_bytes += len(block)

    def finish(self, attributes: Attributes) -> Staged:
        """Sets size and attributes and closes. Raises OSError; `abandon` remains possible."""
        descriptor = self._open_descriptor()
        os.ftruncate(descriptor, self._size_bytes)
        self._stage.apply_attributes(descriptor, attributes)
        handle = self._stage.handle_of(descriptor)
        self._close()
        return self._stage.finish(self._name, handle)

    def abandon(self) -> None:
        """Removes the unfinished file. Never raises; a finished one is left alone."""
        with contextlib.suppress(OSError):  # what remains is removed at the next start
            self._close()
            self._stage.discard(self._name)

    def _open_descriptor(self) -> int:
        assert self._descriptor is not None, "a staging file is written until it is finished"
        return self._descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def _without_zero_pages(block: bytes, position: int) -> Iterator[tuple[int, memoryview]]:
    """Yields offset and data of what is to be written of a block that begins at a position."""
    view = memoryview(block)
    if _ZERO_PAGE not in block:
        yield 0, view
        return
    begin = 0
    at = -position % _PAGE_SIZE_BYTES
    while at + _PAGE_SIZE_BYTES <= len(block):
        end = at + _PAGE_SIZE_BYTES
        if view[at:end] == _ZERO_PAGE:
            if begin < at:
                yield begin, view[begin:at]
            begin = end
        at = end
    if begin < len(block):
        yield begin, view[begin:]


def write_without_zero_pages(descriptor: int, block: bytes, position: int) -> None:
    """Writes to a part of a file that is a hole yet, and leaves holes there. Raises OSError."""
    for offset, data in _without_zero_pages(block, position):
        write_all(descriptor, data, position + offset)


def write_all(descriptor: int, data: memoryview, position: int) -> None:
    """Writes at a position. Raises OSError."""
    while data:
        written = os.pwrite(descriptor, data, position)
        data, position = data[written:], position + written
