"""Reading a file while it holds still: from a copy of one moment, under a lease, or twice.

With a read lease, a program that opens the file for writing waits until the lease is given up.
Where files can share blocks, a large one is copied under the lease, which then ends at once; the
copy is read at leisure. Else the lease is looked at after every piece of `_SLICE_BYTES` and given
up when somebody waits, so the consumer of the blocks must not wait for anything slow in between.

Without a lease (somebody else's file, a file system without leases, or a file that is to be read
although a program has it open) the file is read, and when its stat has not changed it is read
again and compared. RACE: a program that writes, and then writes the old bytes again, in step with
both readings goes unseen. What is written after the second reading the next scan finds by its
stat: also a store through a mapping, since all pages were written out before the first reading,
after which each is write-protected and its next store sets the file's times (not on tmpfs).
"""

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

from conflict.content import Block, Zeros
from conflict.observation import DiskEntry, DiskKind, Fingerprint
from geosync.disk.capabilities import DiskCapabilities
from geosync.disk.coarse_times import may_hide_a_write
from geosync.disk.interface import EntryBusy, EntryUnreadable, EntryVanished, StableReader
from geosync.disk.leases import (
    LeaseState,
    give_up_lease,
    given_up_when_asked,
    is_lease_unbroken,
    open_for_reading,
    take_lease,
)
from geosync.disk.reflink import copy_of_now
from geosync.disk.tree import Pinned, Tree

COPIED_SIZE_BYTES_MIN: Final = 256 * 1024  # a smaller file is read as quickly as it is copied
_SLICE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read on one disk.

    Attributes:
        tree: describes the entries.
        copies: descriptor of a private directory, for copies without a name.
        capabilities: of the disk.
    """

    tree: Tree
    copies: int
    capabilities: DiskCapabilities

    @contextmanager
    def of(
        self,
        pin: Pinned,
        handle: bytes,
        *,
        despite_writers: bool = False,
        is_slow: bool = False,
    ) -> Iterator[StableReader]:
        """Opens a pinned file for a stable reading.

        Args:
            pin: holds the file.
            handle: of the file that is meant.
            despite_writers: it is read although a program has it open for writing.
            is_slow: it is read with pauses, in which a lease is given up when somebody waits.

        Raises:
            EntryVanished: it is not the inode with this handle, or no regular file.
            EntryBusy: somebody has it open, or mapped, for writing.
            OSError: it could not be opened; EAGAIN when another program holds a write lease.
        """
        if pin.entry.kind is not DiskKind.REGULAR or pin.entry.handle != handle:
            shown = _shown(pin.entry)
            raise EntryVanished(f"{shown} is another file now; look at its directory again")
        with ExitStack() as stack:
            descriptor = open_for_reading(pin.descriptor)
            stack.callback(os.close, descriptor)
            is_large = pin.entry.fingerprint.size_bytes >= COPIED_SIZE_BYTES_MIN
            may_copy = self.capabilities.reflink and is_large
            if may_copy:
                _write_out(descriptor)  # before the lease, which is then held for a moment only
            lease = take_lease(descriptor) if self.capabilities.leases else LeaseState.UNAVAILABLE
            if lease is LeaseState.WRITER and not despite_writers:
                raise _busy(pin.entry, "a program has the file open for writing")
            is_leased = lease is LeaseState.HELD
            if not is_leased:
                _write_out(descriptor)
            began_ns = time.time_ns()
            entry = self.tree.entry_of(descriptor, pin.entry.name)
            granularity_ns = self.capabilities.timestamp_granularity_ns
            is_recent = may_hide_a_write(
                entry.fingerprint, granularity_ns=granularity_ns, looked_at_ns=began_ns
            )
            copy = None
            if may_copy and (is_leased or despite_writers):
                copy = copy_of_now(descriptor, self.copies)
            if copy is not None:
                stack.callback(os.close, copy)
                if is_leased:
                    _end_lease(entry, descriptor)
                # RACE: with a writer, what was written between stat and copy is in the copy, and
                # the stat is older: the next scan sees a difference and reads once more.
                yield _CopyReader(entry, copy, is_recent)
            elif is_leased:
                if is_slow:
                    stack.enter_context(given_up_when_asked(descriptor))
                yield _LeasedReader(entry, descriptor, is_recent, granularity_ns)
            else:
                yield _RepeatingReader(entry, descriptor, is_recent, granularity_ns)


class _Fingerprinter:
    """Hashes bytes as they are read; zeros count the same whether they are stored or not."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b()
        self._zeros_size_bytes = 0

    def update(self, block: Block) -> None:
        if isinstance(block, Zeros) or block == bytes(len(block)):
            self._zeros_size_bytes += _size_bytes(block)
            return
        self._end_zeros()
        self._hash.update(b"%d " % len(block))
        self._hash.update(block)

    def digest(self) -> bytes:
        self._end_zeros()
        return self._hash.digest()

    def _end_zeros(self) -> None:
        self._hash.update(b"%d zeros " % self._zeros_size_bytes)
        self._zeros_size_bytes = 0


