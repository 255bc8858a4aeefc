"""What is shipped was in the file at one moment, whatever programs do while it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import pytest

from geosync.disk.interface import Disk, RelativePath, StableReader
from geosync.disk.posix_disk import PosixDisk
from tests.support.disk_tree import contents_of
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore

SIZE_BYTES = 3 * 1024 * 1024  # several blocks of a reading
INTERRUPTIONS = 3
Item = TypeVar("Item")


def content_of(number: int) -> bytes:
    """Every block says which version it belongs to."""
    return b"version %07d|" % number * (SIZE_BYTES // 16)


@dataclass
class InterruptedReader:
    """Lets a program act after every block."""

    reader: StableReader
    act: Callable[[], None]

    def blocks(self, size_bytes: int) -> Iterator[bytes]:
        yield from self._interrupted(self.reader.blocks(size_bytes))

    def sparse_blocks(self, size_bytes: int) -> Iterator[object]:
        yield from self._interrupted(self.reader.sparse_blocks(size_bytes))

    def _interrupted(self, blocks: Iterator[Item]) -> Iterator[Item]:
        for block in blocks:
            yield block
            self.act()

    def __getattr__(self, name: str) -> object:
        return getattr(self.reader, name)


@dataclass
class InterruptedDisk:
    """A disk of which each reading is interrupted by a program."""

    disk: Disk
    act: Callable[[], None]
    opened: list[bool] = field(default_factory=list)

    @contextmanager
    def open_stable(
        self, path: RelativePath, handle: bytes, *, despite_writers: bool = False
    ) -> Iterator[StableReader]:
        self.opened.append(despite_writers)
        with self.disk.open_stable(path, handle, despite_writers=despite_writers) as reader:
            yield cast("StableReader", InterruptedReader(reader, self.act))

    def __getattr__(self, name: str) -> object:
        return getattr(self.disk, name)


@dataclass
class Program:
    """Rewrites the file in place, some times; what a lease keeps it from, it does later."""

    site: LocalSite
    interruptions: int = 0
    written: int = 0

    def act(self) -> None:
        if self.interruptions == INTERRUPTIONS:
            return
        self.interruptions += 1
        with suppress(BlockingIOError):  # a lease: the reader gives way now
            self._write(os.O_NONBLOCK)

    def catch_up(self) -> None:
        while self.written < self.interruptions:
            self._write(0)

    def _write(self, flag: int) -> None:
        descriptor = os.open(self.site.path(b"file"), os.O_WRONLY | flag)
        try:
            os.pwrite(descriptor, content_of(self.written + 1), 0)
            self.written += 1
        finally:
            os.close(descriptor)


@pytest.fixture
def sites() -> Iterator[list[LocalSite]]:
    with local_sites(MemoryStore(), "bari", "cnaf") as both:
        settle(*both)
        yield both


@pytest.mark.parametrize("has_leases", [True, False])
def test_a_file_that_is_rewritten_while_it_is_read_arrives_whole(
    sites: list[LocalSite], *, has_leases: bool
) -> None:
    bari, cnaf = sites
    program = Program(bari)
    disks: list[InterruptedDisk] = []

    def interrupted(disk: Disk) -> Disk:
        assert isinstance(disk, PosixDisk)
        other = PosixDisk(bari.root, replace(disk.capabilities, leases=has_leases))
        other.initialise()
        disks.append(InterruptedDisk(other, program.act))
        return cast("Disk", disks[0])

    bari.close()
    bari.wrap_disk = interrupted
    bari.open()
    bari.write(b"file", content_of(0))
    whole = {content_of(number) for number in range(INTERRUPTIONS + 1)}
    for _ in range(2 * INTERRUPTIONS + 2):
        bari.cycle()
        program.catch_up()
        cnaf.cycle()
        assert contents_of(cnaf.root) <= whole
    settle(bari, cnaf)
    assert program.written == INTERRUPTIONS
    assert len(disks[0].opened) > 1
    assert cnaf.read(b"file") == content_of(INTERRUPTIONS)
