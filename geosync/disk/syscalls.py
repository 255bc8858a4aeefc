"""Linux system calls that Python's standard library lacks, each raising OSError with the name."""

import ctypes
import errno
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

_OPENAT2_NUMBER = 437  # the same on every architecture but Alpha
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_INODE_AND_BIRTH = 0x100 | 0x800
_STATX_BIRTH = 0x800
_HANDLE_BYTES_MAX = 128
_HANDLE_CAPACITY = _HANDLE_BYTES_MAX.to_bytes(4, sys.byteorder)
_RACED_ATTEMPTS = 1000  # EAGAIN: a rename or a mount somewhere raced with the look-up
_PATH_BYTES_MAX = 4095  # of one system call; a tree may be deeper than any path can tell

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _Statx(ctypes.Structure):
    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("unused_before_inode", ctypes.c_ubyte * 28),
        ("inode", ctypes.c_uint64),
        ("unused_before_birth", ctypes.c_ubyte * 40),
        ("birth_s", ctypes.c_int64),
        ("birth_ns", ctypes.c_uint32),
        ("unused", ctypes.c_ubyte * 164),
    )


class _HandleBuffer(threading.local):
    """A struct file_handle and a mount id, once per thread: a scan fills them for each entry.

    The struct is the number of bytes in the handle (32 bits), its type (32 bits), the handle.
    """

    def __init__(self) -> None:
        self.bytes = bytearray(8 + _HANDLE_BYTES_MAX)
        self.mount = ctypes.c_int()
        self.handle_reference = ctypes.byref(
            (ctypes.c_char * len(self.bytes)).from_buffer(self.bytes)
        )
        self.mount_reference = ctypes.byref(self.mount)


_buffer = _HandleBuffer()


def _function(name: str, *argument_types: type) -> Callable[..., int]:
    """Returns a function of libc, or a stand-in that fails with ENOSYS where libc lacks it."""
    try:
        function = _libc[name]
    except AttributeError:

        def missing(*_arguments: object) -> int:
            ctypes.set_errno(errno.ENOSYS)
            return -1

        return missing
    function.argtypes = list(argument_types)
    return function


_openat2 = _function(
    "syscall", ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t
)
_renameat2 = _function(
    "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)
_name_to_handle_at = _function(
    "name_to_handle_at",
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int,
)
_syncfs = _function("syncfs", ctypes.c_int)
_statx = _function(
    "statx", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p
)


def _failure(name: bytes) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), name)


def _require_c_string(name: bytes) -> None:
    """A C string ends at its first zero byte: the kernel would see another, shorter name."""
    if b"\0" in name:
        raise OSError(errno.EINVAL, "a name can't contain a zero byte", name)


def open_beneath(directory: int, path: bytes, flags: int) -> int:
    """Opens an existing path without leaving `directory`, following a symlink or crossing a mount.

    With O_PATH and O_NOFOLLOW a symlink as the last part is opened itself. See openat2(2).

    Args:
        directory: descriptor of the directory that the path may not leave.
        path: one or more names separated by b"/", or b"." for the directory itself; of any length.
        flags: as for open(2), without O_CREAT; O_CLOEXEC is added.

    Raises:
        OSError: ELOOP for a symlink on the way, EXDEV for another mount, ENOENT and the like.
    """
    _require_c_string(path)
    current = directory
    try:
        while len(path) > _PATH_BYTES_MAX:
            # RACE: a directory that is moved between two pieces takes the rest with it, as it
            # does for every program that has it open; no piece leaves the one before it.
            cut = path.rfind(b"/", 0, _PATH_BYTES_MAX)
            if cut <= 0:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
            step = _open_piece(current, path[:cut], os.O_PATH | os.O_DIRECTORY)
            if current != directory:
                os.close(current)
            current, path = step, path[cut + 1 :]
        return _open_piece(current, path, flags)
    finally:
        if current != directory:
            os.close(current)


def _open_piece(directory: int, path: bytes, flags: int) -> int:
    if has_openat2():
        return _open_resolved(directory, path, flags)
    return walk_beneath(directory, path, flags)


def _open_resolved(directory: int, path: bytes, flags: int) -> int:
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_XDEV
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    size = ctypes.sizeof(how)
    for _attempt in range(_RACED_ATTEMPTS):
        opened = _openat2(_OPENAT2_NUMBER, directory, path, ctypes.byref(how), size)
        if opened >= 0:
            return opened
        if ctypes.get_errno() not in {errno.EAGAIN, errno.EINTR}:
            break
    raise _failure(path)


