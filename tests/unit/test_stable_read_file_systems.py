"""Stable reading on real file systems: copies that share blocks, mappings, and coarse clocks."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from conflict.operations import Put
from conflict.synced import ROOT_ENTRY
from geosync.configuration.capture_rules import CaptureRule, CaptureRules, OpenFiles
from geosync.disk.interface import Disk, EntryBusy, RelativePath
from geosync.disk.posix_disk import PosixDisk
from geosync.disk.stable_read import COPIED_SIZE_BYTES_MIN
from geosync.engine.places import NEVER_SEEN
from geosync.engine.uncertain_files import READ_AGAIN_AFTER_S
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.await_condition import await_condition
from tests.support.local_sites import LocalSite, operations_of, settle
from tests.support.loop_file_system import loop_file_system
from transport.memory_store import MemoryStore

FILE = RelativePath(b"file")
LARGE_SIZE_BYTES = 4 * COPIED_SIZE_BYTES_MIN
PAGE = mmap.PAGESIZE


@pytest.fixture(params=["xfs", "btrfs"])
def reflinking(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[bytes]:
    with loop_file_system(tmp_path, request.param) as file_system:
        yield bytes(file_system.root)


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def journalling(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[bytes]:
    with loop_file_system(tmp_path, request.param) as file_system:
        yield bytes(file_system.root)


@pytest.fixture
def whole_seconds(tmp_path: Path) -> Iterator[bytes]:
    """An ext4 whose small inodes have no room for parts of a second."""
    with loop_file_system(tmp_path, "ext4", mkfs_options=("-I", "128")) as file_system:
        yield bytes(file_system.root)


@contextmanager
def disk_on(root: bytes, **changes: bool) -> Iterator[PosixDisk]:
    disk = PosixDisk(root)
    disk.initialise()
    capabilities = replace(disk.capabilities, **changes)  # type: ignore[arg-type]
    disk.close()
    disk = PosixDisk(root, capabilities)
    disk.initialise()
    try:
        yield disk
    finally:
        disk.close()


@contextmanager
def site_on(
    root: bytes, store: MemoryStore, rules: CaptureRules | None = None
) -> Iterator[LocalSite]:
    site = LocalSite(root, "bari", store, SimulatedTime())
    site.capture_rules = rules or CaptureRules()
    site.open()
    try:
        yield site
    finally:
        site.close()


@contextmanager
def mapped(path: bytes, size_bytes: int) -> Iterator[mmap.mmap]:
    """Maps a file for writing, without any descriptor."""
    descriptor = os.open(path, os.O_RDWR)
    with mmap.mmap(descriptor, size_bytes) as mapping:
        os.close(descriptor)
        yield mapping


def write(root: bytes, content: bytes) -> bytes:
    path = os.path.join(root, FILE)
    with open(path, "wb") as file:
        file.write(content)
    return path


def handle_of(disk: Disk) -> bytes:
    entry = disk.observe(FILE)
    assert entry is not None
    return entry.handle


def _require_both(site: LocalSite, store: MemoryStore) -> None:
    contents = [o.content for o in operations_of(site, store) if isinstance(o, Put)]
    expected = [site.engine.site.hasher.chunk_digest(c) for c in (b"first ", b"second")]
    assert [content.chunks[0].digest for content in contents[-2:]] == expected


class TestCopies:
    def test_a_large_file_is_read_as_it_was_opened_and_its_writers_need_not_wait(
        self, reflinking: bytes
    ) -> None:
        content = os.urandom(LARGE_SIZE_BYTES)
        path = write(reflinking, content)
        with disk_on(reflinking) as disk:
            assert disk.capabilities.reflink
            with disk.open_stable(FILE, handle_of(disk)) as reader:
                assert reader.is_copy
                # A lease that is still held would make this fail.
                writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                os.pwrite(writer, b"overwritten", 0)
                os.close(writer)
                assert b"".join(reader.blocks(1 << 20)) == content
            assert os.listdir(os.path.join(reflinking, b".geosync/stage")) == []

    def test_a_small_file_is_not_worth_a_copy(self, reflinking: bytes) -> None:
        write(reflinking, bytes(COPIED_SIZE_BYTES_MIN - 1))
        with disk_on(reflinking) as disk, disk.open_stable(FILE, handle_of(disk)) as reader:
            assert not reader.is_copy

    def test_where_files_cannot_share_blocks_the_file_itself_is_read(
        self, reflinking: bytes
    ) -> None:
        content = os.urandom(LARGE_SIZE_BYTES)
        write(reflinking, content)
        with (
            disk_on(reflinking, reflink=False) as disk,
            disk.open_stable(FILE, handle_of(disk)) as reader,
        ):
            assert not reader.is_copy
            assert b"".join(reader.blocks(1 << 20)) == content

    def test_a_writer_is_waited_for_before_a_copy_is_made(self, reflinking: bytes) -> None:
        path = write(reflinking, bytes(LARGE_SIZE_BYTES))
        with (
            disk_on(reflinking) as disk,
            open(path, "r+b"),
            pytest.raises(EntryBusy),
            disk.open_stable(FILE, handle_of(disk)),
        ):
            pass

    def test_without_leases_no_copy_is_made_of_what_may_be_half_written(
        self, reflinking: bytes
    ) -> None:
        write(reflinking, bytes(LARGE_SIZE_BYTES))
        with (
            disk_on(reflinking, leases=False) as disk,
            disk.open_stable(FILE, handle_of(disk)) as reader,
        ):
            assert not reader.is_copy

    def test_a_snapshot_is_of_one_moment_though_all_of_the_file_is_being_rewritten(
        self, reflinking: bytes
    ) -> None:
        """Every write fills the file with one byte: a torn copy would have two of them."""
        path = write(reflinking, bytes(LARGE_SIZE_BYTES))
        child = os.fork()
        if child == 0:
            descriptor = os.open(path, os.O_WRONLY)
            while True:
                for number in range(256):
                    os.pwrite(descriptor, bytes([number]) * LARGE_SIZE_BYTES, 0)
        try:
            seen: set[bytes] = set()

            def sees_change() -> bool:
                with disk.open_stable(FILE, handle, despite_writers=True) as reader:
                    content = b"".join(reader.blocks(1 << 20))
                assert len(content) == LARGE_SIZE_BYTES
                assert content == content[:1] * LARGE_SIZE_BYTES, "it is torn"
                seen.add(content[:1])
                return len(seen) >= 20

            with disk_on(reflinking) as disk:
                handle = handle_of(disk)
                await_condition(sees_change, "twenty different snapshots are taken")
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)


class TestMappings:
    def test_stores_through_a_mapping_are_captured_once_it_ends_without_any_event(
        self, journalling: bytes
    ) -> None:
        store = MemoryStore()
        with site_on(journalling, store) as site:
            site.write(FILE, bytes(2 * PAGE))
            settle(site)
            with mapped(site.path(FILE), 2 * PAGE) as mapping:
                mapping[0] = 1
                times = os.stat(site.path(FILE)).st_mtime_ns
                site.engine.cycle({(): False})
                for number in range(4):
                    mapping[1] = number  # in a page that is dirty: it changes no time
                    assert os.stat(site.path(FILE)).st_mtime_ns == times
                    site.time.advance(31)
                    assert not site.engine.cycle({}).captured
                    assert (FILE,) in site.engine.waiting()
            site.time.advance(31)
            assert site.engine.cycle({}).captured == 1
            assert site.engine.waiting() == {}

    def test_a_mapping_that_begins_after_the_capture_shows_in_the_times(
        self, journalling: bytes
    ) -> None:
        with site_on(journalling, MemoryStore()) as site:
            site.write(FILE, bytes(PAGE))
            settle(site)
            with mapped(site.path(FILE), PAGE) as mapping:
                mapping[0] = 1
            assert site.engine.cycle({(): False}).captured > 0

    def test_without_leases_a_store_after_the_reading_shows_in_the_times(
        self, journalling: bytes
    ) -> None:
        """The page was dirty before: had it not been written out, this store were unseen."""
        path = write(journalling, bytes(PAGE))
        with disk_on(journalling, leases=False) as disk, mapped(path, PAGE) as mapping:
            mapping[0] = 1
            with disk.open_stable(FILE, handle_of(disk)) as reader:
                assert b"".join(reader.blocks(PAGE))[:1] == b"\x01"
            mapping[0] = 2
            entry = disk.observe(FILE)
            assert entry is not None
            assert entry.fingerprint != reader.entry.fingerprint

    def test_a_snapshot_of_a_mapped_file_is_followed_by_another_when_it_is_stored_to(
        self, journalling: bytes
    ) -> None:
        rule = CaptureRule((b"file",), OpenFiles.SNAPSHOT, 1)
        store = MemoryStore()
        with site_on(journalling, store, CaptureRules(files=(rule,))) as site:
            site.write(FILE, bytes(2 * LARGE_SIZE_BYTES))
            with mapped(site.path(FILE), 2 * LARGE_SIZE_BYTES) as mapping:
                for number in range(3):
                    mapping[LARGE_SIZE_BYTES] = number + 1
                    site.time.advance(2)
                    assert site.engine.cycle({(): False}).captured > 0
                    site.time.advance(2)
                    assert not site.engine.cycle({(): False}).captured


class TestCoarseClocks:
    def test_the_granularity_of_the_times_is_found_out(
        self, whole_seconds: bytes, tmp_path: Path
    ) -> None:
        with disk_on(whole_seconds) as disk:
            assert disk.capabilities.timestamp_granularity_ns >= 1_000_000_000
            path = write(whole_seconds, b"1")
            first = os.stat(path).st_ctime_ns
            assert first % 1_000_000_000 == 0

    def test_a_second_write_in_the_same_second_is_captured(self, whole_seconds: bytes) -> None:
        """It has the size, the mtime and the ctime of the first one: nothing tells them apart."""
        store = MemoryStore()
        with site_on(whole_seconds, store) as site:
            first, second = self._two_writes_of_one_second(site)
            assert first == second
            found = site.journal.synced.entry_at(ROOT_ENTRY, FILE)
            assert found is not None
            assert found.fingerprint == NEVER_SEEN

            def is_certain() -> bool:
                site.time.advance(READ_AGAIN_AFTER_S)
                site.engine.cycle({})
                found = site.journal.synced.entry_at(ROOT_ENTRY, FILE)
                return found is not None and found.fingerprint != NEVER_SEEN

            await_condition(is_certain, "the file is read again once the second is over")
            settle(site)
            _require_both(site, store)

    def test_it_is_captured_also_when_the_process_was_killed_in_between(
        self, whole_seconds: bytes
    ) -> None:
        store = MemoryStore()
        with site_on(whole_seconds, store) as site:
            first, second = self._two_writes_of_one_second(site)
            assert first == second
            site.reopen()
            settle(site)
            _require_both(site, store)

    def test_two_sites_on_such_clocks_change_one_file_in_turns_without_any_conflict(
        self, whole_seconds: bytes
    ) -> None:
        store, time = MemoryStore(), SimulatedTime()
        sites = [LocalSite(whole_seconds, name, store, time) for name in ("bari", "cnaf")]
        try:
            for site in sites:
                site.open()
            for number in range(4):
                content = b"version %d" % number
                sites[number % 2].write(FILE, content)
                await_condition(
                    lambda content=content: _bring(sites, content),  # type: ignore[misc]
                    "the other site gets it, in real time, which the file system's clock needs",
                )
            assert [site.engine.conflicts() for site in sites] == [[], []]
            assert [site.engine.waiting() for site in sites] == [{}, {}]
        finally:
            for site in sites:
                site.close()

    def _two_writes_of_one_second(
        self, site: LocalSite
    ) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        for _ in range(10):  # a second may end in between
            site.write(FILE, b"first ")
            site.engine.cycle({(): False})
            first = _times(site)
            with open(site.path(FILE), "r+b") as file:
                file.write(b"second")
            if first == _times(site):
                break
            os.unlink(site.path(FILE))
            settle(site)
        return first, _times(site)


def _bring(sites: list[LocalSite], content: bytes) -> bool:
    for site in sites:
        site.cycle()
    is_there = all(os.path.exists(site.path(FILE)) for site in sites)
    is_same = is_there and all(site.read(FILE) == content for site in sites)
    return is_same and all(site.engine.is_settled() for site in sites)


def _times(site: LocalSite) -> tuple[int, int, int]:
    status = os.stat(site.path(FILE))
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
