"""What the file system below the root and the kernel offer, found out once by trying."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from geosync.disk.leases import LeaseState, take_lease
from geosync.disk.private_directory import fresh_unfinished_name
from geosync.disk.process_capabilities import CAP_LEASE, has_process_capability
from geosync.disk.reflink import copy_of_now
from geosync.disk.syscalls import (
    RENAME_EXCHANGE,
    file_handle,
    has_openat2,
    rename_with_flags,
)

_CHANGES_IN_A_ROW = 50  # more than any clock that ticks 1000 times a second tells apart
_TICK_NS_MAX = 50_000_000  # of clocks that tick; what is slower keeps whole seconds
_WHOLE_SECONDS_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class DiskCapabilities:
    """Which protocols a disk can use; what follows from a missing one is said at each.

    Attributes:
        exchange: renameat2 with its flags. Without it a replaced file is missing for a moment,
            and a moved one has neither name for a moment; nothing is lost.
        leases: a writer, or a writable mapping, can be detected. Without it a file is read twice
            and compared, and a retired inode is let go by its fingerprint alone.
        reflink: files can share blocks. Without it a large file is read, not copied, while its
            writers wait.
        handles: inodes have a handle with a generation. Without it an inode is identified by its
            number and its time of birth.
        timestamp_granularity_ns: two changes that are further apart than this have different
            times; 0 when a change that follows a stat always has another time. Without 0, what
            was read right after a change is read once more later.
        foreign_leases: so can writers of other users' files (CAP_LEASE). Without it, such a file
            is treated as if there were no leases.
        openat2: one system call resolves a path beneath the root. Without it, one for each name
            does, which is as safe and slower.
    """

    exchange: bool
    leases: bool
    reflink: bool
    handles: bool
    timestamp_granularity_ns: int = 0
    foreign_leases: bool = False
    openat2: bool = False


def probe(directory: int) -> DiskCapabilities:
    """Tries everything on two small files in `directory`, which must be private.

    Raises:
        OSError: the files could not be made.
    """
    with _scratch(directory) as first, _scratch(directory) as second:
        return DiskCapabilities(
            exchange=_exchanges(directory, first, second),
            leases=_grants_leases(directory, first),
            reflink=_reflinks(directory, first),
            handles=_has_handles(directory),
            timestamp_granularity_ns=_timestamp_granularity_ns(directory, first),
            foreign_leases=has_process_capability(CAP_LEASE),
            openat2=has_openat2(),
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


def _reflinks(directory: int, name: bytes) -> bool:
    source = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        copy = copy_of_now(source, directory)
    except OSError:
        return False
    finally:
        os.close(source)
    if copy is not None:
        os.close(copy)
    return copy is not None


def _timestamp_granularity_ns(directory: int, name: bytes) -> int:
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        seen = [_changed_at_ns(descriptor) for _ in range(_CHANGES_IN_A_ROW)]
        if len(set(seen)) == len(seen):
            return 0
        ends_ns = time.monotonic_ns() + _TICK_NS_MAX
        while time.monotonic_ns() < ends_ns:
            if _changed_at_ns(descriptor) != seen[-1]:
                # RACE: a clock of whole seconds may have gone on just now; it shows.
                is_tick = _changed_at_ns(descriptor) % 1_000_000_000 != 0
                return _TICK_NS_MAX if is_tick else _WHOLE_SECONDS_NS
        return _WHOLE_SECONDS_NS
    finally:
        os.close(descriptor)


def _changed_at_ns(descriptor: int) -> int:
    os.pwrite(descriptor, b"x", 0)
    return os.fstat(descriptor).st_ctime_ns


def _has_handles(directory: int) -> bool:
    try:
        file_handle(directory, b"")
    except OSError:
        return False
    return True
