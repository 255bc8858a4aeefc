"""Killed before any step of collecting garbage, of forgetting, of retiring, of clearing a log."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.configuration.collection_pace import CollectionPace
from geosync.engine.retiring import retire
from geosync.engine.stability import live_actors
from tests.support.collecting_sites import collecting_sites
from tests.support.disk_tree import disk_tree
from tests.support.kill_points import KillPoints, kill_before_each_step, run_to_death
from tests.support.local_sites import LocalSite, local_sites, run, settle
from transport.memory_store import MemoryStore
from transport.object_names import PACKS_PREFIX, log_prefix

EVERY = int(os.environ.get("GEOSYNC_COLLECTION_KILLS_EVERY", "400"))
PACE = CollectionPace(every_s=10.0, history_s=10.0, grace_s=5.0)
OFTEN = CheckpointPace(operations=5)
SIZE_BYTES = 20_000
ROUNDS = 14


def _killed_while_collecting(points: KillPoints) -> bool:
    """One of two sites is killed, and collects and forgets as it would have done otherwise."""
    store = MemoryStore()
    with collecting_sites(store, PACE) as (bari, cnaf):
        known = sum(1 for _ in bari.journal.nodes.all_nodes())
        contents = {name: os.urandom(SIZE_BYTES) for name in (b"kept", b"gone", b"d/e/gone")}
        for name, content in contents.items():
            bari.write(name, content)
            settle(bari, cnaf)
        os.rename(cnaf.path(b"d"), cnaf.path(b"moved"))
        settle(bari, cnaf)
        os.unlink(cnaf.path(b"gone"))
        os.unlink(cnaf.path(b"moved/e/gone"))
        os.removedirs(cnaf.path(b"moved/e"))
        settle(bari, cnaf)
        was_killed = run_to_death(bari, points, lambda _: run(bari, cnaf, rounds=ROUNDS))
        bari.open()
        settle(bari, cnaf)
        run(bari, cnaf, rounds=30)
        why = points.why
        assert len(list(store.list_names(PACKS_PREFIX))) == 1, why
        for site in (bari, cnaf):
            assert sum(1 for _ in site.journal.nodes.all_nodes()) == known + 1, why
            assert site.journal.nodes.first_move() is None, why
            assert not site.problems(), why
        with local_sites(store, "late") as (late,):
            settle(late, bari, cnaf)
            assert disk_tree(late.root) == disk_tree(bari.root) == disk_tree(cnaf.root), why
            assert late.read(b"kept") == contents[b"kept"], why
        return was_killed


def _killed_while_retiring(points: KillPoints) -> bool:
    """Whoever retires a site is killed; it is retired, and its log goes, all the same."""

    def retire_lost(_: LocalSite) -> None:
        retire(bari.engine.site, "lost")
        run(bari, cnaf, rounds=ROUNDS)

    store = MemoryStore()
    with local_sites(store, "bari", "cnaf", "lost", checkpoint_pace=OFTEN) as (bari, cnaf, lost):
        for number in range(6):
            lost.write(b"by lost/%d" % number, b"%d" % number)
            settle(bari, cnaf, lost)
        actor = lost.engine.site.actor
        lost.close()
        for number in range(6):
            cnaf.write(b"by cnaf/%d" % number, b"%d" % number)
        was_killed = run_to_death(bari, points, retire_lost)
        bari.open()
        retire(bari.engine.site, "lost")  # as it may have been killed before that was written
        settle(bari, cnaf)
        for number in range(6):
            for each in range(6):
                (cnaf, bari)[number % 2].write(b"%d/%d" % (number, each), b"%d" % each)
            run(bari, cnaf, rounds=20)
        why = points.why
        for site in (bari, cnaf):
            assert actor not in live_actors(site.engine.site), why
            assert not site.problems(), why
        assert len(list(store.list_names(log_prefix(actor)))) <= 1, why
        with local_sites(store, "late") as (late,):
            settle(late, bari, cnaf)
            assert disk_tree(late.root) == disk_tree(bari.root) == disk_tree(cnaf.root), why
            assert late.read(b"by lost/5") == b"5", why
        return was_killed


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", [_killed_while_collecting, _killed_while_retiring])
def test_a_kill_before_any_step_leaves_a_volume_that_works(
    scenario: Callable[[KillPoints], bool],
) -> None:
    assert kill_before_each_step(scenario, first=EVERY // 10, every=EVERY)
