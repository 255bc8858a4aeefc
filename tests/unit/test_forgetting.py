"""Forgetting: of what is gone nothing is kept in journals and checkpoints, and nobody misses it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conflict.forgetting import Forget, ForgettingStatement, Propose, Withdraw
from conflict.operations import ROOT, NodeId, Topic
from conflict.stamp import Stamp
from conflict.version import ActorId
from geosync.configuration.collection_pace import CollectionPace
from geosync.configuration.volume_configuration import Mode
from geosync.engine import sweeping
from geosync.engine.forgetting import barred
from geosync.engine.retiring import retire
from tests.support.collecting_sites import collecting_sites, while_time_passes
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.pair_of_sites import Pair
from tests.support.rejoining import rejoin
from transport.errors import CorruptObject
from transport.forgetting_record import decode_forgetting, encode_forgetting
from transport.memory_store import MemoryStore
from transport.msgpack_codec import encode

A = ActorId(b"a" * 16)
N, M = (NodeId(A + bytes(7) + bytes([n])) for n in (1, 2))


@pytest.mark.parametrize(
    "statement",
    [Propose((N, M)), Withdraw((M,)), Forget((N,)), Forget((), Stamp(1, 2, A))],
)
def test_a_statement_is_read_as_it_was_written(statement: ForgettingStatement) -> None:
    assert decode_forgetting(encode_forgetting(statement)) == statement


@pytest.mark.parametrize(
    "body",
    [
        b"",
        encode(()),
        encode((0, b"")),
        encode((0, N[:-1])),
        encode((1, ROOT)),
        encode((2, N)),
        encode((2, N, (1, 2))),
        encode((9, N)),
    ],
)
def test_what_is_no_statement_is_refused(body: bytes) -> None:
    with pytest.raises(CorruptObject):
        decode_forgetting(body)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[Pair]:
    with collecting_sites(store) as pair:
        yield pair


def _known(site: LocalSite) -> tuple[int, int, int]:
    """Returns how many nodes, renames of directories, and replaced contents a journal keeps."""
    nodes = sum(1 for _ in site.journal.nodes.all_nodes())
    moves = 0 if site.journal.nodes.first_move() is None else 1
    return nodes, moves, site.journal.history.count()


def _live_and_dead(sites: Pair) -> tuple[int, int, int]:
    """Makes a tree of which nothing is left but what was there before; returns what was known."""
    bari, cnaf = sites
    bari.write(b"kept", b"before")
    os.makedirs(bari.path(b"stays"))
    settle(bari, cnaf)
    before = _known(bari)
    for number in range(5):
        os.makedirs(bari.path(b"d%d/e" % number))
        bari.write(b"d%d/e/f" % number, b"%d" % number)
    settle(bari, cnaf)
    for number in range(5):
        os.rename(cnaf.path(b"d%d" % number), cnaf.path(b"m%d" % number))
    settle(bari, cnaf)
    cnaf.write(b"kept", b"after")
    for number in range(5):
        os.unlink(bari.path(b"m%d/e/f" % number))
        os.removedirs(bari.path(b"m%d/e" % number))
    settle(bari, cnaf)
    return before


def test_of_what_is_gone_nothing_is_kept_at_any_site(sites: Pair) -> None:
    bari, cnaf = sites
    before = _live_and_dead(sites)
    tree = disk_tree(bari.root)
    assert _known(bari) == (before[0] + 15, 1, before[2] + 1)
    while_time_passes(bari, cnaf, seconds=40)
    assert _known(bari) == (before[0] + 15, 1, before[2] + 1), "it is kept for a minute"
    while_time_passes(bari, cnaf)
    assert _known(bari) == _known(cnaf) == before
    assert disk_tree(bari.root) == disk_tree(cnaf.root) == tree
    for site in (bari, cnaf):
        assert site.journal.forgetting.count_gone() == 0
        assert len(site.journal.declarations.of_topic(Topic.FORGETTING)) <= 1
        assert not site.journal.damages()
        assert site.engine.superseded is None


def test_a_site_that_has_not_told_that_it_knows_holds_that_back(sites: Pair) -> None:
    bari, cnaf = sites
    bari.write(b"gone", b"by and by")
    settle(bari, cnaf)
    before = _known(cnaf)
    os.unlink(bari.path(b"gone"))
    bari.cycle()
    while_time_passes(bari)
    assert _known(bari) == before
    cnaf.write(b"gone", b"written by one who does not know that it is gone")
    settle(bari, cnaf)
    while_time_passes(bari, cnaf)
    assert bari.read(b"gone") == cnaf.read(b"gone")
    os.unlink(cnaf.path(b"gone"))
    settle(bari, cnaf)
    while_time_passes(bari, cnaf)
    assert _known(bari)[0] == _known(cnaf)[0] == before[0] - 1


def test_a_lost_site_does_once_it_is_retired_and_loses_nothing_when_it_comes_back(
    sites: Pair, store: MemoryStore
) -> None:
    bari, cnaf = sites
    bari.write(b"gone", b"by and by")
    bari.write(b"kept", b"before")
    settle(bari, cnaf)
    before = _known(bari)
    cnaf.write(b"gone", b"written while it was cut off")
    cnaf.cycle_alone()
    os.unlink(bari.path(b"gone"))
    retire(bari.engine.site, "cnaf")
    while_time_passes(bari)
    assert _known(bari)[0] == before[0] - 1
    cnaf.cycle()
    assert "forgotten" in (cnaf.engine.superseded or "")
    rejoin(cnaf)
    settle(bari, cnaf)
    assert disk_tree(bari.root) == disk_tree(cnaf.root)
    assert bari.read(b"gone") == b"written while it was cut off"


def test_a_replica_that_was_away_removes_what_was_deleted_and_forgotten_meanwhile(
    sites: Pair, store: MemoryStore
) -> None:
    """It hears of both in one go, and nobody waited for it."""
    bari, cnaf = sites
    with local_sites(store, "copy") as (copy,):
        copy.lose_journal()
        copy.mode = Mode.REPLICA
        copy.open()
        before = _known(bari)
        for name in (b"d/e/gone", b"d/out", b"kept"):
            bari.write(name, name)
        settle(bari, cnaf, copy)
        assert disk_tree(copy.root) == disk_tree(bari.root)
        copy.close()
        os.rename(bari.path(b"d/out"), bari.path(b"out"))
        os.unlink(bari.path(b"d/e/gone"))
        os.removedirs(bari.path(b"d/e"))
        settle(bari, cnaf)
        while_time_passes(bari, cnaf)
        assert _known(bari)[0] == before[0] + 2
        copy.open()
        settle(bari, cnaf, copy)
        assert disk_tree(copy.root) == disk_tree(bari.root) == disk_tree(cnaf.root)
        assert _known(copy)[0] == _known(bari)[0]


def test_what_a_program_still_writes_to_a_file_that_is_being_forgotten_becomes_a_new_file(
    sites: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "WATCHED_FOR_MS", 3_600_000)  # it goes on writing, now and then
    bari, cnaf = sites
    for site in sites:
        site.collection_pace = CollectionPace(every_s=4.0, history_s=0.0, grace_s=1.0)
        site.reopen()
    bari.write(b"gone", b"before")
    settle(bari, cnaf)
    node = next(live.node for live in bari.journal.nodes.live_links_in(ROOT))
    os.unlink(cnaf.path(b"gone"))
    for _ in range(20):
        run(bari, cnaf, rounds=1)
        is_forgotten = bari.journal.nodes.node(node) is None
        if is_forgotten or node in barred(bari.engine.site):
            break
    (displaced,) = bari.journal.retired()
    with open(bari.path(b".geosync/trash/" + displaced.token), "wb") as still_open:
        still_open.write(b"later!")
    while_time_passes(bari, cnaf)
    (found,) = [name for name in os.listdir(bari.root) if name.startswith(b"found-")]
    assert bari.read(found) == cnaf.read(found) == b"later!"
    assert not os.path.exists(bari.path(b"gone"))
    assert bari.problems() == cnaf.problems() == {}
