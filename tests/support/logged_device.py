"""A block device that logs each write and each flush: what a disk was told, in which order.

A process serves one file through FUSE; a loop device on that file is the block device. Of the
kernel this needs nothing but FUSE and loop devices. The server logs a request before it answers,
so the size of the log says at any time what the device has been told so far.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct("<QQ")  # offset and size of a write, in bytes; data follows
_FLUSH: Final = 2**64 - 1  # for an offset: everything that was answered before is durable

# Numbers and layouts from linux/fuse.h, protocol 7.31.
_GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS = 3, 4, 14, 15, 16, 17
_RELEASE, _FSYNC, _FLUSHED, _INIT, _DESTROY, _FALLOCATE = 18, 20, 25, 26, 38, 43
_FORGET, _INTERRUPT, _BATCH_FORGET = 2, 36, 42
_WITHOUT_ANSWER: Final = frozenset((_FORGET, _INTERRUPT, _BATCH_FORGET))
_REQUEST: Final = struct.Struct("<IIQQIIIHH")
_ANSWER: Final = struct.Struct("<IiQ")
_ATTRIBUTES: Final = struct.Struct("<QQQQQQIIIIIIIIII")
_WRITE_SIZE_BYTES_MAX: Final = 1 << 17
_MAX_PAGES_FLAG: Final = 1 << 22
_DIRECT_IO: Final = 1
_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 0x01, 0x02, 0x10
_REQUEST_SIZE_BYTES_MAX: Final = _WRITE_SIZE_BYTES_MAX + 65536

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Write:
    """One record of a log.

    Attributes:
        offset_bytes: on the device.
        data: what was written there.
    """

    offset_bytes: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """One record of a log: all writes before it are durable, whatever happens."""


Record = Write | Flush


@dataclass(frozen=True, slots=True)
class LoggedDevice:
    """A device that is there.

    Attributes:
        path: of the block device.
        log: the file that tells what was written; see `records`.
    """

    path: str
    log: Path

    def position_bytes(self) -> int:
        """Returns the size of the log: what the device has been told until now."""
        return self.log.stat().st_size


def missing_requirement() -> str | None:
    """Returns why this process can't have such a device, None when it can."""
    if os.geteuid() != 0:
        return "only root can make block devices"
    for path in ("/dev/fuse", "/dev/loop-control"):
        if not os.access(path, os.R_OK | os.W_OK):
            return f"there is no {path} that could be opened"
    return None


@contextmanager
def logged_device(image: Path, log: Path) -> Iterator[LoggedDevice]:
    """Makes a device that holds what `image` holds until the block ends.

    Args:
        image: is written to, too.
        log: a file that is made anew.
    """
    served = log.with_suffix(".served")
    served.touch()
    log.write_bytes(b"")
    channel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={channel},rootmode=100000,user_id=0,group_id=0"
    _mount(str(served), options)
    try:
        server = _start(channel, image, log)
        os.close(channel)
        loop = _run("losetup", "--find", "--show", str(served)).strip()
        try:
            yield LoggedDevice(loop, log)
        finally:
            _run("losetup", "--detach", loop)
    finally:
        _run("umount", "--lazy", str(served))
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)
    served.unlink()


def records(log: Path, end_bytes: int | None = None) -> Iterator[tuple[int, Record]]:
    """Yields what a device was told, each with the size of the log once that was in it.

    Args:
        log: of a device.
        end_bytes: where to end; a position that the device told.
    """
    with log.open("rb") as file:
        position_bytes = 0
        while end_bytes is None or position_bytes < end_bytes:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return
            offset_bytes, size_bytes = _HEADER.unpack(header)
            position_bytes += _HEADER.size
            if offset_bytes == _FLUSH:
                yield position_bytes, Flush()
                continue
            position_bytes += size_bytes
            yield position_bytes, Write(offset_bytes, file.read(size_bytes))


def _start(channel: int, image: Path, log: Path) -> int:
    """Starts the server as a process of its own: one that waits for its own disk would hang."""
    server = os.fork()
    if server == 0:
        try:
            _Server(channel, image, log).serve()
        finally:
            os._exit(0)
    return server


