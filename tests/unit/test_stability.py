"""Stability: what is told as applied everywhere is in no operation's past that is still to come."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conflict.membership import known_to_all
from conflict.version import ActorId, VersionVector
from geosync.engine import publishing
from geosync.engine.stability import live_actors, stable
from tests.support.local_sites import LocalSite, local_sites, run, settle
from transport.memory_store import MemoryStore
from transport.object_names import actor_name, segment_name
from transport.segment import (
    SEGMENT_OBJECT_SIZE_BYTES_MAX,
    ExpectedSegment,
    Segment,
    decode_segment,
)

A, B, C = (ActorId(bytes([n]) * 16) for n in range(3))
Two = tuple[LocalSite, LocalSite]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[Two]:
    with local_sites(store, "bari", "cnaf") as (bari, cnaf):
        settle(bari, cnaf)
        run(bari, cnaf)
        yield bari, cnaf


def _actor(site: LocalSite) -> ActorId:
    return site.engine.site.actor


def _segments(site: LocalSite, store: MemoryStore) -> list[Segment]:
    found = []
    log = site.journal.log.actor(_actor(site))
    assert log is not None
    for sequence in range(log.next_sequence):
        name = segment_name(log.actor, sequence)
        body = store.get(name, size_bytes_max=SEGMENT_OBJECT_SIZE_BYTES_MAX)
        expected = ExpectedSegment("volume", log.actor, sequence)
        found.append(decode_segment(body, site.engine.site.hasher, expected))
    return found


def test_known_to_all_is_the_least_of_each() -> None:
    one, other = VersionVector({A: 3, B: 1}), VersionVector({A: 2, C: 5})
    assert known_to_all([one, other]) == VersionVector({A: 2})
    assert known_to_all([one]) == one
    assert known_to_all([]) == VersionVector()


def test_what_both_have_applied_is_stable_and_nothing_else_is(sites: Two) -> None:
    bari, cnaf = sites
    bari.write(b"file", b"content")
    bari.cycle()
    written = bari.engine.own_counter()
    assert stable(bari.engine.site).counter_of(_actor(bari)) < written
    settle(bari, cnaf)
    run(bari, cnaf)
    assert stable(bari.engine.site).counter_of(_actor(bari)) == written
    assert live_actors(bari.engine.site) == {_actor(bari), _actor(cnaf)}


def test_an_announced_actor_whose_log_was_not_read_holds_everything_back(
    sites: Two, store: MemoryStore
) -> None:
    bari, cnaf = sites
    store.put_once(actor_name("late", C), b"late")
    run(bari, cnaf)
    assert live_actors(bari.engine.site) == {_actor(bari), _actor(cnaf), C}
    assert stable(bari.engine.site) == VersionVector()


def test_a_segment_acknowledges_nothing_that_operations_still_waiting_did_not_know(
    sites: Two, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several segments are needed for what was captured in a partition; then others' news came."""
    bari, cnaf = sites
    for number in range(3):
        bari.write(b"file %d" % number, os.urandom(30))
        bari.cycle_alone()
    cnaf.write(b"news", b"of cnaf")
    cnaf.cycle()
    bari.engine._receiver.receive()
    bari.engine._applier.mark_everything()
    monkeypatch.setattr(publishing, "SEGMENT_RECORDS_SIZE_BYTES_MAX", 1)
    settle(bari, cnaf)
    run(bari, cnaf)
    assert stable(cnaf.engine.site).counter_of(_actor(cnaf)) == cnaf.engine.own_counter()
    segments = _segments(bari, store)
    for place, segment in enumerate(segments):
        for later in segments[place + 1 :]:
            for transaction in later.transactions:
                assert transaction.received.covers(segment.received)
                assert transaction.received.covers(segment.applied)
