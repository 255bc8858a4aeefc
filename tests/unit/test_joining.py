"""Joining with a directory that was there before: nothing old wins, nothing is lost or deleted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from conflict.merged_tree import NodeStore
from conflict.operations import Delete, Put
from conflict.planner import Plan, plan
from conflict.synced import Path, SyncedStore
from geosync.engine import applying
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, operations_of, run, settle
from transport.errors import ObjectNotVisible
from transport.memory_store import MemoryStore

Three = tuple[LocalSite, LocalSite, LocalSite]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[Three]:
    """Two sites with a tree; a third one, which is closed and has no journal yet."""
    with local_sites(store, "bari", "cnaf", "late") as (bari, cnaf, late):
        late.close()
        bari.write(b"same", b"the same everywhere")
        bari.write(b"docs/old", b"first version")
        bari.write(b"docs/gone", b"deleted later")
        settle(bari, cnaf)
        bari.write(b"docs/old", b"second version")
        os.unlink(bari.path(b"docs/gone"))
        settle(bari, cnaf)
        late.lose_journal()
        yield bari, cnaf, late


def _written(site: LocalSite, store: MemoryStore) -> list[Put | Delete]:
    return [op for op in operations_of(site, store) if isinstance(op, (Put, Delete))]


def test_what_is_the_same_is_adopted_without_a_conflict_or_an_operation(
    sites: Three, store: MemoryStore
) -> None:
    bari, cnaf, late = sites
    shutil.copytree(bari.path(b"docs"), late.path(b"docs"))
    shutil.copy2(bari.path(b"same"), late.path(b"same"))
    late.open()
    settle(*sites)
    assert disk_tree(late.root) == disk_tree(bari.root) == disk_tree(cnaf.root)
    assert _written(late, store) == []
    assert late.engine.conflicts() == []


def test_an_old_version_is_recognised_as_old(sites: Three, store: MemoryStore) -> None:
    bari, _, late = sites
    late.write(b"docs/old", b"first version")
    late.open()
    settle(*sites)
    assert late.read(b"docs/old") == bari.read(b"docs/old") == b"second version"
    assert _written(late, store) == []
    assert late.engine.conflicts() == []


def test_an_old_version_that_a_program_has_open_while_the_site_joins_is_old_afterwards(
    sites: Three, store: MemoryStore
) -> None:
    bari, _, late = sites
    late.write(b"docs/old", b"first version")
    with open(late.path(b"docs/old"), "r+b"):
        late.open()
        run(*sites)
        assert (b"docs", b"old") in late.engine.waiting()
        late.write(b"docs/new", b"written while the other one is open")
        run(*sites)
        assert bari.read(b"docs/new") == b"written while the other one is open"
        assert late.read(b"docs/old") == b"first version"
    settle(*sites)
    assert late.read(b"docs/old") == bari.read(b"docs/old") == b"second version"
    assert [type(each) for each in _written(late, store)] == [Put]
    assert late.engine.conflicts() == []


def test_what_is_written_into_a_file_that_was_open_while_the_site_joined_is_kept_beside(
    sites: Three,
) -> None:
    bari, _, late = sites
    late.write(b"docs/old", b"first version")
    with open(late.path(b"docs/old"), "r+b") as file:
        late.open()
        run(*sites)
        file.write(b"changed by a program")
    settle(*sites)
    assert late.read(b"docs/old") == bari.read(b"docs/old") == b"second version"
    (conflict,) = late.engine.conflicts()
    assert conflict.loser.content.size_bytes == len(b"changed by a program")


def test_what_was_deleted_since_is_not_brought_back(sites: Three, store: MemoryStore) -> None:
    bari, _, late = sites
    late.write(b"docs/gone", b"deleted later")
    late.open()
    settle(*sites)
    assert disk_tree(late.root) == disk_tree(bari.root)
    assert not os.path.exists(bari.path(b"docs/gone"))
    assert _written(late, store) == []


def test_a_version_that_nobody_knows_is_kept_beside_and_does_not_win(sites: Three) -> None:
    bari, _, late = sites
    late.write(b"docs/old", b"edited before anybody looked")
    late.open()
    settle(*sites)
    for site in sites:
        assert site.read(b"docs/old") == b"second version"
        (conflict,) = site.engine.conflicts()
        assert conflict.path == (b"docs", b"old")
    ((path, copy),) = (
        (path, shown)
        for path, shown in disk_tree(bari.path(b".geosync/conflicts")).items()
        if shown.kind != "directory"
    )
    assert copy.content == b"edited before anybody looked", path


def test_a_file_that_nobody_knows_is_new(sites: Three) -> None:
    bari, _, late = sites
    late.write(b"docs/mine", b"only here")
    late.open()
    settle(*sites)
    assert bari.read(b"docs/mine") == b"only here"
    assert disk_tree(late.root) == disk_tree(bari.root)


def test_what_is_missing_is_fetched_and_deleted_nowhere(sites: Three) -> None:
    bari, _, late = sites
    os.makedirs(late.path(b"docs"), exist_ok=True)
    late.open()
    settle(*sites)
    assert late.read(b"docs/old") == bari.read(b"docs/old") == b"second version"


def test_a_site_that_lost_its_journal_joins_as_another_actor(
    sites: Three, store: MemoryStore
) -> None:
    bari, cnaf, _ = sites
    actor = cnaf.engine.site.actor
    cnaf.write(b"docs/late", b"written while nobody watched")
    cnaf.close()
    bari.write(b"same", b"changed at the other site meanwhile")
    run(bari, rounds=2)
    cnaf.lose_journal()
    cnaf.open()
    settle(bari, cnaf)
    assert cnaf.engine.site.actor != actor
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    assert cnaf.read(b"same") == b"changed at the other site meanwhile"
    assert bari.read(b"docs/late") == b"written while nobody watched"
    assert bari.engine.conflicts() == []


def test_a_conflict_copy_that_only_the_lost_journal_knew_is_rescued(sites: Three) -> None:
    """It lost to another version and was not published yet: only the copy is left of it."""
    bari, cnaf, _ = sites
    copy = b"docs/old.gs-20260101T000000Z-0123abcd-17"
    os.makedirs(cnaf.path(b".geosync/conflicts/docs"))
    cnaf.write(b".geosync/conflicts/" + copy, b"the last copy of it")
    cnaf.lose_journal()
    cnaf.open()
    settle(bari, cnaf)
    (conflict,) = bari.engine.conflicts()
    assert conflict.path == (b"docs", b"old")
    assert conflict.loser.content.size_bytes == len(b"the last copy of it")
    assert bari.read(b"docs/old") == b"second version"


def test_a_conflict_copy_that_is_in_use_is_waited_for(sites: Three) -> None:
    bari, cnaf, _ = sites
    copy = b".geosync/conflicts/docs/old.gs-20260101T000000Z-0123abcd-17"
    os.makedirs(cnaf.path(b".geosync/conflicts/docs"))
    cnaf.write(copy, b"the last copy of it")
    cnaf.lose_journal()
    cnaf.open()
    with open(cnaf.path(copy), "ab"):
        run(cnaf, rounds=3)
        assert b"disk" in {p.subject for p in cnaf.journal.problems()}
        assert not cnaf.engine.is_settled()
    settle(bari, cnaf)
    (conflict,) = bari.engine.conflicts()
    assert conflict.loser.content.size_bytes == len(b"the last copy of it")


def test_a_journal_older_than_the_store_writes_nothing_more(
    sites: Three, store: MemoryStore
) -> None:
    bari, cnaf, _ = sites
    cnaf.close()
    backup = cnaf.state_dir + b".backup"
    shutil.copytree(cnaf.state_dir, backup)
    cnaf.open()
    cnaf.write(b"docs/later", b"published after the backup")
    settle(bari, cnaf)
    cnaf.close()
    shutil.rmtree(cnaf.state_dir)
    shutil.copytree(backup, cnaf.state_dir)
    cnaf.open()
    run(cnaf, rounds=2)
    assert "though we never stored it" in (cnaf.engine.superseded or "")
    before = len(operations_of(cnaf, store))
    cnaf.write(b"docs/later still", b"by a journal that must not write")
    run(cnaf, rounds=2)
    assert len(operations_of(cnaf, store)) == before


def test_a_journal_learns_from_another_site_that_it_is_old(
    sites: Three, store: MemoryStore
) -> None:
    """Its own log looks as if it ended here: the store shows it less than it has."""
    bari, cnaf, _ = sites
    cnaf.close()
    backup = cnaf.state_dir + b".backup"
    shutil.copytree(cnaf.state_dir, backup)
    cnaf.open()
    cnaf.write(b"docs/later", b"published after the backup")
    settle(bari, cnaf)
    bari.write(b"same", b"by a site that has seen all of it")
    run(bari, rounds=2)
    actor = cnaf.engine.site.actor.hex()
    cnaf.close()
    os.unlink(cnaf.path(b"docs/later"))
    shutil.rmtree(cnaf.state_dir)
    shutil.copytree(backup, cnaf.state_dir)
    cnaf.link.before = lambda method, name: _hide(method, name, f"log/{actor}/")
    cnaf.open()
    run(cnaf, rounds=1)
    assert "site bari has seen" in (cnaf.engine.superseded or "")


def _hide(method: str, name: str, prefix: str) -> None:
    if method == "get" and name.startswith(prefix):
        raise ObjectNotVisible(f"get {name}: not visible now")


def test_what_a_site_brings_along_is_not_planned_for_its_own_disk(
    sites: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the volume has, or what was recognised: the rest is where it is to be."""
    planned: set[Path] = set()

    def noting(nodes: NodeStore, synced: SyncedStore, dirty: set[Path], *others: Any) -> Plan:
        planned.update(dirty)
        return plan(nodes, synced, dirty, *others)

    _, _, late = sites
    late.write(b"same", b"the same everywhere")
    late.write(b"of late", b"new")
    monkeypatch.setattr(applying, "plan", noting)
    late.open()
    settle(late)
    assert late.read(b"docs/old") == b"second version"
    assert (b"same",) in planned
    assert (b"of late",) not in planned