class _Server:
    def __init__(self, channel: int, image: Path, log: Path) -> None:
        self._channel = channel
        self._image = os.open(image, os.O_RDWR)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND)
        self._size_bytes = os.fstat(self._image).st_size

    def serve(self) -> None:
        # One buffer for all: the kernel wants room for the largest request each time.
        buffer = mmap.mmap(-1, _REQUEST_SIZE_BYTES_MAX)
        view = memoryview(buffer)
        while True:
            try:
                size_bytes = os.readv(self._channel, [view])
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # unmounted
            _, operation, unique, *_ = _REQUEST.unpack_from(view)
            if operation in _WITHOUT_ANSWER:
                continue
            self._answer(unique, operation, view[_REQUEST.size : size_bytes])

    def _answer(self, unique: int, operation: int, request: memoryview) -> None:
        number, body = 0, b""
        try:
            body = self._done(operation, request)
        except OSError as error:
            number = error.errno or errno.EIO
        header = _ANSWER.pack(_ANSWER.size + len(body), -number, unique)
        os.writev(self._channel, [header, body])

    def _done(self, operation: int, request: memoryview) -> bytes:
        answers: dict[int, Callable[[memoryview], bytes]] = {
            _INIT: self._init,
            _GETATTR: self._attributes,
            _SETATTR: self._attributes,
            _OPEN: lambda _: struct.pack("<QII", 0, _DIRECT_IO, 0),
            _READ: self._read,
            _WRITE: self._write,
            _FSYNC: self._flush,
            _FALLOCATE: self._zero,
            _STATFS: lambda _: bytes(80),
            _RELEASE: lambda _: b"",
            _FLUSHED: lambda _: b"",
            _DESTROY: lambda _: b"",
        }
        if operation not in answers:
            raise OSError(errno.ENOSYS, f"request {operation}")
        return answers[operation](request)

    def _init(self, request: memoryview) -> bytes:
        major, minor, readahead_bytes, _ = struct.unpack_from("<IIII", request)
        assert (major, minor) >= (7, 31), "this kernel speaks an older FUSE"
        pages = _WRITE_SIZE_BYTES_MAX // mmap.PAGESIZE
        answer = (7, 31, readahead_bytes, _MAX_PAGES_FLAG, 16, 12, _WRITE_SIZE_BYTES_MAX, 1, pages)
        return struct.pack("<IIIIHHIIH", *answer).ljust(64, b"\0")

    def _attributes(self, _: memoryview) -> bytes:
        blocks, mode = self._size_bytes // 512, stat.S_IFREG | 0o600
        valid_for = struct.pack("<QII", 3600, 0, 0)
        return valid_for + _ATTRIBUTES.pack(
            1, self._size_bytes, blocks, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0
        )

    def _read(self, request: memoryview) -> bytes:
        _, offset_bytes, size_bytes = struct.unpack_from("<QQI", request)
        return os.pread(self._image, size_bytes, offset_bytes)

    def _flush(self, _: memoryview) -> bytes:
        os.write(self._log, _HEADER.pack(_FLUSH, 0))
        return b""

    def _write(self, request: memoryview) -> bytes:
        _, offset_bytes, size_bytes = struct.unpack_from("<QQI", request)
        self._keep(offset_bytes, request[40 : 40 + size_bytes])
        return struct.pack("<II", size_bytes, 0)

    def _zero(self, request: memoryview) -> bytes:
        _, offset_bytes, size_bytes, mode = struct.unpack_from("<QQQI", request)
        if mode not in (_PUNCH_HOLE | _KEEP_SIZE, _ZERO_RANGE, _ZERO_RANGE | _KEEP_SIZE):
            raise OSError(errno.EOPNOTSUPP, f"fallocate {mode}")
        for begin_bytes in range(offset_bytes, offset_bytes + size_bytes, _WRITE_SIZE_BYTES_MAX):
            rest_bytes = offset_bytes + size_bytes - begin_bytes
            self._keep(begin_bytes, memoryview(bytes(min(_WRITE_SIZE_BYTES_MAX, rest_bytes))))
        return b""

    def _keep(self, offset_bytes: int, data: memoryview) -> None:
        os.pwrite(self._image, data, offset_bytes)
        os.writev(self._log, [_HEADER.pack(offset_bytes, len(data)), data])


def _mount(path: str, options: str) -> None:
    arguments = (b"geosync-test", path.encode(), b"fuse", ctypes.c_ulong(0), options.encode())
    if _libc.mount(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount fuse on {path}: {os.strerror(number)}")


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
