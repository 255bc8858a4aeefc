"""Conflict copies in the private directory: as the conflicts are, no more and no less."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from geosync.disk.interface import Failed, Outcome, RelativePath, Staged
from geosync.engine import fetching
from geosync.engine.resolving import Choice
from tests.support.disk_tree import Shown, disk_tree
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.recording_store import RecordingStore, let_pass
from transport.errors import StoreUnavailable
from transport.memory_store import MemoryStore

Two = tuple[LocalSite, LocalSite]


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore(MemoryStore())


@pytest.fixture
def sites(store: RecordingStore) -> Iterator[Two]:
    with local_sites(store, "bari", "cnaf") as (bari, cnaf):
        bari.write(b"notes/2026/file.txt", b"first")
        settle(bari, cnaf)
        yield bari, cnaf


def _mirror(site: LocalSite) -> dict[bytes, Shown]:
    return disk_tree(site.path(b".geosync/conflicts"))


def _copies(site: LocalSite) -> dict[bytes, Shown]:
    return {path: shown for path, shown in _mirror(site).items() if shown.kind != "directory"}


def _conflict(sites: Two, loser: bytes = b"by bari") -> None:
    bari, cnaf = sites
    bari.write(b"notes/2026/file.txt", loser)
    bari.cycle_alone()
    cnaf.write(b"notes/2026/file.txt", b"by cnaf")
    settle(*sites)


def test_a_losing_version_is_shown_on_both_sites(sites: Two) -> None:
    _conflict(sites)
    for site in sites:
        assert site.read(b"notes/2026/file.txt") == b"by cnaf"
        ((path, copy),) = _copies(site).items()
        assert path.startswith(b"notes/2026/file.gs-")
        assert path.endswith(b".txt")
        assert copy.content == b"by bari"


def test_nothing_is_left_of_it_once_it_is_settled(sites: Two) -> None:
    _conflict(sites)
    (conflict,) = sites[1].engine.conflicts()
    sites[1].engine.decisions.resolve(conflict.identity, Choice.WINNER)
    settle(*sites)
    for site in sites:
        assert _mirror(site) == {}
        assert site.journal.mirrored() == {}


def test_a_copy_is_never_taken_for_a_file_of_the_volume(sites: Two) -> None:
    _conflict(sites)
    before = [site.engine.own_counter() for site in sites]
    ((path, _),) = _copies(sites[0]).items()
    with open(sites[0].path(b".geosync/conflicts/" + path), "wb") as file:
        file.write(b"scribbled over")
    settle(*sites)
    assert [site.engine.own_counter() for site in sites] == before


def test_a_copy_whose_bytes_cannot_be_had_comes_later(store: RecordingStore, sites: Two) -> None:
    """The rest goes on without it."""
    bari, cnaf = sites
    large = os.urandom(50_000)

    def fail(method: str, name: str) -> None:
        if method == "get_range":
            raise StoreUnavailable("no answer")

    store.before = fail
    bari.write(b"notes/2026/file.txt", large)
    bari.cycle_alone()
    cnaf.write(b"notes/2026/file.txt", b"by cnaf")
    run(bari, cnaf)
    assert cnaf.read(b"notes/2026/file.txt") == b"by cnaf"
    assert _copies(cnaf) == {}
    assert not cnaf.engine.is_settled()
    bari.write(b"other", b"goes on")
    run(bari, cnaf)
    assert cnaf.read(b"other") == b"goes on"
    store.before = let_pass
    settle(*sites)
    assert [shown.content for shown in _copies(cnaf).values()] == [large]


def test_a_large_copy_that_could_not_be_shown_is_gone_once_it_is_settled(
    sites: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LARGE_SIZE_BYTES", 10_000)
    bari, cnaf = sites

    def refuse(staged: Staged, path: RelativePath) -> Outcome:
        return Failed("the disk says no", errno.EIO)

    bari.write(b"notes/2026/file.txt", os.urandom(50_000))
    bari.cycle_alone()
    cnaf.write(b"notes/2026/file.txt", b"by cnaf")
    with monkeypatch.context() as refusing:
        refusing.setattr(cnaf.engine.site.disk, "place_new", refuse)
        run(bari, cnaf)
        assert len(_staged(cnaf)) == 1
        (conflict,) = bari.engine.conflicts()
        bari.engine.decisions.resolve(conflict.identity, Choice.WINNER)
        settle(*sites)
    assert _staged(cnaf) == []


def _staged(site: LocalSite) -> list[bytes]:
    return os.listdir(site.path(b".geosync/stage"))


def test_a_losing_link_is_shown_as_a_link(sites: Two) -> None:
    bari, cnaf = sites
    os.unlink(bari.path(b"notes/2026/file.txt"))
    os.symlink(b"elsewhere", bari.path(b"notes/2026/file.txt"))
    bari.cycle_alone()
    cnaf.write(b"notes/2026/file.txt", b"by cnaf")
    settle(*sites)
    for site in sites:
        (copy,) = _copies(site).values()
        assert (copy.kind, copy.content) == ("symlink", b"elsewhere")


def test_a_restart_makes_no_copy_twice(sites: Two) -> None:
    _conflict(sites)
    before = _mirror(sites[0])
    sites[0].reopen()
    settle(*sites)
    assert _mirror(sites[0]) == before