@lru_cache(maxsize=1)
def has_openat2() -> bool:
    """Tells whether the kernel knows openat2, and no seccomp filter hides it; asked once."""
    how = _OpenHow(os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, 0)
    size = ctypes.sizeof(how)
    opened = _openat2(_OPENAT2_NUMBER, _AT_FDCWD, b"/", ctypes.byref(how), size)
    if opened < 0:
        # ENOSYS: an old kernel; EPERM: an old filter. Anything else is not about the call itself.
        return ctypes.get_errno() not in {errno.ENOSYS, errno.EPERM}
    os.close(opened)
    return True


def walk_beneath(directory: int, path: bytes, flags: int) -> int:
    """As `open_beneath`, one name at a time: equally safe and slower, for kernels before 5.6.

    Raises:
        OSError: ENOTDIR or ELOOP for a symlink on the way, EXDEV for another file system.
    """
    *parents, last = path.split(b"/")
    device = os.fstat(directory).st_dev
    current = os.dup(directory)
    try:
        for part in parents:
            step = _step(current, part, os.O_PATH | os.O_DIRECTORY)
            os.close(current)
            current = step
            _require_device(current, device, path)
        opened = _step(current, last, flags)
    finally:
        os.close(current)
    if flags & os.O_DIRECTORY:
        try:
            _require_device(opened, device, path)
        except OSError:
            os.close(opened)
            raise
    return opened


def _step(directory: int, name: bytes, flags: int) -> int:
    if name == b"..":
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def _require_device(descriptor: int, device: int, path: bytes) -> None:
    if os.fstat(descriptor).st_dev != device:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)


def rename_with_flags(
    source_directory: int, source: bytes, target_directory: int, target: bytes, flags: int
) -> None:
    """Calls renameat2(2) with RENAME_NOREPLACE or RENAME_EXCHANGE.

    Raises:
        OSError: EEXIST (NOREPLACE: the target exists), ENOENT, EXDEV; EINVAL or ENOSYS where the
            file system or the kernel does not know the flag.
    """
    _require_c_string(source)
    _require_c_string(target)
    if _renameat2(source_directory, source, target_directory, target, flags) != 0:
        raise _failure(target)


def file_handle(directory: int, name: bytes) -> tuple[bytes, int]:
    """Returns the handle of an inode (type, number, generation) and the id of its mount.

    Args:
        directory: where `name` is looked up; the inode itself when `name` is b"".
        name: not followed when it is a symlink.

    Raises:
        OSError: EOPNOTSUPP where the file system has no handles; ENOENT and the like.
    """
    _require_c_string(name)
    buffer = _buffer
    handle = buffer.bytes
    handle[:4] = _HANDLE_CAPACITY
    flags = 0 if name else _AT_EMPTY_PATH
    if _name_to_handle_at(directory, name, buffer.handle_reference, buffer.mount_reference, flags):
        raise _failure(name)
    size_bytes = int.from_bytes(handle[:4], sys.byteorder)
    return bytes(handle[4 : 8 + size_bytes]), buffer.mount.value


@dataclass(frozen=True, slots=True)
class Birth:
    """An inode number and when that inode was made; 0 where the file system does not tell."""

    inode: int
    birth_time_ns: int


def birth_of(directory: int, name: bytes) -> Birth:
    """Returns what tells an inode from a later one with the same number, by statx(2).

    Args:
        directory: where `name` is looked up; the inode itself when `name` is b"".
        name: not followed when it is a symlink.

    Raises:
        OSError: ENOSYS before Linux 4.11; ENOENT and the like.
    """
    _require_c_string(name)
    status = _Statx()
    flags = _AT_SYMLINK_NOFOLLOW if name else _AT_SYMLINK_NOFOLLOW | _AT_EMPTY_PATH
    if _statx(directory, name, flags, _STATX_INODE_AND_BIRTH, ctypes.byref(status)) != 0:
        raise _failure(name)
    is_known = status.mask & _STATX_BIRTH
    return Birth(status.inode, status.birth_s * 10**9 + status.birth_ns if is_known else 0)


def sync_file_system(descriptor: int) -> None:
    """Writes out everything that is dirty in the descriptor's file system, by syncfs(2).

    Raises:
        OSError: a write failed since this descriptor last asked (each descriptor is told once,
            Linux 5.8 and later).
    """
    if _syncfs(descriptor) != 0:
        raise _failure(b"")
