"""Ignored names stay on each disk as they are: neither captured, nor applied, nor deleted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from geosync.configuration.volume_configuration import DriftPolicy, Mode
from geosync.errors import OperatorError
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore

Pair = tuple[LocalSite, LocalSite]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        for name in (b"page", b"page.tmp", b"cache/a", b"cache/below/b", b"kept/a"):
            bari.write(name, b"0 " + name)
        settle(bari, cnaf)
        yield bari, cnaf


def ignore(pair: Pair, *patterns: bytes) -> None:
    for pattern in patterns:
        pair[0].engine.decisions.ignore(pattern)
    settle(*pair)


def files(site: LocalSite, below: bytes = b"") -> dict[bytes, bytes]:
    tree = disk_tree(site.path(below))
    return {p: e.content for p, e in tree.items() if e.kind == "file"}


def directories(site: LocalSite) -> set[bytes]:
    return {p for p, e in disk_tree(site.root).items() if e.kind == "directory"}


def test_hiding_deletes_nothing_on_any_disk(pair: Pair) -> None:
    before = [disk_tree(site.root) for site in pair]
    ignore(pair, b"*.tmp", b"/cache/")
    assert [disk_tree(site.root) for site in pair] == before
    assert not any(site.engine.waiting() for site in pair)


def test_what_happens_to_ignored_files_stays_on_their_disk(pair: Pair) -> None:
    bari, cnaf = pair
    ignore(pair, b"*.tmp", b"/cache/")
    before = files(cnaf)
    bari.write(b"page.tmp", b"changed")
    bari.write(b"new.tmp", b"new")
    bari.write(b"cache/new", b"new")
    bari.write(b"kept/cache/c", b"the pattern is about the one at the top")
    os.unlink(bari.path(b"cache/a"))
    shutil.rmtree(bari.path(b"cache/below"))
    settle(*pair)
    assert files(cnaf) == before | {b"kept/cache/c": bari.read(b"kept/cache/c")}
    shutil.rmtree(bari.path(b"cache"))
    settle(*pair)
    assert b"cache/a" in files(cnaf)
    assert b"cache" not in directories(bari)
    assert bari.engine.conflicts() == cnaf.engine.conflicts() == []


def test_without_the_pattern_files_come_together_again_and_nothing_is_deleted(pair: Pair) -> None:
    bari, cnaf = pair
    ignore(pair, b"*.tmp", b"/cache/")
    shutil.rmtree(bari.path(b"cache"))
    os.unlink(cnaf.path(b"page.tmp"))
    cnaf.write(b"new.tmp", b"of cnaf")
    for site in pair:
        site.write(b"same.tmp", b"equal on both")
    settle(*pair)
    for pattern in (b"*.tmp", b"/cache/"):
        cnaf.engine.decisions.ignore_no_more(pattern)
        settle(*pair)
    assert bari.engine.conflicts() == cnaf.engine.conflicts() == []
    assert disk_tree(bari.root) == disk_tree(cnaf.root)
    assert files(bari) == {
        **{n: b"0 " + n for n in (b"page", b"page.tmp", b"cache/a", b"cache/below/b", b"kept/a")},
        b"new.tmp": b"of cnaf",
        b"same.tmp": b"equal on both",
    }


def test_versions_that_differ_without_the_pattern_are_all_kept(pair: Pair) -> None:
    bari, cnaf = pair
    ignore(pair, b"*.tmp")
    for site in pair:
        site.write(b"page.tmp", b"of " + site.name.encode())
    settle(*pair)
    bari.engine.decisions.ignore_no_more(b"*.tmp")
    settle(*pair)
    assert disk_tree(bari.root) == disk_tree(cnaf.root)
    kept = {files(bari)[b"page.tmp"], *files(bari, b".geosync/conflicts").values()}
    assert {b"of bari", b"of cnaf"} <= kept


def test_a_site_that_was_away_deletes_nothing_when_it_hears_of_the_pattern(pair: Pair) -> None:
    """What it did to such files before is in the volume, and on no other disk."""
    bari, cnaf = pair
    cnaf.write(b"page.tmp", b"written before it heard")
    os.unlink(cnaf.path(b"cache/a"))
    for _ in range(3):
        cnaf.cycle_alone()
    ignore((bari, cnaf), b"*.tmp", b"/cache/")
    assert bari.read(b"page.tmp") == b"0 page.tmp"
    assert bari.read(b"cache/a") == b"0 cache/a"
    assert not any(site.engine.waiting() for site in pair)


def test_a_directory_that_is_removed_elsewhere_stays_for_what_is_ignored_in_it(pair: Pair) -> None:
    bari, cnaf = pair
    ignore(pair, b"*.tmp")
    cnaf.write(b"kept/local.tmp", b"of cnaf only")
    settle(*pair)
    shutil.rmtree(bari.path(b"kept"))
    settle(*pair)
    assert files(cnaf)[b"kept/local.tmp"] == b"of cnaf only"
    assert b"kept/a" not in files(cnaf)
    assert b"kept" not in directories(bari)  # it does not come back, and nothing waits
    assert cnaf.engine.site.applied() == cnaf.journal.log.received()
    cnaf.write(b"kept/again", b"now there is something to sync")
    settle(*pair)
    assert bari.read(b"kept/again") == b"now there is something to sync"
    assert b"kept/local.tmp" not in files(bari)


def test_a_site_that_joins_takes_no_ignored_file(pair: Pair) -> None:
    ignore(pair, b"*.tmp")
    roma = LocalSite(pair[0].base, "roma", pair[0].store, pair[0].time)
    roma.write(b"own.tmp", b"was there before")
    roma.open()
    try:
        settle(*pair, roma)
        assert roma.read(b"page") == b"0 page"
        assert b"page.tmp" not in files(roma)
        assert roma.read(b"own.tmp") == b"was there before"
        assert b"own.tmp" not in files(pair[0])
    finally:
        roma.close()


def test_a_replica_leaves_ignored_files_alone(pair: Pair) -> None:
    """They are no drift, and are not put back."""
    ignore(pair, b"*.tmp")
    bari = pair[0]
    replica = LocalSite(
        bari.base, "copy", bari.store, bari.time, mode=Mode.REPLICA, drift=DriftPolicy.REVERT
    )
    replica.write(b"own.tmp", b"of the copy")
    replica.open()
    try:
        settle(*pair, replica)
        replica.write(b"own.tmp", b"changed")
        replica.write(b"drift", b"to be put back")
        settle(*pair, replica)
        assert files(replica) == {
            b"own.tmp": b"changed",
            **{path: content for path, content in files(bari).items() if path != b"page.tmp"},
        }
        bari.engine.decisions.ignore_no_more(b"*.tmp")
        settle(*pair, replica)
        assert files(replica) == files(bari)
    finally:
        replica.close()


def test_a_site_that_dies_while_it_looks_again_looks_once_more(pair: Pair) -> None:
    bari, cnaf = pair
    ignore(pair, b"*.tmp")
    os.unlink(bari.path(b"page.tmp"))
    settle(*pair)
    bari.engine.decisions.ignore_no_more(b"*.tmp")
    bari.reopen()
    settle(*pair)
    assert files(bari) == files(cnaf)
    assert b"page.tmp" in files(bari)


def test_patterns_that_two_sites_add_at_once_both_hold(pair: Pair) -> None:
    bari, cnaf = pair
    bari.engine.decisions.ignore(b"*.tmp")
    cnaf.engine.decisions.ignore(b"*.bak")
    settle(*pair)
    for site in pair:
        assert set(site.engine.site.ignored.patterns) == {b"*.tmp", b"*.bak"}
        site.write(b"a.bak", site.name.encode())
        site.write(b"a.tmp", site.name.encode())
    settle(*pair)
    assert cnaf.read(b"a.bak") == cnaf.read(b"a.tmp") == b"cnaf"
    assert bari.read(b"a.bak") == bari.read(b"a.tmp") == b"bari"


@pytest.mark.parametrize("pattern", [b"", b"# comment", b"*", b"/", b"a\nb", b"!"])
def test_what_can_only_be_a_mistake_is_refused(pair: Pair, pattern: bytes) -> None:
    with pytest.raises(OperatorError):
        pair[0].engine.decisions.ignore(pattern)
    with pytest.raises(OperatorError, match="none of the volume's patterns"):
        pair[0].engine.decisions.ignore_no_more(b"*.never")
