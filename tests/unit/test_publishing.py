"""The publisher: packs before the segment that tells of them, and always the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

import pytest

from conflict.version import VersionVector
from geosync.engine.publishing import Publisher
from geosync.engine.site import SerialPool
from geosync.engine.spool import Spool
from tests.support.disk_tree import disk_tree
from tests.support.kill_points import Killed
from tests.support.local_sites import LocalSite, local_sites, settle
from tests.support.recording_store import RecordingStore, let_pass
from transport.errors import StoreUnavailable
from transport.memory_store import MemoryStore
from transport.object_names import pack_name, segment_name
from transport.pack import PackWriter, store_chunk

LARGE = os.urandom(100_000)
Item = TypeVar("Item")
Result = TypeVar("Result")


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore(MemoryStore())


@pytest.fixture
def bari(store: RecordingStore) -> Iterator[LocalSite]:
    with local_sites(store, "bari") as (site,):
        site.cycle()
        store.calls.clear()
        yield site


def _log(store: RecordingStore, site: LocalSite) -> list[str]:
    return list(store.list_names(f"log/{site.engine.site.actor.hex()}/"))


@pytest.mark.parametrize("failure", [StoreUnavailable("reset"), Killed()])
def test_after_a_lost_answer_the_same_bytes_are_sent_again(
    store: RecordingStore, bari: LocalSite, failure: BaseException
) -> None:
    """The store has them, but nobody knows; more was written meanwhile, and goes elsewhere."""

    def lose(method: str, name: str) -> None:
        raise failure

    store.after = lose
    bari.write(b"first", b"first")
    try:
        bari.cycle()
    except Killed:
        bari.reopen()
    bari.write(b"second", b"second")
    store.after = let_pass
    bari.cycle()
    bari.cycle()
    (sent, again, *_) = store.names("put_once")
    assert sent == again
    assert bari.problems() == {}
    with local_sites(store, "cnaf") as (cnaf,):
        settle(cnaf, bari)
        assert disk_tree(cnaf.root) == disk_tree(bari.root)


def test_packs_are_stored_before_the_segment_that_tells_of_them(
    store: RecordingStore, bari: LocalSite
) -> None:
    bari.write(b"large", LARGE)
    bari.cycle()
    areas = [name.partition("/")[0] for name in store.names("put_once")]
    assert areas == ["packs", "log"]


def test_while_a_pack_cannot_be_stored_no_segment_tells_of_it(
    store: RecordingStore, bari: LocalSite
) -> None:
    before = _log(store, bari)

    def fail(method: str, name: str) -> None:
        if name.startswith("packs/"):
            raise StoreUnavailable("no answer; the rest waits")

    store.before = fail
    bari.write(b"large", LARGE)
    for _ in range(3):
        bari.cycle()
    assert _log(store, bari) == before
    assert "no answer; the rest waits" in bari.problems()["store"]
    bari.reopen()
    store.before = let_pass
    settle(bari)
    assert len(_log(store, bari)) == len(before) + 1
    assert bari.problems() == {}


class Slow(SerialPool):
    """A pool in which nothing that was begun ends before `release`."""

    workers = 4

    def __init__(self) -> None:
        self._held: list[Callable[[], None]] = []

    def begin(
        self,
        function: Callable[[Item], Result],
        item: Item,
        *,
        is_soon_awaited: bool = False,
    ) -> Future[Result]:
        """See Pool."""
        future: Future[Result] = Future()
        self._held.append(lambda: future.set_result(function(item)))
        return future

    def release(self) -> None:
        """Does what was begun."""
        for work in self._held:
            work()
        self._held.clear()


def test_while_more_is_captured_packs_are_on_their_way_and_no_segment_tells_of_them(
    store: RecordingStore, bari: LocalSite
) -> None:
    bari.engine.site.pool = pool = Slow()
    spool = Spool(os.path.join(bari.state_dir, b"spool"))
    publisher, capturer = Publisher(bari.engine.site, spool), bari.engine._capturer
    before = _log(store, bari)
    bari.write(b"large", LARGE)
    capturer.look_at({(): True})
    capturer.capture()
    assert not publisher.publish(acknowledge=None, has_more=True)
    bari.write(b"small", b"inline, and captured later")
    capturer.look_at({(): True})
    capturer.capture()
    assert not publisher.publish(acknowledge=None, has_more=True)  # what was written first waits
    assert _log(store, bari) == before
    pool.release()
    store.calls.clear()
    assert publisher.publish(acknowledge=None, has_more=True)
    assert [name.partition("/")[0] for name in store.names("put_once")] == ["log"]
    settle(bari)
    with local_sites(store, "cnaf") as (cnaf,):
        settle(cnaf, bari)
        assert disk_tree(cnaf.root) == disk_tree(bari.root)


def test_a_pack_that_fails_on_its_way_is_sent_again(store: RecordingStore, bari: LocalSite) -> None:
    def fail(method: str, name: str) -> None:
        raise StoreUnavailable("no answer")

    spool = Spool(os.path.join(bari.state_dir, b"spool"))
    publisher = Publisher(bari.engine.site, spool)
    bari.write(b"large", LARGE)
    bari.engine._capturer.look_at({(): True})
    bari.engine._capturer.capture()
    store.before = fail
    with pytest.raises(StoreUnavailable):
        publisher.publish(acknowledge=None, has_more=True)
    store.before = let_pass
    assert publisher.publish(acknowledge=None, has_more=True)


def test_an_acknowledgement_tells_of_no_pack_that_is_not_stored(
    store: RecordingStore, bari: LocalSite
) -> None:
    """A chunk may be gathered without any operation; others may refer to it once they know it."""
    site = bari.engine.site
    spool = Spool(os.path.join(bari.state_dir, b"spool"))
    writer = PackWriter(pack_name(site.actor, 77))
    writer.add(site.hasher.chunk_digest(LARGE), store_chunk(LARGE))
    pack = writer.finish()
    spool.write(pack.name, pack.body)
    with site.journal.transaction():
        site.journal.chunks.add_pack(pack.name)
        site.journal.chunks.add_locations(pack.locations, is_announced=False)
    Publisher(site, spool).publish(acknowledge=VersionVector())
    (first, second) = store.names("put_once")
    assert first == pack.name
    assert second.startswith("log/")


def test_the_store_gets_nothing_when_there_is_nothing_to_tell(
    store: RecordingStore, bari: LocalSite
) -> None:
    for _ in range(10):
        bari.cycle()
    assert store.names("put_once") == []


def test_a_log_that_another_daemon_writes_is_left_to_it(
    store: RecordingStore, bari: LocalSite
) -> None:
    """What is captured stays here, and nothing more is done with this journal."""
    actor = bari.engine.site.actor
    stolen = segment_name(actor, len(_log(store, bari)))
    store.put_once(stolen, b"written by a clone of this machine")
    bari.write(b"first", b"first")
    cycle = bari.cycle()
    assert cycle.captured > 0
    assert stolen in (bari.engine.superseded or "")
    bari.write(b"second", b"second")
    store.calls.clear()
    assert bari.cycle().captured == 0
    assert store.names("put_once") == []
    assert store.get(stolen, size_bytes_max=100) == b"written by a clone of this machine"
