"""Killed before any step of collecting garbage, of forgetting, of retiring, of clearing a log."""

from __future__ import annotations

import os

import pytest

from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.configuration.collection_pace import CollectionPace
from geosync.engine.retiring import retire
from geosync.engine.stability import live_actors
from tests.support.disk_tree import disk_tree
from tests.support.kill_points import Killed, KillPoints
from tests.support.local_sites import LocalSite, local_sites, run, settle
from transport.memory_store import MemoryStore
from transport.object_names import PACKS_PREFIX, log_prefix

EVERY = int(os.environ.get("GEOSYNC_COLLECTION_KILLS_EVERY", "400"))
PACE = CollectionPace(every_s=10.0, history_s=10.0, grace_s=5.0)
OFTEN = CheckpointPace(operations=5)
SIZE_BYTES = 20_000
ROUNDS = 14


def _live(sites: list[LocalSite], mortal: LocalSite, points: KillPoints, name: str = "") -> bool:
    """Lets all sites run; one of them is killed at its step. Returns whether it was.

    Args:
        name: of a site that the mortal one retires as soon as it runs.
    """
    mortal.wrap_disk = points.mortal
    mortal.wrap_store = points.mortal
    mortal.wrap_journal = points.mortal_journal
    try:
        mortal.open()
        if name:
            retire(mortal.engine.site, name)
        for _ in range(ROUNDS):
            for site in sites:
                site.cycle()
    except Killed:
        return True
    finally:
        mortal.close()
        mortal.unwrap()
    return False


def _killed_while_collecting(kill_before: int) -> bool:
    """One of two sites is killed, and collects and forgets as it would have done otherwise."""
    store, points = MemoryStore(), KillPoints(kill_before)
    with local_sites(store, "bari", "cnaf") as (bari, cnaf):
        for site in (bari, cnaf):
            site.collection_pace = PACE
            site.reopen()
        settle(bari, cnaf)
        known = len(bari.journal.nodes.all_identities())
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
        bari.close()
        was_killed = _live([bari, cnaf], bari, points)
        bari.open()
        settle(bari, cnaf)
        run(bari, cnaf, rounds=30)
        why = f"killed before step {kill_before}: {points.where}"
        assert len(list(store.list_names(PACKS_PREFIX))) == 1, why
        for site in (bari, cnaf):
            assert len(site.journal.nodes.all_identities()) == known + 1, why
            assert site.journal.nodes.first_move() is None, why
            assert not site.problems(), why
        with local_sites(store, "late") as (late,):
            settle(late, bari, cnaf)
            assert disk_tree(late.root) == disk_tree(bari.root) == disk_tree(cnaf.root), why
            assert late.read(b"kept") == contents[b"kept"], why
        return was_killed


def _killed_while_retiring(kill_before: int) -> bool:
    """Whoever retires a site is killed; it is retired, and its log goes, all the same."""
    store, points = MemoryStore(), KillPoints(kill_before)
    with local_sites(store, "bari", "cnaf", "lost") as (bari, cnaf, lost):
        for site in (bari, cnaf):
            site.checkpoint_pace = OFTEN
            site.reopen()
        for number in range(6):
            lost.write(b"by lost/%d" % number, b"%d" % number)
            settle(bari, cnaf, lost)
        actor = lost.engine.site.actor
        lost.close()
        for number in range(6):
            cnaf.write(b"by cnaf/%d" % number, b"%d" % number)
        bari.close()
        was_killed = _live([bari, cnaf], bari, points, "lost")
        bari.open()
        retire(bari.engine.site, "lost")  # as it may have been killed before that was written
        settle(bari, cnaf)
        for number in range(6):
            for each in range(6):
                (cnaf, bari)[number % 2].write(b"%d/%d" % (number, each), b"%d" % each)
            run(bari, cnaf, rounds=20)
        why = f"killed before step {kill_before}: {points.where}"
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
def test_a_kill_before_any_step_leaves_a_volume_that_works(scenario: object) -> None:
    assert callable(scenario)
    kill_before = EVERY // 10
    while scenario(kill_before):
        kill_before += EVERY
    assert kill_before > EVERY
