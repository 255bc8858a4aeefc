"""Flags of inodes that keep everybody, root too, from changing them; see chattr(1)."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from typing import Final

from geosync.disk.syscalls import open_beneath

_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS, of <linux/fs.h>
_PROTECTIONS: Final = ((0x10, "immutable", "i"), (0x20, "append-only", "a"))


def protection_of(root: int, path: bytes) -> str:
    """Returns why the entry at a path, or its directory, can't be changed; "" when no flag says so.

    Args:
        root: descriptor of the directory that the path is relative to.
        path: as `open_beneath` takes it.
    """
    for place in (path, path.rpartition(b"/")[0]):
        flags = _flags(root, place or b".")
        for bit, word, letter in _PROTECTIONS:
            if flags & bit:
                shown = os.fsdecode(place) or "the root"
                return f"{shown} is {word}: remove the flag with chattr -{letter}"
    return ""


def _flags(root: int, path: bytes) -> int:
    buffer = bytearray(8)
    try:
        inode = open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
        try:
            kind = os.fstat(inode).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                return 0  # opening a FIFO or a device does something
            descriptor = os.open(f"/proc/self/fd/{inode}", os.O_RDONLY | os.O_NONBLOCK)
        finally:
            os.close(inode)
        try:
            fcntl.ioctl(descriptor, _GET_FLAGS, buffer)
        finally:
            os.close(descriptor)
    except OSError:
        return 0  # a file system without flags, or nothing there
    return int(struct.unpack("i4x", buffer)[0])
