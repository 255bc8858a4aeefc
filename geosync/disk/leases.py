"""Read leases: the kernel's word that nobody has a file open, or mapped, for writing.

See "Leases" in fcntl(2). While a lease is held, an open for writing waits, for as long as
/proc/sys/fs/lease-break-time seconds; so a lease is held briefly and given up when asked for.
"""

import errno
import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

LOOK_EVERY_S: Final = 0.02  # how long a program waits whose open for writing asks for a lease


class LeaseState(Enum):
    """What came of the wish for a lease."""

    HELD = "held"
    WRITER = "writer"  # a writable descriptor, or a writable mapping, exists
    UNAVAILABLE = "unavailable"  # not our file, or not on this file system: nothing is known


def take_lease(descriptor: int) -> LeaseState:
    """Takes a read lease, which lasts until `give_up_lease` or until the descriptor is closed.

    The kernel tells the holder with a signal that somebody waits; it is set to one that is
    ignored by default, as SIGIO would kill the process.

    Args:
        descriptor: of a regular file, opened for reading only.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EBUSY}:
            return LeaseState.WRITER
        return LeaseState.UNAVAILABLE
    return LeaseState.HELD


def is_lease_unbroken(descriptor: int) -> bool:
    """Tells whether the lease is held and nobody waits for its end."""
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK


def give_up_lease(descriptor: int) -> None:
    """Lets whoever waits go on. Never raises when the kernel has already taken the lease back."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno != errno.EAGAIN:
            raise


@contextmanager
def given_up_when_asked(descriptor: int) -> Iterator[None]:
    """Gives a lease up as soon as somebody waits, also while its holder does something else.

    Raises:
        OSError: EAGAIN when the system has no thread to spare.
    """
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(LOOK_EVERY_S):
            if not is_lease_unbroken(descriptor):
                give_up_lease(descriptor)
                return

    thread = threading.Thread(target=look, name="lease", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"can't watch a lease: {error}") from error
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def open_for_reading(inode: int) -> int:
    """Opens for reading the very inode that a descriptor made with O_PATH holds.

    Raises:
        OSError: EAGAIN when another program holds a write lease; EACCES and the like.
    """
    return os.open(f"/proc/self/fd/{inode}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


@contextmanager
def lease_on(inode: int) -> Iterator[LeaseState]:
    """Holds a lease on the regular file that a descriptor made with O_PATH holds."""
    try:
        descriptor = open_for_reading(inode)
    except OSError as error:
        yield LeaseState.WRITER if error.errno == errno.EAGAIN else LeaseState.UNAVAILABLE
        return
    try:
        yield take_lease(descriptor)
    finally:
        os.close(descriptor)
