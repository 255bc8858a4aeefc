"""How programs save files: every way that common editors, servers and tools have, by system calls.

Each takes the name, a witness that has looked at it, and the bytes, and leaves the name with these
bytes. A name that was free is only taken when it still is, so that a writer knows what it
displaced.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from tests.torture.witness import Held, Witness

AT_FDCWD = -100
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
AT_SYMLINK_FOLLOW = 0x400
BLOCK_BYTES = 4096
SLOW_WRITES_ONE_OF = 4
SLOW_WRITE_S = 0.2
_libc = ctypes.CDLL(None, use_errno=True)

Pattern = Callable[[bytes, Witness, bytes], None]


def rename_with(source: bytes, target: bytes, flags: int) -> None:
    """renameat2(2). Raises OSError."""
    if _libc.renameat2(AT_FDCWD, source, AT_FDCWD, target, flags) != 0:
        _raise_error(target)


def _raise_error(path: bytes) -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), os.fsdecode(path))


def write_new(path: bytes, content: bytes, *, is_durable: bool = False) -> None:
    """Creates a file at a free name, through one descriptor, in two pieces. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        _write_all(descriptor, content)
        if is_durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    half = len(content) // 2
    _write_piece(descriptor, content[:half])
    _hesitate(content)
    _write_piece(descriptor, content[half:])


def _write_piece(descriptor: int, piece: bytes) -> None:
    position = 0
    while position < len(piece):
        position += os.write(descriptor, piece[position:])


def _hesitate(content: bytes) -> None:
    """Leaves some files half written for longer than the daemon takes to look at them."""
    if zlib.crc32(content) % SLOW_WRITES_ONE_OF == 0:
        time.sleep(SLOW_WRITE_S)


def rename_seen(source: bytes, target: bytes, before: Witness) -> None:
    """Renames, over what the witness saw there or else onto a free name. Raises OSError."""
    if before.at(target) is None:
        rename_with(source, target, RENAME_NOREPLACE)
    else:
        os.rename(source, target)


def _give_name(temporary: bytes, path: bytes, before: Witness) -> None:
    try:
        rename_seen(temporary, path, before)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _beside(path: bytes, suffix: bytes) -> bytes:
    directory, name = os.path.split(path)
    return os.path.join(directory, b"." + name + suffix)


def temporary_then_rename(path: bytes, before: Witness, content: bytes) -> None:
    """gedit, git, most libraries: a file beside it, synced, renamed over it."""
    temporary = _beside(path, b".%d.tmp" % os.getpid())
    write_new(temporary, content, is_durable=True)
    _give_name(temporary, path, before)


def temporary_then_exchange(path: bytes, before: Witness, content: bytes) -> None:
    """Careful programs: swap the new file in, then remove what came out."""
    temporary = _beside(path, b".%d.new" % os.getpid())
    write_new(temporary, content)
    if before.at(path) is None:
        _give_name(temporary, path, before)
        return
    try:
        rename_with(temporary, path, RENAME_EXCHANGE)
    finally:
        os.unlink(temporary)


def truncate_and_write(path: bytes, before: Witness, content: bytes) -> None:
    """Most programs, and `>` of the shell: the same inode, emptied and written."""
    if before.at(path) is None:
        write_new(path, content)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _write_all(descriptor, content)
    finally:
        os.close(descriptor)


def delete_and_create(path: bytes, before: Witness, content: bytes) -> None:
    """tar, unzip, some editors: gone for a moment, then a new file."""
    if before.at(path) is not None:
        os.unlink(path)
    write_new(path, content)


def backup_and_create(path: bytes, before: Witness, content: bytes) -> None:
    """Emacs, vim with a backup: the old file is renamed, a new one gets the name."""
    if before.at(path) is not None:
        rename_seen(path, backup_of(path), before)
    write_new(path, content)


def backup_of(path: bytes) -> bytes:
    """Returns the name that `backup_and_create` gives to what was there."""
    return path + b"~"


def overwrite_in_place(path: bytes, before: Witness, content: bytes) -> None:
    """rsync --inplace, databases: only the blocks that differ, then the length."""
    held = before.at(path)
    if held is None or held.is_symlink:
        write_new(path, content)
        return
    descriptor = os.open(held.reopenable, os.O_RDWR | os.O_CLOEXEC)
    try:
        for position in range(0, len(content), BLOCK_BYTES):
            block = content[position : position + BLOCK_BYTES]
            if position == BLOCK_BYTES:
                _hesitate(content)
            if os.pread(descriptor, len(block), position) != block:
                os.pwrite(descriptor, block, position)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)


def write_through_mapping(path: bytes, before: Witness, content: bytes) -> None:
    """Programs that map files: the mapping outlives the descriptor, and raises no event."""
    held = before.at(path)
    if held is None or held.is_symlink:
        write_new(path, content)
        return
    descriptor = os.open(held.reopenable, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, len(content))
        mapping = mmap.mmap(descriptor, len(content))
    finally:
        os.close(descriptor)
    with mapping:
        for position in range(0, len(content), BLOCK_BYTES):
            if position == BLOCK_BYTES:
                _hesitate(content)
            mapping[position : position + BLOCK_BYTES] = content[position : position + BLOCK_BYTES]


def unnamed_then_link(path: bytes, before: Witness, content: bytes) -> None:
    """O_TMPFILE: a file that has no name before it is complete."""
    directory = os.path.dirname(path)
    descriptor = os.open(directory, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o644)
    try:
        _write_all(descriptor, content)
        if before.at(path) is not None:
            os.unlink(path)
        _link_descriptor(descriptor, path)
    finally:
        os.close(descriptor)


def _link_descriptor(descriptor: int, path: bytes) -> None:
    source = b"/proc/self/fd/%d" % descriptor
    if _libc.linkat(AT_FDCWD, source, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0:
        _raise_error(path)


def append(held: Held, addition: bytes) -> None:
    """Logs: one write at the end. Raises OSError."""
    descriptor = os.open(held.reopenable, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        _write_all(descriptor, addition)
    finally:
        os.close(descriptor)


REPLACING: tuple[Pattern, ...] = (
    temporary_then_rename,
    temporary_then_exchange,
    delete_and_create,
    backup_and_create,
    unnamed_then_link,
)
IN_PLACE: tuple[Pattern, ...] = (
    truncate_and_write,
    overwrite_in_place,
    write_through_mapping,
)
PATTERNS = REPLACING + IN_PLACE
