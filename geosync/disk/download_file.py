"""Downloads: files that fill up in the stage, in any order, and outlive the process at work.

A download is the staged file itself: once it is complete, nothing is copied. It lies in the stage
under a name of its own; once it is staged, its token begins with that name, so that whoever takes
it out of the stage again, or starts after a crash, finds the download that it was.
"""

import os
import weakref
from typing import Final

from conflict.observation import Attributes
from geosync.disk.interface import Staged
from geosync.disk.staging import Stage, write_all, write_without_zero_pages

_PIECE_SIZE_BYTES: Final = 1024 * 1024


def open_download(
    stage: Stage, name: bytes, size_bytes: int, *, data_size_bytes: int
) -> "PosixDownloadFile":
    """Opens a download, with what an earlier run left of it; see `Disk.open_download`.

    Raises:
        OSError: ENOSPC when there is no room for all of it.
    """
    remains = stage.open_download(name)
    status = os.fstat(remains) if remains is not None else None
    there_size_bytes = status.st_blocks * 512 if status is not None else 0
    try:
        stage.require_space(data_size_bytes - there_size_bytes)
        descriptor = remains if remains is not None else stage.make_download(name)
    except OSError:
        if remains is not None:
            os.close(remains)
        raise
    file = PosixDownloadFile(
        stage, name, descriptor, has_remains=status is not None and status.st_size > 0
    )
    os.ftruncate(descriptor, size_bytes)
    return file


class PosixDownloadFile:
    """Implements `DownloadFile`."""

    def __init__(self, stage: Stage, name: bytes, descriptor: int, *, has_remains: bool) -> None:
        self.handle = stage.handle_of(descriptor)
        self.has_remains = has_remains
        self._stage = stage
        self._name = name
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """See `DownloadFile.read_at`."""
        return os.pread(self._descriptor, size_bytes, offset_bytes)

    def write_at(self, offset_bytes: int, data: bytes) -> None:
        """See `DownloadFile.write_at`. Pages of zeros become holes."""
        if self.has_remains:
            write_all(self._descriptor, memoryview(data), offset_bytes)
        else:
            write_without_zero_pages(self._descriptor, data, offset_bytes)

    def clear_at(self, offset_bytes: int, size_bytes: int) -> None:
        """See `DownloadFile.clear_at`."""
        if not self.has_remains:
            return
        position, end = offset_bytes, offset_bytes + size_bytes
        while position < end:
            try:
                begin = os.lseek(self._descriptor, position, os.SEEK_DATA)
            except OSError:
                return  # there are no data up to the end of the file
            if begin >= end:
                return
            piece = min(end - begin, _PIECE_SIZE_BYTES)
            write_all(self._descriptor, memoryview(bytes(piece)), begin)
            position = begin + piece

    def sync(self) -> None:
        """See `DownloadFile.sync`."""
        os.fdatasync(self._descriptor)

    def finish(self, attributes: Attributes) -> Staged:
        """See `DownloadFile.finish`."""
        self._stage.apply_attributes(self._descriptor, attributes)
        self.close()
        return self._stage.finish_download(self._name, self.handle)

    def close(self) -> None:
        """See `DownloadFile.close`."""
        self._close()


class PosixSourceFile:
    """Implements `SourceFile`. It is closed when nobody refers to it any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """See `SourceFile.read_at`."""
        return os.pread(self._descriptor, size_bytes, offset_bytes)
