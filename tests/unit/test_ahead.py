"""Packs that are brought before their file is known: bounded, checked, used once, and gone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from geosync.engine import ahead, ranges
from geosync.engine.ahead import KEPT_S, Ahead
from geosync.engine.ranges import Range, RangeReader
from geosync.engine.spool import Spool
from tests.support.local_sites import VOLUME, LocalSite, local_sites, settle
from tests.support.recording_store import RecordingStore, let_pass
from tests.support.stepped_pool import SteppedPool
from transport.errors import OperationUnderWay, StoreUnavailable
from transport.memory_store import MemoryStore
from transport.object_names import pack_name
from transport.pack import ChunkLocation, store_chunk
from transport.segment import Segment

SIZE_BYTES = 10_000


class Sender:
    """Stores packs of one chunk each, and tells of them as a site does that sends a large file."""

    def __init__(self, site: LocalSite, store: RecordingStore) -> None:
        self.site = site.engine.site
        self.store = store
        self.number = 900

    def pack(self, chunk: bytes) -> tuple[bytes, ChunkLocation]:
        """Stores a pack; returns what is told of it."""
        name, stored = pack_name(self.site.actor, self.number), store_chunk(chunk)
        self.number += 1
        self.store.put_once(name, stored)
        digest = self.site.hasher.chunk_digest(chunk)
        return digest, ChunkLocation(name, 0, len(stored), len(chunk))

    def segment(self, *entries: tuple[bytes, ChunkLocation]) -> Segment:
        """Tells of packs, without a transaction."""
        received = self.site.journal.log.received()
        return Segment(
            VOLUME, "away", self.site.actor, 1, b"p" * 32, 0, received, received,
            pack_entries=dict(entries),
        )  # fmt: skip


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PACK_SIZE_BYTES_MIN", SIZE_BYTES // 2)
    monkeypatch.setattr(ahead, "BUDGET_SIZE_BYTES", 5 * SIZE_BYTES)
    monkeypatch.setattr(ranges, "RANGE_SIZE_BYTES_MAX", SIZE_BYTES)


@pytest.fixture
def sender() -> Iterator[Sender]:
    store = RecordingStore(MemoryStore())
    with local_sites(store, "here") as (here,):
        yield Sender(here, store)


def _files(sender: Sender) -> list[bytes]:
    directory = os.path.join(sender.site.state_dir, b"ahead")
    return sorted(os.path.join(directory, name) for name in os.listdir(directory))


def _read(sender: Sender, brought: Ahead, entry: tuple[bytes, ChunkLocation]) -> bytes:
    digest, at = entry
    spool = Spool(os.path.join(sender.site.state_dir, b"spool"))
    reader = RangeReader(sender.site, spool, brought)
    result = reader.read(Range(at.pack, at.offset, at.stored_size_bytes, (entry,)))
    assert not result.errors
    return result.chunks[digest]


def test_what_is_announced_needs_no_request_any_more(sender: Sender) -> None:
    brought, chunk = Ahead(sender.site), os.urandom(SIZE_BYTES)
    entry = sender.pack(chunk)
    brought.announced(sender.segment(entry), ())
    assert brought.begin() == 1
    sender.store.calls.clear()
    assert _read(sender, brought, entry) == chunk
    assert sender.store.calls == []
    brought.discard(entry[1].pack)
    assert _files(sender) == []


def test_what_was_damaged_here_comes_from_the_store(sender: Sender) -> None:
    brought, chunk = Ahead(sender.site), os.urandom(SIZE_BYTES)
    entry = sender.pack(chunk)
    brought.announced(sender.segment(entry), ())
    brought.begin()
    with open(_files(sender)[0], "r+b") as file:
        file.seek(SIZE_BYTES // 2)
        file.write(b"damaged")
    assert _read(sender, brought, entry) == chunk
    assert _files(sender) == []


def test_it_takes_no_more_room_than_its_budget(sender: Sender) -> None:
    brought = Ahead(sender.site)
    entries = [sender.pack(os.urandom(SIZE_BYTES)) for _ in range(9)]
    brought.announced(sender.segment(*entries), ())
    assert brought.begin() == len(_files(sender)) == 4
    for _, at in entries:
        brought.discard(at.pack)
    brought.announced(sender.segment(sender.pack(os.urandom(SIZE_BYTES))), ())
    assert brought.begin() == len(_files(sender)) == 1


@pytest.mark.parametrize("error", [StoreUnavailable("no answer"), OperationUnderWay("slow")])
def test_a_store_in_trouble_leaves_nothing_and_stops_nothing(
    sender: Sender, error: Exception
) -> None:
    brought, chunk = Ahead(sender.site), os.urandom(SIZE_BYTES)
    entry = sender.pack(chunk)

    def refuse(method: str, name: str) -> None:
        raise error

    sender.store.before = refuse
    brought.announced(sender.segment(entry), ())
    brought.begin()
    assert _files(sender) == []
    sender.store.before = let_pass
    assert _read(sender, brought, entry) == chunk


def test_what_is_small_or_was_known_before_is_not_brought(sender: Sender) -> None:
    brought = Ahead(sender.site)
    small, known = sender.pack(b"small"), sender.pack(os.urandom(SIZE_BYTES))
    brought.announced(sender.segment(small, known), (known[0],))
    assert brought.begin() == 0


def test_what_is_begun_by_nobody_yet_is_left_to_whoever_needs_it(sender: Sender) -> None:
    sender.site.pool = pool = SteppedPool()
    brought, chunk = Ahead(sender.site), os.urandom(SIZE_BYTES)
    entry = sender.pack(chunk)
    brought.announced(sender.segment(entry), ())
    brought.begin()
    assert _read(sender, brought, entry) == chunk
    sender.store.calls.clear()
    pool.work()
    assert sender.store.calls == []


def test_what_nobody_uses_is_removed_in_the_end_and_at_the_next_start(sender: Sender) -> None:
    brought = Ahead(sender.site)
    brought.announced(sender.segment(sender.pack(os.urandom(SIZE_BYTES))), ())
    brought.begin()
    assert len(_files(sender)) == 1
    Ahead(sender.site)
    assert _files(sender) == []
    brought.announced(sender.segment(sender.pack(os.urandom(SIZE_BYTES))), ())
    brought.begin()
    clock = sender.site.clock
    before_s = clock.monotonic_s()
    clock.time.advance(KEPT_S + 1)  # type: ignore[attr-defined]
    assert clock.monotonic_s() > before_s + KEPT_S
    brought.begin()
    assert _files(sender) == []


def test_an_ordinary_change_is_brought_with_its_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []
    begin = Ahead.begin

    def noting(self: Ahead) -> int:
        begun.append(begin(self))
        return begun[-1]

    monkeypatch.setattr(Ahead, "begin", noting)
    with local_sites(MemoryStore(), "away", "here") as (away, here):
        away.write(b"file", os.urandom(5 * SIZE_BYTES))
        settle(away, here)
        assert here.read(b"file") == away.read(b"file")
    assert sum(begun) == 0
    assert begun
