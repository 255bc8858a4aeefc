"""Without exchange, leases or handles, sites lose nothing and converge all the same."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from geosync.disk import syscalls
from geosync.disk.capabilities import DiskCapabilities
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, settle
from tests.support.posix_disk_world import LESSER_PROTOCOLS
from transport.memory_store import MemoryStore


@pytest.fixture(params=LESSER_PROTOCOLS, ids=lambda param: param[0])
def sites(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[LocalSite]]:
    capabilities: DiskCapabilities = request.param[1]
    monkeypatch.setattr(syscalls, "has_openat2", lambda: False)
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        cnaf.close()
        cnaf.capabilities = capabilities
        cnaf.open()
        settle(bari, cnaf)
        yield [bari, cnaf]


def _same(bari: LocalSite, cnaf: LocalSite) -> None:
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    assert bari.problems() == cnaf.problems() == {}


def _kept_aside(site: LocalSite) -> list[bytes]:
    """Reads the versions that lost a conflict."""
    top = site.path(b".geosync/conflicts")
    return [
        site.read(os.path.join(above, name)) for above, _, names in os.walk(top) for name in names
    ]


def test_files_of_all_kinds_are_made_replaced_moved_and_removed(sites: list[LocalSite]) -> None:
    for author, other in (sites, reversed(sites)):
        here = author.name.encode()
        author.write(here + b"/a/file", b"first")
        author.write(here + b"/a/second", b"second")
        os.link(author.path(here + b"/a/file"), author.path(here + b"/hard link"))
        os.symlink(b"/nowhere", author.path(here + b"/symlink"))
        os.mkdir(author.path(here + b"/empty"))
        _same(*sites)
        author.write(here + b"/a/file", b"replaced, and longer")
        os.rename(author.path(here + b"/a/second"), author.path(here + b"/moved"))
        os.rename(author.path(here + b"/empty"), author.path(here + b"/a/moved"))
        other.write(here + b"/a/of the other", b"at the same time")
        _same(*sites)
        first, second = author.path(here + b"/moved"), author.path(here + b"/a/file")
        os.rename(first, first + b"-aside")  # the names of two files are exchanged
        os.rename(second, first)
        os.rename(first + b"-aside", second)
        os.unlink(author.path(here + b"/symlink"))
        os.rmdir(author.path(here + b"/a/moved"))
        _same(*sites)


def test_versions_written_at_the_same_time_are_both_kept(sites: list[LocalSite]) -> None:
    bari, cnaf = sites
    bari.write(b"file", b"first")
    _same(bari, cnaf)
    bari.write(b"file", b"by bari")
    cnaf.write(b"file", b"by cnaf")
    bari.cycle()
    cnaf.cycle()
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    (conflict,) = cnaf.engine.conflicts()
    assert conflict.path == (b"file",)
    assert {cnaf.read(b"file"), *_kept_aside(cnaf)} == {b"by bari", b"by cnaf"}


def test_a_program_that_keeps_the_replaced_file_open_loses_nothing(sites: list[LocalSite]) -> None:
    bari, cnaf = sites
    cnaf.write(b"log", b"first\n")
    _same(bari, cnaf)
    with open(cnaf.path(b"log"), "rb+") as held:
        if cnaf.engine.site.disk.capabilities.leases:  # type: ignore[attr-defined]
            return  # then it is not replaced while it is open; told by another test
        bari.write(b"log", b"replaced by bari\n")
        bari.cycle()
        for _ in range(3):
            cnaf.cycle()
        assert cnaf.read(b"log") == b"replaced by bari\n"
        held.seek(0, os.SEEK_END)
        held.write(b"written to what was replaced\n")
    settle(bari, cnaf)
    cnaf.time.advance(120)
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    found = {cnaf.read(b"log"), *_kept_aside(cnaf)}
    assert b"first\nwritten to what was replaced\n" in found
    assert b"replaced by bari\n" in found
