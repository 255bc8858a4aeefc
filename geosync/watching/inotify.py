"""A thin typed binding of inotify(7), with a wait that another thread can end."""

import ctypes
import os
import select
import struct
import threading
from collections.abc import Iterator
from typing import Final, NamedTuple

# Values of <linux/inotify.h>.
IN_MODIFY: Final = 0x00000002
IN_ATTRIB: Final = 0x00000004
IN_CLOSE_WRITE: Final = 0x00000008
IN_MOVED_FROM: Final = 0x00000040
IN_MOVED_TO: Final = 0x00000080
IN_CREATE: Final = 0x00000100
IN_DELETE: Final = 0x00000200
IN_DELETE_SELF: Final = 0x00000400
IN_MOVE_SELF: Final = 0x00000800
IN_UNMOUNT: Final = 0x00002000
IN_Q_OVERFLOW: Final = 0x00004000
IN_IGNORED: Final = 0x00008000
IN_ONLYDIR: Final = 0x01000000
IN_EXCL_UNLINK: Final = 0x04000000
IN_ISDIR: Final = 0x40000000

_HEADER: Final = struct.Struct("iIII")  # wd, mask, cookie, length of the padded name
_READ_BYTES_MAX: Final = 1 << 20  # above a full queue of default length

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_init1.argtypes = (ctypes.c_int,)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_libc.inotify_rm_watch.argtypes = (ctypes.c_int, ctypes.c_int)


class Record(NamedTuple):
    """One event. The cookie that pairs two halves of a rename is left out: nobody needs it."""

    watch: int
    mask: int
    name: bytes
    """The entry of the watched directory; empty when the event is about the directory itself."""


def parse_records(buffer: bytes) -> Iterator[Record]:
    """Yields the events of one read; the kernel never cuts an event in two."""
    offset = 0
    while offset < len(buffer):
        watch, mask, _cookie, name_bytes = _HEADER.unpack_from(buffer, offset)
        offset += _HEADER.size
        yield Record(watch, mask, buffer[offset : offset + name_bytes].rstrip(b"\0"))
        offset += name_bytes


class Inotify:
    """One inotify instance. `wake` and `close` may be called by any thread, the rest by one.

    Raises:
        OSError: EMFILE when the user has `fs.inotify.max_user_instances` instances already, or
            the process has no descriptor left.
    """

    def __init__(self) -> None:
        self._descriptor = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        try:
            self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError:
            os.close(self._descriptor)
            raise
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._poll.register(self._wakeup, select.POLLIN)
        self._closing = threading.Lock()
        self._is_closed = False

    def add_watch(self, directory_descriptor: int, mask: int) -> int:
        """Watches the directory that is open here, wherever it is, and returns the watch.

        A directory that is watched already keeps its watch and gets the new mask.

        Raises:
            OSError: ENOSPC at the limit of watches, EACCES without read permission.
        """
        # A descriptor cannot be renamed or replaced by a symbolic link meanwhile, as a path can.
        path = b"/proc/self/fd/%d" % directory_descriptor
        return _checked(_libc.inotify_add_watch(self._descriptor, path, mask))

    def remove_watch(self, watch: int) -> None:
        """Removes a watch. One that the kernel has removed already is no error."""
        _libc.inotify_rm_watch(self._descriptor, watch)

    def wait(self, timeout_s: float) -> None:
        """Blocks until there are events, `wake` is called, or the time is over."""
        self._poll.poll(max(0.0, timeout_s) * 1000)

    def read(self) -> Iterator[Record]:
        """Returns the events that are there; none when there are none.

        Raises:
            OSError: the descriptor is broken.
        """
        try:
            return parse_records(os.read(self._descriptor, _READ_BYTES_MAX))
        except BlockingIOError:
            return iter(())

    def wake(self) -> None:
        """Ends `wait`, now and from now on."""
        with self._closing:
            if not self._is_closed:
                os.eventfd_write(self._wakeup, 1)

    def close(self) -> None:
        """Gives up all watches and both descriptors; a second call does nothing."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._descriptor)
                os.close(self._wakeup)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
