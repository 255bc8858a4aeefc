"""Killed before any step of writing, confirming or joining from a checkpoint, or cutting a log."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.engine.checkpoint_statements import checkpointing, confirmed_checkpoints
from tests.support.disk_tree import disk_tree
from tests.support.kill_points import KillPoints, kill_before_each_step, run_to_death
from tests.support.local_sites import LocalSite, local_sites, run, settle
from transport.memory_store import MemoryStore
from transport.object_names import CheckpointName, recognise, segment_name

OFTEN = CheckpointPace(operations=5)
EVERY = int(os.environ.get("GEOSYNC_CHECKPOINT_KILLS_EVERY", "29"))
ROUNDS = 30


def _write(site: LocalSite, name: str) -> None:
    for number in range(5):
        site.write(f"{name}/{number}".encode(), f"{name} {number}".encode())


def _is_cut(site: LocalSite, store: MemoryStore) -> bool:
    first = segment_name(site.engine.site.actor, 0)
    return first not in set(store.list_names("log/"))


def _killed_while_keeping(points: KillPoints) -> bool:
    """One of two sites is killed; afterwards a checkpoint counts, logs are cut, a site joins."""
    store = MemoryStore()
    with local_sites(store, "bari", "cnaf", "late") as (bari, cnaf, late):
        late.lose_journal()
        bari.checkpoint_pace = cnaf.checkpoint_pace = OFTEN
        cnaf.reopen()
        _write(bari, "one")
        settle(bari, cnaf)
        was_killed = run_to_death(bari, points, lambda _: run(bari, cnaf, rounds=ROUNDS))
        bari.open()
        settle(bari, cnaf)
        for number in range(2):
            _write((cnaf, bari)[number], f"next/{number}")
            run(bari, cnaf, rounds=2 * ROUNDS)
        why = points.why
        assert not bari.problems() | cnaf.problems(), why
        site = bari.engine.site
        assert confirmed_checkpoints(site, checkpointing(site)), why
        assert _is_cut(bari, store), why
        assert _is_cut(cnaf, store), why
        late.open()
        settle(bari, cnaf, late)
        assert disk_tree(late.root) == disk_tree(bari.root) == disk_tree(cnaf.root), why
        stored = {
            (name.actor, name.number)
            for name in map(recognise, store.list_names("checkpoints/"))
            if isinstance(name, CheckpointName)
        }
        told = {(each.writer, each.written.number) for each in checkpointing(site).written}
        assert stored <= told, f"{why}: something unfinished is left"
        return was_killed


def _killed_while_joining(points: KillPoints) -> bool:
    """A site that joins from a checkpoint is killed, and joins all the same."""
    store = MemoryStore()
    with local_sites(store, "bari", "late") as (bari, late):
        late.lose_journal()
        bari.checkpoint_pace = OFTEN
        bari.reopen()
        for number in range(2):
            _write(bari, f"one/{number}")
            run(bari, rounds=ROUNDS)
        assert _is_cut(bari, store)
        bari.write(b"later", b"than the checkpoint")
        settle(bari)
        late.write(b"one/1/2", b"one/1 2")
        late.write(b"mine", b"only here")
        was_killed = run_to_death(late, points, lambda _: run(bari, late, rounds=ROUNDS))
        late.open()
        settle(bari, late)
        why = points.why
        assert disk_tree(late.root) == disk_tree(bari.root), why
        assert bari.read(b"mine") == b"only here", why
        assert not bari.problems() | late.problems(), why
        assert not late.engine.conflicts(), why
        return was_killed


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", [_killed_while_keeping, _killed_while_joining])
def test_a_kill_before_any_step_leaves_a_volume_that_works(
    scenario: Callable[[KillPoints], bool],
) -> None:
    assert len(kill_before_each_step(scenario, every=EVERY)) * EVERY > 20
