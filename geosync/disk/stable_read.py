"""Reading a file while it holds still: under a read lease, or twice where there is none.

With a lease, a program that opens the file for writing waits until the lease is given up. The
lease is looked at after every piece of `_SLICE_BYTES` and given up at once when somebody waits,
so the consumer of the blocks must not wait for anything slow between two of them.

Without a lease (somebody else's file, a file system without leases) the file is read, and when
its stat has not changed it is read again and compared, which also finds stores through a mapping
that leave the times alone. RACE: a program that writes, and then writes the old bytes again, in
step with both readings goes unseen; so does one that writes after the second reading, which the
next scan finds.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from conflict.observation import DiskEntry, DiskKind, Fingerprint
from geosync.disk.interface import EntryBusy, EntryUnreadable, EntryVanished, StableReader
from geosync.disk.leases import (
    LeaseState,
    give_up_lease,
    is_lease_unbroken,
    open_for_reading,
    take_lease,
)
from geosync.disk.tree import Pinned, Tree

_SLICE_BYTES = 8 * 1024 * 1024


@contextmanager
def stable_reader(
    tree: Tree, pin: Pinned, handle: bytes, *, may_lease: bool
) -> Iterator[StableReader]:
    """Opens a pinned file for a stable reading.

    Raises:
        EntryVanished: it is not the inode with this handle, or no regular file.
        EntryBusy: somebody has it open, or mapped, for writing.
        OSError: it could not be opened; EAGAIN when another program holds a write lease.
    """
    if pin.entry.kind is not DiskKind.REGULAR or pin.entry.handle != handle:
        raise EntryVanished(f"{_shown(pin.entry)} is another file now; look at its directory again")
    descriptor = open_for_reading(pin.descriptor)
    try:
        lease = take_lease(descriptor) if may_lease else LeaseState.UNAVAILABLE
        if lease is LeaseState.WRITER:
            raise _busy(pin.entry, "a program has it open for writing")
        entry = tree.entry_of(descriptor, pin.entry.name)
        yield (
            _LeasedReader(entry, descriptor)
            if lease is LeaseState.HELD
            else _RepeatingReader(entry, descriptor)
        )
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class _LeasedReader:
    entry: DiskEntry
    _descriptor: int

    def blocks(self, size_bytes: int) -> Iterator[bytes]:
        read_bytes = 0
        for block in _blocks(self.entry, self._descriptor, size_bytes, self._give_way):
            read_bytes += len(block)
            yield block
        _require_unchanged(self.entry, self._descriptor, read_bytes)
        self._give_way()

    def _give_way(self) -> None:
        if not is_lease_unbroken(self._descriptor):
            give_up_lease(self._descriptor)
            raise _busy(self.entry, "a program is opening it for writing")


@dataclass(slots=True)
class _RepeatingReader:
    entry: DiskEntry
    _descriptor: int

    def blocks(self, size_bytes: int) -> Iterator[bytes]:
        first = hashlib.blake2b()
        read_bytes = 0
        for block in _blocks(self.entry, self._descriptor, size_bytes, _do_nothing):
            first.update(block)
            read_bytes += len(block)
            yield block
        _require_unchanged(self.entry, self._descriptor, read_bytes)
        second = hashlib.blake2b()
        for block in _blocks(self.entry, self._descriptor, _SLICE_BYTES, _do_nothing):
            second.update(block)
        if first.digest() != second.digest():
            raise _busy(self.entry, "two readings of it differ")
        _require_unchanged(self.entry, self._descriptor, read_bytes)


def _do_nothing() -> None:
    """Nobody waits for a reader without a lease."""


def _blocks(
    entry: DiskEntry, descriptor: int, size_bytes: int, before_slice: Callable[[], None]
) -> Iterator[bytes]:
    position = 0
    while True:
        slices: list[bytes] = []
        missing_bytes = size_bytes
        while missing_bytes > 0:
            before_slice()
            piece = _read_at(entry, descriptor, position, min(missing_bytes, _SLICE_BYTES))
            if not piece:
                break
            slices.append(piece)
            position += len(piece)
            missing_bytes -= len(piece)
        if slices:
            yield b"".join(slices)
        if missing_bytes > 0:
            return


def _read_at(entry: DiskEntry, descriptor: int, position: int, size_bytes: int) -> bytes:
    try:
        return os.pread(descriptor, size_bytes, position)
    except OSError as error:
        raise EntryUnreadable(
            f"can't read {_shown(entry)} at byte {position}: {error.strerror}; check the disk"
        ) from error


def _require_unchanged(entry: DiskEntry, descriptor: int, read_bytes: int) -> None:
    status = os.fstat(descriptor)
    now = Fingerprint(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if now != entry.fingerprint or read_bytes != now.size_bytes:
        raise _busy(entry, "it changed while it was read")


def _busy(entry: DiskEntry, reason: str) -> EntryBusy:
    return EntryBusy(f"can't capture {_shown(entry)} now: {reason}; try again later")


def _shown(entry: DiskEntry) -> str:
    return os.fsdecode(entry.name)
