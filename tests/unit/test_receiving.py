"""The receiver: logs in causal order, whatever becomes visible first; actors found in vectors."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.disk_tree import disk_tree
from tests.support.kill_points import Killed
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.recording_store import RecordingStore, let_pass
from transport.errors import ObjectNotVisible, StoreRefused, StoreUnavailable
from transport.memory_store import MemoryStore

Three = tuple[LocalSite, LocalSite, LocalSite]


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore(MemoryStore())


@pytest.fixture
def sites(store: RecordingStore) -> Iterator[Three]:
    with local_sites(store, "bari", "cnaf", "roma") as (bari, cnaf, roma):
        settle(bari, cnaf, roma)
        yield bari, cnaf, roma


def _hide_log_of(store: RecordingStore, site: LocalSite) -> None:
    prefix = f"log/{site.engine.site.actor.hex()}/"

    def hide(method: str, name: str) -> None:
        if method == "get" and name.startswith(prefix):
            raise ObjectNotVisible(f"get {name}: not visible now")

    store.before = hide


def _refuse_writing(method: str, name: str) -> None:
    if method == "put_once":
        raise StoreRefused(f"put {name}: 413, the quota is used up")


def test_a_log_waits_for_what_its_author_had_read(store: RecordingStore, sites: Three) -> None:
    """An edit never arrives before the file that it edits."""
    bari, cnaf, roma = sites
    bari.write(b"file", b"by bari")
    run(bari, cnaf, rounds=2)
    cnaf.write(b"file", b"by cnaf, after bari")
    run(cnaf, rounds=2)
    _hide_log_of(store, bari)
    run(roma)
    assert not os.path.exists(roma.path(b"file"))
    assert not roma.engine.is_settled()
    assert roma.problems() == {}
    store.before = let_pass
    settle(*sites)
    assert roma.read(b"file") == b"by cnaf, after bari"
    assert roma.engine.conflicts() == []


def test_what_waits_for_nobody_does_not_wait(store: RecordingStore, sites: Three) -> None:
    """Of a segment, the transactions before the first that waits count at once."""
    bari, cnaf, roma = sites
    cnaf.write(b"before", b"cnaf knows nothing of bari's file yet")
    cnaf.cycle_alone()
    bari.write(b"file", b"by bari")
    bari.cycle()
    cnaf.link.before = _refuse_writing
    cnaf.cycle()
    cnaf.link.before = let_pass
    cnaf.write(b"after", b"cnaf knows of bari's file")
    cnaf.cycle_alone()
    cnaf.cycle()
    _hide_log_of(store, bari)
    run(roma)
    assert disk_tree(roma.root).keys() == {b"before"}
    roma.reopen()
    run(roma)
    store.before = let_pass
    settle(*sites)
    assert disk_tree(roma.root) == disk_tree(cnaf.root)
    assert disk_tree(roma.root).keys() == {b"before", b"file", b"after"}


def test_a_chain_of_logs_is_released_at_once(store: RecordingStore, sites: Three) -> None:
    """Each of many turns of two sites waits for the one before; then all come in one cycle."""
    bari, cnaf, roma = sites
    settle(*sites)
    _hide_log_of(store, bari)
    run(roma, rounds=1)
    store.before = let_pass
    for number in range(6):
        writer = (bari, cnaf)[number % 2]
        writer.write(b"file", b"turn %d" % number)
        run(bari, cnaf, rounds=2)
    roma.cycle()
    assert roma.read(b"file") == b"turn 5"


def test_an_actor_that_no_listing_shows_is_found_through_the_others(
    store: RecordingStore,
) -> None:
    with local_sites(store, "bari", "cnaf", "late") as (bari, cnaf, late):
        bari.write(b"file", b"by bari")
        settle(bari, cnaf)
        store.delete(f"actors/bari/{bari.engine.site.actor.hex()}")
        settle(late, cnaf)
        assert late.read(b"file") == b"by bari"
        names = {log.site for log in late.journal.log.actors()}
        assert names == {"bari", "cnaf", "late"}


def test_a_store_that_cannot_tell_for_one_log_does_not_hold_back_the_others(
    store: RecordingStore, sites: Three
) -> None:
    bari, cnaf, roma = sites
    prefix = f"log/{bari.engine.site.actor.hex()}/"

    def fail(method: str, name: str) -> None:
        if method == "get" and name.startswith(prefix):
            raise StoreUnavailable(f"get {name}: 503")

    cnaf.write(b"file", b"by cnaf")
    run(cnaf, rounds=1)
    store.before = fail
    (cycle, *_) = run(roma)
    assert roma.read(b"file") == b"by cnaf"
    assert isinstance(cycle.store_error, StoreUnavailable)
    assert "503" in roma.problems()["store"]
    store.before = let_pass
    settle(*sites)
    assert roma.problems() == {}


def test_a_listing_that_fails_does_not_keep_known_logs_from_being_read(
    store: RecordingStore, sites: Three
) -> None:
    bari, _, roma = sites

    def fail(method: str, name: str) -> None:
        if method == "list_names":
            raise StoreUnavailable("list: 503")

    store.before = fail
    bari.write(b"file", b"by bari")
    run(bari, roma)
    assert roma.read(b"file") == b"by bari"


def test_a_site_that_may_not_write_still_reads(store: RecordingStore, sites: Three) -> None:
    """As when its quota is used up: what it captures waits, what the others write arrives."""
    bari, cnaf, _ = sites

    bari.link.before = _refuse_writing
    bari.write(b"waits", b"by bari")
    cnaf.write(b"arrives", b"by cnaf")
    run(cnaf, bari)
    assert bari.read(b"arrives") == b"by cnaf"
    assert "the quota is used up" in bari.problems()["store"]
    bari.link.before = let_pass
    settle(*sites)
    assert cnaf.read(b"waits") == b"by bari"
    assert bari.problems() == {}


def test_each_segment_is_read_once(store: RecordingStore, sites: Three) -> None:
    bari, _, roma = sites
    bari.write(b"file", b"by bari")
    run(bari, rounds=1)
    store.calls.clear()
    run(roma)
    bari_log = f"log/{bari.engine.site.actor.hex()}/"
    read = [name for name in store.names("get") if name.startswith(bari_log)]
    present = set(store.list_names(bari_log))
    assert sum(name in present for name in read) == 1


def test_a_kill_while_logs_wait_for_each_other_loses_nothing(
    store: RecordingStore, sites: Three
) -> None:
    bari, cnaf, roma = sites
    for number in range(4):
        bari.write(b"file %d" % number, b"by bari")
        run(bari, cnaf, rounds=1)
        cnaf.write(b"file %d" % number, b"by cnaf")
        run(cnaf, bari, rounds=1)
    read = 0

    def die(method: str, name: str) -> None:
        nonlocal read
        read += method == "get"
        if read == 5:
            raise Killed

    store.before = die
    with pytest.raises(Killed):
        run(roma)
    store.before = let_pass
    roma.reopen()
    settle(*sites)
    assert disk_tree(roma.root) == disk_tree(bari.root)
    assert {shown.content for shown in disk_tree(roma.root).values()} == {b"by cnaf"}


def test_a_clock_that_runs_far_ahead_is_reported(store: RecordingStore, sites: Three) -> None:
    bari, _, roma = sites
    clock = bari.engine.site.clock
    clock.step(3_600 * 10**9)  # type: ignore[attr-defined]
    bari.write(b"file", b"by bari, in an hour")
    run(bari, roma)
    (text,) = roma.problems().values()
    assert "s ahead of ours" in text
    assert "Check NTP" in text
    assert roma.read(b"file") == b"by bari, in an hour"
