"""Checkpoints that are damaged, incomplete, forged or wrong are not used, and cut no log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from conflict.content import Content
from conflict.node import NodeState
from conflict.version import Dot
from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.engine.checkpoint_source import listed
from geosync.engine.checkpoint_statements import checkpointing
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore
from transport.object_names import (
    CheckpointName,
    checkpoint_manifest_name,
    checkpoint_part_name,
    segment_name,
)

OFTEN = CheckpointPace(operations=8)
ROUNDS = 40


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[list[LocalSite]]:
    """Two sites with a tree, and a third one that is closed and has no journal yet."""
    with local_sites(store, "bari", "cnaf", "late") as opened:
        bari, cnaf, late = opened
        late.lose_journal()
        for number in range(10):
            bari.write(b"one/%d" % number, b"one %d" % number)
        settle(bari, cnaf)
        yield opened


def _write_checkpoint(site: LocalSite) -> CheckpointName:
    """Lets a site write one that nobody has confirmed yet."""
    site.checkpoint_pace = OFTEN
    site.reopen()
    for _ in range(ROUNDS):
        site.cycle()
        found = listed(site.engine.site)
        if found:
            site.cycle()
            return found[-1]
    raise AssertionError("no checkpoint was written")


def _replace(store: MemoryStore, name: str, body: bytes) -> None:
    store.delete(name)
    store.put_once(name, body)


def _flip(store: MemoryStore, name: str) -> None:
    body = bytearray(store.get(name, size_bytes_max=10**9))
    body[len(body) // 2] ^= 1
    _replace(store, name, bytes(body))


def _damage_part(store: MemoryStore, at: CheckpointName) -> None:
    _flip(store, checkpoint_part_name(at.actor, at.number, 0))


def _damage_manifest(store: MemoryStore, at: CheckpointName) -> None:
    _flip(store, checkpoint_manifest_name(at.actor, at.number))


def _lose_part(store: MemoryStore, at: CheckpointName) -> None:
    store.delete(checkpoint_part_name(at.actor, at.number, 1))


def _exchange_parts(store: MemoryStore, at: CheckpointName) -> None:
    """Both are intact and authentic, and each is the wrong one."""
    names = [checkpoint_part_name(at.actor, at.number, index) for index in (0, 1)]
    bodies = [store.get(name, size_bytes_max=10**9) for name in names]
    for name, body in zip(names, reversed(bodies), strict=True):
        _replace(store, name, body)


HARMS = [_damage_part, _damage_manifest, _lose_part, _exchange_parts]


def _assert_log_is_whole(site: LocalSite, store: MemoryStore) -> None:
    assert segment_name(site.engine.site.actor, 0) in set(store.list_names("log/"))


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_not_intact_is_not_confirmed(
    sites: list[LocalSite], store: MemoryStore, harm: object
) -> None:
    bari, cnaf, _ = sites
    assert callable(harm)
    harm(store, _write_checkpoint(bari))
    bari.checkpoint_pace = CheckpointPace()
    bari.reopen()
    for _ in range(ROUNDS):
        bari.cycle()
        cnaf.cycle()
    known = checkpointing(cnaf.engine.site)
    assert [each.confirmers for each in known.written] == [frozenset()]
    assert not known.released()
    _assert_log_is_whole(bari, store)
    if harm is not _lose_part:  # which may yet become visible
        assert "can't be relied on" in cnaf.problems()["checkpoint"]


@pytest.mark.parametrize("harm", HARMS)
def test_a_new_site_reads_the_log_in_place_of_what_is_not_intact(
    sites: list[LocalSite], store: MemoryStore, harm: object
) -> None:
    bari, cnaf, late = sites
    assert callable(harm)
    harm(store, _write_checkpoint(bari))
    late.open()
    settle(bari, cnaf, late)
    assert disk_tree(late.root) == disk_tree(bari.root)


def _cut_logs(bari: LocalSite, cnaf: LocalSite, store: MemoryStore) -> list[CheckpointName]:
    """Lets checkpoints be written until the logs were cut; returns those that are kept."""
    bari.checkpoint_pace = cnaf.checkpoint_pace = OFTEN
    bari.reopen()
    cnaf.reopen()
    for number in range(3):
        for name in range(10):
            bari.write(b"%d/%d" % (number, name), b"%d %d" % (number, name))
        settle(bari, cnaf)
        for _ in range(ROUNDS):
            bari.cycle()
            cnaf.cycle()
    assert segment_name(bari.engine.site.actor, 0) not in set(store.list_names("log/"))
    known = [
        CheckpointName(each.writer, each.written.number, None)
        for each in checkpointing(bari.engine.site).written
    ]
    stored = listed(bari.engine.site)
    return [each for each in known if each in stored]


def test_a_new_site_takes_an_older_checkpoint_when_the_newest_is_damaged(
    sites: list[LocalSite], store: MemoryStore
) -> None:
    bari, cnaf, late = sites
    *_, newest = _cut_logs(bari, cnaf, store)
    _damage_part(store, newest)
    late.open()
    settle(bari, cnaf, late)
    assert disk_tree(late.root) == disk_tree(bari.root)


def test_a_site_that_can_read_no_checkpoint_waits_for_the_next_one(
    sites: list[LocalSite], store: MemoryStore
) -> None:
    """It must not take the rest of the log for the whole volume."""
    bari, cnaf, late = sites
    for each in _cut_logs(bari, cnaf, store):
        _damage_part(store, each)
    late.write(b"0/1", b"old")
    late.open()
    for _ in range(ROUNDS):
        late.cycle()
    assert "no checkpoint that goes farther" in late.problems()["joining"]
    assert list(disk_tree(late.root)) == [b"0", b"0/1"]
    for name in range(12):
        bari.write(b"more/%d" % name, b"%d" % name)
    settle(bari, cnaf)
    for _ in range(ROUNDS):
        bari.cycle()
        cnaf.cycle()
    settle(bari, cnaf, late)
    assert disk_tree(late.root) == disk_tree(bari.root)
    assert "joining" not in late.problems()


def _tell_another_content(site: LocalSite) -> None:
    """Changes a file in one site's journal only, as a bug or a broken memory may."""
    journal = site.journal
    state = next(s for s in journal.nodes.all_nodes() if s.versions)
    other = next(s for s in journal.nodes.all_nodes() if s.versions and s.node != state.node)
    content = next(iter(other.versions.values())).content
    version = next(iter(state.versions.values()))
    _save(site, state, version.dot, content)


def _save(site: LocalSite, state: NodeState, dot: Dot, content: Content) -> None:
    with site.journal.transaction():
        mine = site.journal.nodes.node(state.node)
        assert mine is not None
        mine.versions = {
            d: replace(v, content=content) if d == dot else v for d, v in mine.versions.items()
        }
        site.journal.nodes.save_node(mine)


def test_a_checkpoint_of_another_tree_is_not_confirmed(
    sites: list[LocalSite], store: MemoryStore
) -> None:
    bari, cnaf, _ = sites
    _tell_another_content(bari)
    _write_checkpoint(bari)
    for _ in range(ROUNDS):
        bari.cycle()
        cnaf.cycle()
    assert "is another one here" in cnaf.problems()["checkpoint"]
    assert not checkpointing(bari.engine.site).released()
    _assert_log_is_whole(bari, store)
