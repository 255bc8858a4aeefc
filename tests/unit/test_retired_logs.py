"""What a retired actor left in the store goes, once nobody can need it; it returns all the same."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conflict.version import ActorId
from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.engine.retiring import retire
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.rejoining import rejoin
from transport.memory_store import MemoryStore
from transport.object_names import CutName, checkpoints_prefix, log_prefix, recognise, segment_name

OFTEN = CheckpointPace(operations=10)
Three = tuple[LocalSite, LocalSite, LocalSite]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[Three]:
    with local_sites(store, "bari", "cnaf", "lost", checkpoint_pace=OFTEN) as (bari, cnaf, lost):
        settle(bari, cnaf, lost)
        yield bari, cnaf, lost


def _write_many(site: LocalSite, name: bytes) -> None:
    for number in range(12):
        site.write(b"%s/%d" % (name, number), b"%s %d" % (name, number))


def _keep(*sites: LocalSite) -> None:
    """Lets some more checkpoints be written and confirmed, and cuts settle."""
    for number in range(4):
        _write_many(sites[number % len(sites)], b"at %d" % sites[0].engine.site.now_ms())
        settle(*sites)
        run(*sites, rounds=30)


def _lose(sites: Three) -> ActorId:
    """Retires a site that has written a lot, part of which nobody ever reads."""
    bari, cnaf, lost = sites
    _write_many(lost, b"by lost")
    settle(*sites)
    run(*sites, rounds=20)
    lost.write(b"unseen", b"captured while it was cut off")
    lost.cycle_alone()
    lost.write(b"by lost/3", b"changed while it was cut off")
    lost.cycle_alone()
    actor = lost.engine.site.actor
    retire(bari.engine.site, "lost")
    settle(bari, cnaf)
    return actor


def test_of_a_retired_site_one_segment_is_left_and_where_its_log_was_cut(
    sites: Three, store: MemoryStore
) -> None:
    bari, cnaf, _ = sites
    actor = _lose(sites)
    store.put_once(segment_name(actor, 1000), b"void, beyond the end of its log")
    before = list(store.list_names(log_prefix(actor)))
    assert len(before) > 2
    os.unlink(bari.path(b"by lost/0"))
    _keep(bari, cnaf)
    assert len(list(store.list_names(log_prefix(actor)))) <= 1
    left = [recognise(name) for name in store.list_names(checkpoints_prefix(actor))]
    assert left
    assert all(isinstance(name, CutName) for name in left)
    assert bari.problems() == cnaf.problems() == {}


def test_a_new_site_joins_and_the_retired_one_joins_anew_and_has_lost_nothing(
    sites: Three, store: MemoryStore
) -> None:
    bari, cnaf, lost = sites
    actor = _lose(sites)
    _keep(bari, cnaf)
    assert segment_name(actor, 0) not in store.list_names(log_prefix(actor))
    with local_sites(store, "late") as (late,):
        settle(late, bari, cnaf)
        assert disk_tree(late.root) == disk_tree(bari.root)
        lost.cycle()
        rejoin(lost)
        settle(bari, cnaf, late, lost)
        trees = [disk_tree(site.root) for site in (bari, cnaf, late, lost)]
        assert all(tree == trees[0] for tree in trees)
        assert bari.read(b"unseen") == b"captured while it was cut off"
        assert [conflict.path for conflict in bari.engine.conflicts()] == [(b"by lost", b"3")]


def test_nothing_of_it_goes_before_two_checkpoints_stand_for_it(
    sites: Three, store: MemoryStore
) -> None:
    bari, cnaf, _ = sites
    for site in (bari, cnaf):
        site.checkpoint_pace = CheckpointPace()
        site.reopen()
    actor = _lose(sites)
    before = list(store.list_names(log_prefix(actor)))
    run(bari, cnaf, rounds=60)
    assert list(store.list_names(log_prefix(actor))) == before
