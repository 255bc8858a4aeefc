"""What the file system below the root and the kernel offer, found out once by trying."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from geosync.disk.leases import LeaseState, take_lease
from geosync.disk.private_directory import fresh_unfinished_name
from geosync.disk.syscalls import RENAME_EXCHANGE, file_handle, rename_with_flags

_FICLONE = 0x40049409


@dataclass(frozen=True, slots=True)
class DiskCapabilities:
    """Which protocols a disk can use; what follows from a missing one is said at each.

    Attributes:
        exchange: renameat2 with its flags. Without it a replaced file is missing for a moment,
            and a moved one has neither name for a moment; nothing is lost.
        leases: a writer, or a writable mapping, can be detected. Without it a file is read twice
            and compared, and a retired inode is let go by its fingerprint alone.
        reflink: files can share blocks. For information only.
        handles: inodes have a handle with a generation. Without it an inode is identified by its
            number and its time of birth.
    """

    exchange: bool
    leases: bool
    reflink: bool
    handles: bool


def probe(directory: int) -> DiskCapabilities:
    """Tries everything on two small files in `directory`, which must be private.

    Raises:
        OSError: the files could not be made.
    """
    with _scratch(directory) as first, _scratch(directory) as second:
        return DiskCapabilities(
            exchange=_exchanges(directory, first, second),
            leases=_grants_leases(directory, first),
            reflink=_reflinks(directory, first, second),
            handles=_has_handles(directory),
        )


@contextmanager
def _scratch(directory: int) -> Iterator[bytes]:
    name = fresh_unfinished_name()
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        os.write(descriptor, bytes(4096))
    finally:
        os.close(descriptor)
    try:
        yield name
    finally:
        os.unlink(name, dir_fd=directory)


def _exchanges(directory: int, first: bytes, second: bytes) -> bool:
    try:
        rename_with_flags(directory, first, directory, second, RENAME_EXCHANGE)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP}:
            return False
        raise
    return True


def _grants_leases(directory: int, name: bytes) -> bool:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return take_lease(descriptor) is LeaseState.HELD
    finally:
        os.close(descriptor)


def _reflinks(directory: int, first: bytes, second: bytes) -> bool:
    source = os.open(first, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    target = os.open(second, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(source)
        os.close(target)


def _has_handles(directory: int) -> bool:
    try:
        file_handle(directory, b"")
    except OSError:
        return False
    return True
