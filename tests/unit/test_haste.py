"""Haste: what arrives first is shown first, and what is quietly gone is not looked at twice."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conflict.synced import Path, entry_at_path
from geosync.engine.capturing import QUIETLY_GONE_MAX
from geosync.engine.haste import Haste
from geosync.engine.missing_entries import CONFIRM_DELETE_S
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore

ROOT: Path = ()


@pytest.fixture
def sites() -> Iterator[tuple[LocalSite, LocalSite]]:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        bari.write(b"directory/file", b"by bari")
        bari.write(b"directory/other", b"by bari, too")
        settle(bari, cnaf)
        yield bari, cnaf


def deleted(site: LocalSite, looked_at: Path, quiet: Path | None) -> int:
    """How many names a look at one directory takes for deleted."""
    before = site.journal.synced.count()
    site.engine.cycle({looked_at: False}, Haste(quiet=frozenset(() if quiet is None else (quiet,))))
    return before - site.journal.synced.count()


def test_what_left_a_directory_that_is_quiet_since_is_deleted_at_the_first_look(
    sites: tuple[LocalSite, LocalSite],
) -> None:
    bari, cnaf = sites
    os.unlink(bari.path(b"directory/file"))
    assert deleted(bari, (b"directory",), quiet=(b"directory",)) == 1
    settle(bari, cnaf)
    assert disk_tree(cnaf.root).keys() == {b"directory", b"directory/other"}


def test_without_such_quiet_it_is_looked_at_twice(sites: tuple[LocalSite, LocalSite]) -> None:
    bari, _ = sites
    os.unlink(bari.path(b"directory/file"))
    before = bari.journal.synced.count()
    assert deleted(bari, (b"directory",), quiet=None) == 0
    due_s = bari.engine.look_due_s()
    assert due_s == pytest.approx(bari.engine.site.clock.monotonic_s() + CONFIRM_DELETE_S)
    bari.engine.cycle({})
    assert bari.journal.synced.count() == before
    bari.time.advance(CONFIRM_DELETE_S)
    bari.engine.cycle({})
    assert bari.journal.synced.count() == before - 1
    assert bari.engine.look_due_s() is None


def test_quiet_in_one_directory_says_nothing_of_another(
    sites: tuple[LocalSite, LocalSite],
) -> None:
    bari, _ = sites
    os.unlink(bari.path(b"directory/file"))
    assert deleted(bari, (b"directory",), quiet=ROOT) == 0


def test_what_moved_to_a_place_that_is_looked_at_is_not_gone(
    sites: tuple[LocalSite, LocalSite],
) -> None:
    bari, cnaf = sites
    os.rename(bari.path(b"directory"), bari.path(b"moved"))
    assert deleted(bari, ROOT, quiet=ROOT) == 0
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)


def test_what_moved_to_a_new_directory_is_not_gone(sites: tuple[LocalSite, LocalSite]) -> None:
    """That was seen, and not looked at."""
    bari, cnaf = sites
    before = entry_at_path(bari.journal.synced, (b"directory", b"file"))
    assert before is not None
    os.mkdir(bari.path(b"new"))
    os.rename(bari.path(b"directory/file"), bari.path(b"new/file"))
    looked_at = {ROOT: False, (b"directory",): False}
    bari.engine.cycle(looked_at, Haste(quiet=frozenset({(b"directory",)})))
    settle(bari, cnaf)
    after = entry_at_path(bari.journal.synced, (b"new", b"file"))
    assert after is not None
    assert after.nodes == before.nodes


def test_many_that_are_gone_at_once_are_looked_at_twice(
    sites: tuple[LocalSite, LocalSite],
) -> None:
    bari, cnaf = sites
    for number in range(QUIETLY_GONE_MAX + 1):
        bari.write(b"many/%d" % number, b"x")
    settle(bari, cnaf)
    for number in range(QUIETLY_GONE_MAX + 1):
        os.unlink(bari.path(b"many/%d" % number))
    assert deleted(bari, (b"many",), quiet=(b"many",)) == 0


def test_a_directory_that_is_gone_takes_what_was_in_it_along(
    sites: tuple[LocalSite, LocalSite],
) -> None:
    bari, cnaf = sites
    os.unlink(bari.path(b"directory/file"))
    os.unlink(bari.path(b"directory/other"))
    os.rmdir(bari.path(b"directory"))
    assert deleted(bari, ROOT, quiet=ROOT) == 3
    settle(bari, cnaf)
    assert disk_tree(cnaf.root) == {}


def test_what_arrives_first_is_on_the_disk_before_more_is_looked_for(
    sites: tuple[LocalSite, LocalSite],
) -> None:
    bari, cnaf = sites
    settle(bari, cnaf)
    for number in range(3):
        bari.write(b"file %d" % number, b"by bari")
        bari.engine.cycle({ROOT: False})
    cnaf.engine.cycle({}, Haste(is_prompt=True))  # nothing was found before this one
    assert os.path.exists(cnaf.path(b"file 0"))
    assert not os.path.exists(cnaf.path(b"file 1"))
    assert cnaf.engine.cycle({}, Haste(is_prompt=True)).received
    assert os.path.exists(cnaf.path(b"file 2")), "and then all of it at once"


def test_a_hint_of_a_site_that_nobody_knows_finds_its_log_at_once() -> None:
    store = MemoryStore()
    with local_sites(store, "bari", "cnaf") as (bari, cnaf), local_sites(store, "new") as (new,):
        settle(bari, cnaf)
        cnaf.engine.cycle({})  # looks for new sites, and not again for a while
        new.write(b"file", b"by a new site")
        settle(new)
        cnaf.engine.cycle({})
        assert not os.path.exists(cnaf.path(b"file"))
        cnaf.engine.cycle({}, Haste(logs=frozenset({new.engine.site.actor})))
        assert cnaf.read(b"file") == b"by a new site"


def test_a_site_that_knows_nobody_looks_for_others_each_time() -> None:
    store = MemoryStore()
    with local_sites(store, "bari") as (bari,), local_sites(store, "new") as (new,):
        settle(bari)
        bari.engine.cycle({})
        new.write(b"file", b"by a new site")
        settle(new)
        bari.engine.cycle({})
        assert bari.read(b"file") == b"by a new site"