@dataclass(slots=True)
class _CopyReader:
    entry: DiskEntry
    _copy: int
    may_change_unseen: bool
    is_copy: bool = True

    def blocks(self, size_bytes: int) -> Iterator[bytes]:
        return _filled(self.sparse_blocks(size_bytes), size_bytes)

    def sparse_blocks(self, size_bytes: int) -> Iterator[Block]:
        return _proven(self, size_bytes)

    def unproven_blocks(self, size_bytes: int) -> Iterator[Block]:
        return _sparse_blocks(self.entry, self._copy, size_bytes, _do_nothing)

    def proof(self, _size_bytes: int) -> Iterator[None]:
        """Nothing changes a copy."""
        return iter(())


@dataclass(slots=True)
class _LeasedReader:
    entry: DiskEntry
    _descriptor: int
    may_change_unseen: bool
    _granularity_ns: int
    is_copy: bool = False
    _read_bytes: int = 0

    def blocks(self, size_bytes: int) -> Iterator[bytes]:
        return _filled(self.sparse_blocks(size_bytes), size_bytes)

    def sparse_blocks(self, size_bytes: int) -> Iterator[Block]:
        return _proven(self, size_bytes)

    def unproven_blocks(self, size_bytes: int) -> Iterator[Block]:
        self._read_bytes = 0
        for block in _sparse_blocks(self.entry, self._descriptor, size_bytes, self._give_way):
            self._read_bytes += _size_bytes(block)
            yield block

    def proof(self, _size_bytes: int) -> Iterator[None]:
        now_ns = time.time_ns()
        _require_unchanged(self.entry, self._descriptor, self._read_bytes)
        self._give_way()
        # Nobody has written until now, and who writes from now on leaves a time of now.
        self.may_change_unseen = may_hide_a_write(
            self.entry.fingerprint, granularity_ns=self._granularity_ns, looked_at_ns=now_ns
        )
        return iter(())

    def _give_way(self) -> None:
        _require_lease(self.entry, self._descriptor)


@dataclass(slots=True)
class _RepeatingReader:
    entry: DiskEntry
    _descriptor: int
    may_change_unseen: bool
    _granularity_ns: int
    is_copy: bool = False
    _read_bytes: int = 0
    _first: _Fingerprinter = field(default_factory=_Fingerprinter)

    def blocks(self, size_bytes: int) -> Iterator[bytes]:
        return _filled(self.sparse_blocks(size_bytes), size_bytes)

    def sparse_blocks(self, size_bytes: int) -> Iterator[Block]:
        return _proven(self, size_bytes)

    def unproven_blocks(self, size_bytes: int) -> Iterator[Block]:
        self._first, self._read_bytes = _Fingerprinter(), 0
        for block in _sparse_blocks(self.entry, self._descriptor, size_bytes, self._look):
            self._first.update(block)
            self._read_bytes += _size_bytes(block)
            yield block

    def proof(self, size_bytes: int) -> Iterator[None]:
        now_ns = time.time_ns()
        _require_unchanged(self.entry, self._descriptor, self._read_bytes)
        second = _Fingerprinter()
        for block in _sparse_blocks(self.entry, self._descriptor, size_bytes, self._look):
            second.update(block)
            yield None
        if self._first.digest() != second.digest():
            raise _busy(self.entry, "two readings of it differ")
        _require_unchanged(self.entry, self._descriptor, self._read_bytes)
        # What was read is what was there when the second reading began, or later.
        self.may_change_unseen = may_hide_a_write(
            self.entry.fingerprint, granularity_ns=self._granularity_ns, looked_at_ns=now_ns
        )

    def _look(self) -> None:
        """A large file that is written is not read to its end in vain."""
        _require_same_stat(self.entry, self._descriptor)


