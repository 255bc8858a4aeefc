"""Files that programs have open: what is captured of them, when, and what the operator sees."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conflict.operations import Delete, Put
from geosync.configuration.capture_rules import CaptureRule, CaptureRules, OpenFiles
from tests.support.local_sites import LocalSite, local_sites, operations_of, settle
from transport.memory_store import MemoryStore

SIZE_BYTES = 8192
PATH = b"app.log"


def rules(open_files: OpenFiles, *, every_s: int = 10) -> CaptureRules:
    return CaptureRules(files=(CaptureRule((b"*.log",), open_files, every_s),))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[list[LocalSite]]:
    with local_sites(store, "bari", "cnaf") as both:
        settle(*both)
        yield both


@contextmanager
def open_for_writing(site: LocalSite, relative: bytes) -> Iterator[int]:
    descriptor = os.open(site.path(relative), os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def contents_of(site: LocalSite, store: MemoryStore) -> list[int]:
    """The sizes of all contents that a site has published, in order."""
    return [o.content.size_bytes for o in operations_of(site, store) if isinstance(o, Put)]


def with_rules(site: LocalSite, capture_rules: CaptureRules) -> LocalSite:
    site.close()
    site.capture_rules = capture_rules
    return site.open()


class TestWaiting:
    def test_what_is_written_through_a_mapping_is_captured_once_unmapped_without_any_event(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        """The descriptor is closed, and what is looked at is only what the engine asks for."""
        bari, cnaf = sites
        bari.write(PATH, bytes(SIZE_BYTES))
        settle(bari, cnaf)
        descriptor = os.open(bari.path(PATH), os.O_RDWR)
        with mmap.mmap(descriptor, SIZE_BYTES) as mapping:
            os.close(descriptor)
            mapping[0] = 1
            os.utime(bari.path(PATH))  # on tmpfs a store changes no time
            bari.engine.cycle({(): False})
            assert PATH in {path[-1] for path in bari.engine.waiting()}
            for number in range(5):
                mapping[4096] = number + 1
                bari.time.advance(1)
                assert not bari.engine.cycle({}).captured
            mapping[1] = 2
        assert contents_of(bari, store) == [SIZE_BYTES]
        for _ in range(5):
            bari.time.advance(31)
            bari.engine.cycle({})
        settle(cnaf)
        assert cnaf.read(PATH) == b"\x01\x02" + bytes(4094) + b"\x05" + bytes(4095)
        assert contents_of(bari, store) == [SIZE_BYTES] * 2

    def test_a_file_that_is_open_for_long_says_for_how_long_and_delays_no_other(
        self, sites: list[LocalSite]
    ) -> None:
        bari, cnaf = sites
        bari.write(PATH, b"first")
        with open_for_writing(bari, PATH):
            bari.cycle()
            bari.time.advance(3600)
            bari.write(b"other", b"captured at once")
            bari.cycle()
            cnaf.cycle()
            assert cnaf.read(b"other") == b"captured at once"
            assert not os.path.exists(cnaf.path(PATH))
            reason = bari.engine.waiting()[(PATH,)]
            assert "open for writing" in reason
            assert "1 h" in reason
        settle(bari, cnaf)
        assert cnaf.read(PATH) == b"first"

    def test_what_waits_for_long_is_looked_at_less_and_less_often(
        self, sites: list[LocalSite]
    ) -> None:
        bari, _ = sites
        bari.write(PATH, b"first")
        with open_for_writing(bari, PATH):
            bari.cycle()
            looks = []
            listing = bari.engine.site.disk.list_directory
            bari.engine.site.disk.list_directory = (  # type: ignore[method-assign]
                lambda path: looks.append(bari.time) or listing(path)  # type: ignore[func-returns-value]
            )
            for _ in range(600):
                bari.time.advance(1)
                bari.engine.cycle({})
            assert 20 <= len(looks) <= 100


class TestSnapshots:
    def test_a_file_that_is_open_is_captured_every_so_often(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        bari, cnaf = sites
        with_rules(bari, rules(OpenFiles.SNAPSHOT, every_s=60))
        bari.write(PATH, b"")
        settle(bari, cnaf)
        with open_for_writing(bari, PATH) as descriptor:
            for _ in range(200):
                os.write(descriptor, b"line\n")
                bari.time.advance(1)
                bari.engine.cycle({(): False})
                cnaf.engine.cycle({})
                assert bari.read(PATH).startswith(cnaf.read(PATH))
            assert 3 <= len(contents_of(bari, store)) - 1 <= 4
        settle(bari, cnaf)
        assert cnaf.read(PATH) == b"line\n" * 200

    def test_a_file_that_is_closed_is_captured_at_once(self, sites: list[LocalSite]) -> None:
        bari, cnaf = sites
        with_rules(bari, rules(OpenFiles.SNAPSHOT, every_s=86_400))
        bari.write(PATH, b"1")
        with open_for_writing(bari, PATH) as descriptor:
            os.write(descriptor, b"2")
            bari.cycle()
            cnaf.cycle()
            assert cnaf.read(PATH) == b"2"
            os.write(descriptor, b"3")
            bari.cycle()
            cnaf.cycle()
            assert cnaf.read(PATH) == b"2"
            assert "a snapshot is taken every 86400 s" in bari.engine.waiting()[(PATH,)]
        settle(bari, cnaf)
        assert cnaf.read(PATH) == b"23"


class TestExclusion:
    def test_what_is_excluded_is_never_captured_and_is_listed(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        bari, cnaf = sites
        with_rules(bari, rules(OpenFiles.EXCLUDE))
        bari.write(PATH, b"private")
        bari.write(b"deep/other.log", b"private")
        bari.write(b"deep/text", b"public")
        settle(bari, cnaf)
        assert cnaf.read(b"deep/text") == b"public"
        assert os.listdir(cnaf.path(b"deep")) == [b"text"]
        assert contents_of(bari, store) == [len(b"public")]
        assert bari.engine.excluded() == [(PATH,), (b"deep", b"other.log")]
        assert bari.engine.is_settled()

    def test_what_is_excluded_later_is_not_deleted_elsewhere(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        bari, cnaf = sites
        bari.write(PATH, b"shared")
        settle(bari, cnaf)
        with_rules(bari, rules(OpenFiles.EXCLUDE))
        bari.write(PATH, b"private now")
        settle(bari, cnaf)
        assert cnaf.read(PATH) == b"shared"
        os.unlink(bari.path(PATH))
        settle(bari, cnaf)
        bari.reopen()
        settle(bari, cnaf)
        assert cnaf.read(PATH) == b"shared"
        assert not any(isinstance(o, Delete) for o in operations_of(bari, store))

    def test_an_excluded_file_that_is_renamed_becomes_a_file_of_its_own(
        self, sites: list[LocalSite]
    ) -> None:
        """As logrotate does: the new name is not excluded, and is no hard link of the old one."""
        bari, cnaf = sites
        bari.write(PATH, b"shared")
        settle(bari, cnaf)
        with_rules(bari, rules(OpenFiles.EXCLUDE))
        settle(bari, cnaf)
        os.rename(bari.path(PATH), bari.path(b"app.log.1"))
        bari.write(PATH, b"private")
        settle(bari, cnaf)
        assert cnaf.read(PATH) == b"shared"
        assert cnaf.read(b"app.log.1") == b"shared"
        assert os.stat(cnaf.path(PATH)).st_nlink == 1

    def test_what_is_not_excluded_any_more_is_captured_as_a_change(
        self, sites: list[LocalSite]
    ) -> None:
        bari, cnaf = sites
        bari.write(PATH, b"shared")
        settle(bari, cnaf)
        with_rules(bari, rules(OpenFiles.EXCLUDE))
        os.rename(bari.path(PATH), bari.path(b"moved"))
        bari.write(PATH, b"written meanwhile")
        settle(bari, cnaf)
        with_rules(bari, CaptureRules())
        settle(bari, cnaf)
        assert cnaf.read(PATH) == b"written meanwhile"
        assert bari.engine.excluded() == []
