"""Checkpoints over several sites: written in turn, confirmed, joined from, and logs cut short."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from conflict.operations import Delete, Put
from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.configuration.volume_configuration import Mode
from geosync.engine import checkpoint_confirming
from geosync.engine.checkpoint_confirming import CheckpointConfirming
from geosync.engine.checkpoint_statements import checkpointing, confirmed_checkpoints
from geosync.engine.site import Site
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, operations_of, run, settle
from transport.memory_store import MemoryStore
from transport.object_names import log_prefix, segment_name

OFTEN = CheckpointPace(operations=10)
QUIET_ROUNDS = 30


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[list[LocalSite]]:
    """Two sites, and a third one that is closed and has no journal yet."""
    with local_sites(store, "bari", "cnaf", "late", checkpoint_pace=OFTEN) as opened:
        opened[2].lose_journal()
        yield opened


def keep(*sites: LocalSite) -> None:
    """Lets some more checkpoints be written and confirmed, and cuts settle."""
    for number in range(3):
        write_many(sites[number % 2], f"kept at {sites[0].engine.site.now_ms()}")
        settle(*sites)
        run(*sites, rounds=QUIET_ROUNDS)
        settle(*sites)


def confirmed(site: Site) -> int:
    return len(confirmed_checkpoints(site, checkpointing(site)))


def write_many(site: LocalSite, name: str, count: int = 12) -> None:
    for number in range(count):
        site.write(f"{name}/{number}".encode(), f"{name} {number}".encode())


def test_what_is_due_is_written_by_one_confirmed_by_the_other_and_the_logs_are_cut(
    sites: list[LocalSite], store: MemoryStore
) -> None:
    bari, cnaf, _ = sites
    write_many(bari, "one")
    keep(bari, cnaf)
    assert confirmed(bari.engine.site) == confirmed(cnaf.engine.site) >= 1
    assert bari.problems() == cnaf.problems() == {}
    for site in (bari, cnaf):
        actor = site.engine.site.actor
        assert not store_has(store, f"{log_prefix(actor)}{0:016x}")
        for other in (bari, cnaf):
            assert other.journal.log.segment(actor, 0) is None


def test_a_checkpoint_is_compared_bit_by_bit_while_files_change(
    sites: list[LocalSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    bari, cnaf, _ = sites
    monkeypatch.setattr(checkpoint_confirming, "RECORDS_PER_STEP", 3)
    step, steps = CheckpointConfirming.step, list[bool]()

    def counted(confirming: CheckpointConfirming) -> bool:
        for number in range(3):  # those that it has seen, those that come, and new ones
            cnaf.write(b"one/%d" % (3 * len(steps) % 12 + number), b"meanwhile %d" % len(steps))
        steps.append(step(confirming))
        return steps[-1]

    write_many(bari, "one")
    settle(bari, cnaf)
    monkeypatch.setattr(CheckpointConfirming, "step", counted)
    run(bari, cnaf, rounds=QUIET_ROUNDS)
    settle(bari, cnaf)
    assert steps.index(True) >= 4
    assert confirmed(bari.engine.site) == confirmed(cnaf.engine.site) >= 1
    assert bari.problems() == cnaf.problems() == {}


def test_in_a_large_tree_a_checkpoint_waits_for_a_tenth_of_it(sites: list[LocalSite]) -> None:
    bari, cnaf, _ = sites
    write_many(bari, "large", 300)
    keep(bari, cnaf)
    newest = checkpointing(bari.engine.site).newest()
    assert newest is not None
    write_many(bari, "few", 10)  # two operations each, so more than the pace
    settle(bari, cnaf)
    run(bari, cnaf, rounds=QUIET_ROUNDS)
    assert checkpointing(bari.engine.site).newest() == newest
    write_many(bari, "some", 30)
    settle(bari, cnaf)
    run(bari, cnaf, rounds=QUIET_ROUNDS)
    assert checkpointing(bari.engine.site).newest() != newest


def store_has(store: MemoryStore, name: str) -> bool:
    return name in set(store.list_names(name))


def test_a_new_site_joins_when_the_early_segments_are_gone(
    sites: list[LocalSite], store: MemoryStore
) -> None:
    bari, cnaf, late = sites
    write_many(bari, "one")
    keep(bari, cnaf)
    assert not store_has(store, f"{log_prefix(bari.engine.site.actor)}{0:016x}")
    bari.write(b"after", b"the checkpoint")
    settle(bari, cnaf)
    late.open()
    settle(bari, cnaf, late)
    assert disk_tree(late.root) == disk_tree(bari.root) == disk_tree(cnaf.root)
    late.write(b"from late", b"news")
    cnaf.write(b"one/3", b"changed")
    settle(bari, cnaf, late)
    assert disk_tree(late.root) == disk_tree(bari.root) == disk_tree(cnaf.root)
    assert bari.read(b"from late") == b"news"


def test_what_was_there_before_costs_nothing_and_what_is_old_is_known_to_be_old(
    sites: list[LocalSite], store: MemoryStore
) -> None:
    bari, cnaf, late = sites
    write_many(bari, "one")
    bari.write(b"one/old", b"first version")
    bari.write(b"one/gone", b"deleted later")
    settle(bari, cnaf)
    shutil.copytree(bari.path(b"one"), late.path(b"one"))
    bari.write(b"one/old", b"second version")
    os.unlink(bari.path(b"one/gone"))
    keep(bari, cnaf)
    assert not store_has(store, f"{log_prefix(bari.engine.site.actor)}{0:016x}")
    late.open()
    settle(bari, cnaf, late)
    assert disk_tree(late.root) == disk_tree(bari.root) == disk_tree(cnaf.root)
    assert late.read(b"one/old") == b"second version"
    assert [o for o in operations_of(late, store) if isinstance(o, (Put, Delete))] == []
    assert late.engine.conflicts() == []


def test_a_site_whose_log_was_cut_by_a_copy_of_it_writes_nothing_more(
    sites: list[LocalSite], store: MemoryStore
) -> None:
    """A machine that is set back may find the name of its next segment free: it was deleted."""
    bari, cnaf, _ = sites
    write_many(bari, "one")
    settle(bari, cnaf)
    bari.close()
    shutil.copytree(bari.state_dir, bari.state_dir + b"-copy")
    shutil.copytree(bari.root, bari.root + b"-copy")
    bari.open()
    write_many(bari, "two")
    keep(bari, cnaf)
    bari.close()
    for directory in (bari.state_dir, bari.root):
        shutil.rmtree(directory)
        shutil.move(directory + b"-copy", directory)
    bari.open()
    log = bari.journal.log.actor(bari.engine.site.actor)
    assert log is not None
    assert not store_has(store, segment_name(log.actor, log.next_sequence))
    before = set(store.list_names("log/"))
    bari.write(b"new", b"written by the old journal")
    bari.cycle()
    assert bari.engine.superseded is not None
    assert "cut short" in bari.engine.superseded
    assert set(store.list_names("log/")) == before


def test_a_site_that_nobody_waited_for_learns_that_what_it_missed_is_gone(
    sites: list[LocalSite], store: MemoryStore
) -> None:
    """Segments that are gone look like segments that are late: a cut tells them apart."""
    bari, cnaf, late = sites
    write_many(bari, "one")
    settle(bari, cnaf)
    late.mode = Mode.REPLICA  # which the others do not wait for
    late.open()
    for _ in range(20):
        late.cycle()
    assert disk_tree(late.root) == disk_tree(bari.root)
    write_many(bari, "two")
    keep(bari, cnaf)
    for _ in range(40):
        late.cycle()
    assert late.engine.superseded is not None
    assert "begins with segment" in late.engine.superseded