def _proven(reader: StableReader, size_bytes: int) -> Iterator[Block]:
    yield from reader.unproven_blocks(size_bytes)
    for _ in reader.proof(size_bytes):
        pass


def _do_nothing() -> None:
    """Nobody waits for a reader of a copy, and nothing changes it."""


def _write_out(descriptor: int) -> None:
    """Writes dirty pages out, which write-protects them in every mapping."""
    with contextlib.suppress(OSError):  # what can't be written out can be read all the same
        os.fdatasync(descriptor)


def _end_lease(entry: DiskEntry, descriptor: int) -> None:
    _require_same_stat(entry, descriptor)
    _require_lease(entry, descriptor)
    give_up_lease(descriptor)


def _require_lease(entry: DiskEntry, descriptor: int) -> None:
    if not is_lease_unbroken(descriptor):
        give_up_lease(descriptor)
        raise _busy(entry, "a program is opening it for writing")


def _size_bytes(block: Block) -> int:
    return block.size_bytes if isinstance(block, Zeros) else len(block)


def _filled(blocks: Iterator[Block], size_bytes: int) -> Iterator[bytes]:
    """Puts bytes in the place of holes."""
    for block in blocks:
        if isinstance(block, Zeros):
            for begin in range(0, block.size_bytes, size_bytes):
                yield bytes(min(size_bytes, block.size_bytes - begin))
        else:
            yield block


def _sparse_blocks(
    entry: DiskEntry, descriptor: int, size_bytes: int, before_slice: Callable[[], None]
) -> Iterator[Block]:
    position = 0
    while True:
        before_slice()
        hole = _hole_at(descriptor, position, entry.fingerprint.size_bytes, size_bytes)
        if hole:
            yield Zeros(hole)
            position += hole
        block = _block_at(entry, descriptor, position, size_bytes, before_slice)
        if block:
            yield block
            position += len(block)
        if len(block) < size_bytes:
            return


def _hole_at(descriptor: int, position: int, end: int, size_bytes: int) -> int:
    """Returns how much may be skipped at a position: whole blocks, or all up to the end.

    RACE: a program may fill the hole meanwhile, as it may write behind any reader; the same
    checks find it.
    """
    try:
        data = os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return max(0, end - position)
        return 0  # this file system can't tell
    hole = data - position
    return hole - hole % size_bytes


def _block_at(
    entry: DiskEntry,
    descriptor: int,
    position: int,
    size_bytes: int,
    before_slice: Callable[[], None],
) -> bytes:
    """Reads one block, of which the last may be shorter."""
    slices: list[bytes] = []
    missing_bytes = size_bytes
    while missing_bytes > 0:
        if slices:
            before_slice()
        piece = _read_at(entry, descriptor, position, min(missing_bytes, _SLICE_BYTES))
        if not piece:
            break
        slices.append(piece)
        position += len(piece)
        missing_bytes -= len(piece)
    return slices[0] if len(slices) == 1 else b"".join(slices)


def _read_at(entry: DiskEntry, descriptor: int, position: int, size_bytes: int) -> bytes:
    try:
        return os.pread(descriptor, size_bytes, position)
    except OSError as error:
        raise EntryUnreadable(
            f"can't read {_shown(entry)} at byte {position}: {error.strerror}; check the disk"
        ) from error


def _require_unchanged(entry: DiskEntry, descriptor: int, read_bytes: int) -> None:
    _require_same_stat(entry, descriptor)
    if read_bytes != entry.fingerprint.size_bytes:
        raise _busy(entry, "it changed while it was read")


def _require_same_stat(entry: DiskEntry, descriptor: int) -> None:
    status = os.fstat(descriptor)
    now = Fingerprint(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if now != entry.fingerprint:
        raise _busy(entry, "it changed while it was read")


def _busy(entry: DiskEntry, reason: str) -> EntryBusy:
    return EntryBusy(f"can't capture {_shown(entry)} now: {reason}; try again later", reason)


def _shown(entry: DiskEntry) -> str:
    return os.fsdecode(entry.name)
