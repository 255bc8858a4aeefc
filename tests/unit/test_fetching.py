"""The fetcher: few requests, downloads that go on where they stopped, and reasons in words."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from conflict.content import ChunkReference, Content, ContentKind
from geosync.engine import downloading, ranges
from geosync.engine.downloading import ContentUnavailable
from geosync.engine.fetching import Fetcher
from geosync.engine.lost_chunks import WANTED_AFTER_S
from geosync.engine.spool import Spool
from tests.support.kill_points import Killed
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.recording_store import RecordingStore, let_pass
from transport.errors import OperationUnderWay, StoreUnavailable
from transport.hashing import VolumeHasher
from transport.memory_store import MemoryStore
from transport.object_names import pack_name
from transport.pack import ChunkLocation, store_chunk

MIB = 1024 * 1024


class Packs:
    """Chunks in packs at chosen places, as the journal of a site knows them."""

    def __init__(self, site: LocalSite, store: RecordingStore) -> None:
        self.site = site.engine.site
        self.site_time = site.time
        self.store = store
        self.hasher: VolumeHasher = self.site.hasher
        self._number = 0

    def fetcher(self) -> Fetcher:
        return Fetcher(self.site, Spool(os.path.join(self.site.state_dir, b"spool")))

    def add(self, chunks: list[bytes], gap_bytes: int = 0) -> list[Content]:
        """Stores one pack with these chunks, some bytes apart; returns a content for each."""
        name = pack_name(self.site.actor, 900 + self._number)
        self._number += 1
        body = b""
        found = []
        for chunk in chunks:
            stored = store_chunk(chunk)
            digest = self.hasher.chunk_digest(chunk)
            at = ChunkLocation(name, len(body), len(stored), len(chunk))
            self.site.journal.chunks.add_locations({digest: at}, is_announced=True)
            found.append(self.content([ChunkReference(digest, len(chunk))]))
            body += stored + bytes(gap_bytes)
        self.store.put_once(name, body)
        self.store.calls.clear()
        return found

    def content(self, chunks: list[ChunkReference]) -> Content:
        digest = self.hasher.content_digest(ContentKind.REGULAR, chunks)
        size_bytes = sum(chunk.size_bytes for chunk in chunks)
        return Content(ContentKind.REGULAR, digest, size_bytes, tuple(chunks))


@pytest.fixture
def packs() -> Iterator[Packs]:
    store = RecordingStore(MemoryStore())
    with local_sites(store, "bari") as (bari,):
        yield Packs(bari, store)


def _read(fetcher: Fetcher, content: Content) -> bytes:
    return b"".join(fetcher.blocks(content))


def test_chunks_that_lie_together_are_brought_by_one_request(packs: Packs) -> None:
    chunks = [os.urandom(20_000) for _ in range(30)]
    contents = packs.add(chunks, gap_bytes=1000)
    fetcher = packs.fetcher()
    fetcher.prefetch(contents)
    assert len(packs.store.names("get_range")) == 1
    assert [_read(fetcher, content) for content in contents] == chunks
    assert len(packs.store.names("get_range")) == 1


def test_chunks_that_lie_far_apart_or_in_several_packs_are_not(packs: Packs) -> None:
    apart = packs.add([os.urandom(1000), os.urandom(1000)], gap_bytes=MIB)
    other = packs.add([os.urandom(1000)])
    packs.fetcher().prefetch([*apart, *other])
    assert len(packs.store.names("get_range")) == 3


def test_a_request_has_a_bounded_size(packs: Packs) -> None:
    contents = packs.add([os.urandom(MIB) for _ in range(10)])
    packs.fetcher().prefetch(contents)
    assert len(packs.store.names("get_range")) == 2


def test_a_chunk_that_several_files_have_is_brought_once(packs: Packs) -> None:
    (content,) = packs.add([os.urandom(30_000)])
    fetcher = packs.fetcher()
    fetcher.prefetch([content, content, packs.content(list(content.chunks) * 3)])
    assert len(packs.store.names("get_range")) == 1


def test_what_is_in_the_spool_needs_no_request(packs: Packs) -> None:
    (content,) = packs.add([b"in the spool" * 100])
    name = next(iter(packs.site.store.list_names("packs/")))
    Spool(os.path.join(packs.site.state_dir, b"spool")).write(
        name, packs.store.get(name, size_bytes_max=MIB)
    )
    packs.store.calls.clear()
    fetcher = packs.fetcher()
    fetcher.prefetch([content])
    assert _read(fetcher, content) == b"in the spool" * 100
    assert packs.store.calls == []


def test_a_chunk_that_nobody_told_of_is_waited_for(packs: Packs) -> None:
    content = packs.content([ChunkReference(b"u" * 32, 5)])
    fetcher = packs.fetcher()
    fetcher.prefetch([content])
    with pytest.raises(ContentUnavailable, match="its bytes are not in the store yet"):
        _read(fetcher, content)


def test_a_chunk_of_another_size_than_the_log_says_is_refused(packs: Packs) -> None:
    (content,) = packs.add([b"ten bytes!"])
    wrong = packs.content([ChunkReference(content.chunks[0].digest, 11)])
    fetcher = packs.fetcher()
    fetcher.prefetch([wrong])
    with pytest.raises(ContentUnavailable, match="has 10 bytes, but the log says 11"):
        _read(fetcher, wrong)


def test_one_damaged_chunk_does_not_hold_back_its_neighbours(packs: Packs) -> None:
    chunks = [os.urandom(5000) for _ in range(3)]
    contents = packs.add(chunks)
    at = packs.site.journal.chunks.location(contents[1].chunks[0].digest)
    assert at is not None
    memory = packs.store.store
    assert isinstance(memory, MemoryStore)
    body = bytearray(memory._bodies[at.pack])
    body[at.offset + 100] ^= 1
    memory._bodies[at.pack] = bytes(body)
    fetcher = packs.fetcher()
    fetcher.prefetch(contents)
    assert _read(fetcher, contents[0]) == chunks[0]
    assert _read(fetcher, contents[2]) == chunks[2]
    with pytest.raises(ContentUnavailable, match="restore the object"):
        _read(fetcher, contents[1])


def test_a_chunk_comes_from_any_of_its_places_the_latest_is_asked_first(packs: Packs) -> None:
    (content,) = packs.add([b"everywhere" * 500])
    packs.add([b"everywhere" * 500])
    first, second = packs.site.journal.chunks.locations(content.chunks[0].digest)
    for gone, asked in ((None, [first]), (first, [first, second])):
        if gone is not None:
            packs.store.delete(gone.pack)
        packs.store.calls.clear()
        fetcher = packs.fetcher()
        fetcher.prefetch([content])
        assert _read(fetcher, content) == b"everywhere" * 500
        assert packs.store.names("get_range") == [each.pack for each in asked]


def test_a_store_that_can_not_tell_is_not_asked_for_another_place(packs: Packs) -> None:
    (content,) = packs.add([b"everywhere" * 500])
    packs.add([b"everywhere" * 500])

    def refuse(method: str, name: str) -> None:
        raise StoreUnavailable("no answer")

    packs.store.before = refuse
    packs.fetcher().prefetch([content])
    assert len(packs.store.names("get_range")) == 1


def test_what_no_place_gives_is_lost_once_that_has_lasted(packs: Packs) -> None:
    (content,) = packs.add([b"gone" * 500])
    digest = content.chunks[0].digest
    packs.store.delete(packs.site.journal.chunks.locations(digest)[0].pack)
    fetcher = packs.fetcher()
    for waited_s, lost in ((0.0, set()), (WANTED_AFTER_S - 1, set()), (2.0, {digest})):
        packs.site_time.advance(waited_s)
        fetcher.prefetch([content])
        assert fetcher.lost.long_lost(packs.site.clock.monotonic_s()).keys() == lost
    packs.add([b"gone" * 500])
    fetcher.prefetch([content])
    assert not fetcher.lost.long_lost(packs.site.clock.monotonic_s())


def test_small_files_are_still_in_memory_after_a_large_one_of_the_same_batch(
    packs: Packs,
) -> None:
    (small,) = packs.add([b"small"])
    pieces = [os.urandom(MIB) for _ in range(9)]
    large = packs.content([c for content in packs.add(pieces) for c in content.chunks])
    fetcher = packs.fetcher()
    fetcher.prefetch([large, small])
    assert _read(fetcher, large) == b"".join(pieces)
    assert _read(fetcher, small) == b"small"


# Large files: 12 MiB in windows of 3


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "WINDOW_SIZE_BYTES", 3 * MIB)
    monkeypatch.setattr(ranges, "RANGE_SIZE_BYTES_MAX", MIB)


def _downloads(site: LocalSite) -> list[bytes]:
    stage = site.path(b".geosync/stage")
    return [os.path.join(stage, n) for n in os.listdir(stage) if n.startswith(b"download-")]


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("failure", [Killed(), StoreUnavailable("no answer")])
def test_a_large_download_goes_on_where_it_stopped(failure: BaseException) -> None:
    content = random.Random(1).randbytes(12 * MIB)
    store = RecordingStore(MemoryStore())
    with local_sites(store, "away", "here") as (away, here):
        away.write(b"film", content)
        away.cycle()
        whole = _requests_for(store, here)
        assert here.read(b"film") == content
        os.unlink(here.path(b"film"))
        settle(here, away)
        away.write(b"copy", content + b"!")  # its last chunk is another one
        away.cycle()

        def stop(method: str, name: str) -> None:
            if method == "get_range" and len(store.names("get_range")) > whole // 2:
                raise failure

        store.before = stop
        store.calls.clear()
        try:
            run(here, rounds=2)
        except Killed:
            here.close()
            here.open()
        assert not os.path.exists(here.path(b"copy"))
        assert len(_downloads(here)) == 1
        store.before = let_pass
        rest = _requests_for(store, here)
        assert here.read(b"copy") == content + b"!"
        assert 0 < rest <= whole - 3  # a whole window at least is not asked for again
        assert _downloads(here) == []


def _requests_for(store: RecordingStore, site: LocalSite) -> int:
    store.calls.clear()
    run(site, rounds=3)
    return len(store.names("get_range"))


class _SlowStore(MemoryStore):
    """Has most ranges ready only when they are asked for once more."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int, int]] = []

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        wanted = (name, offset, length)
        is_ready = wanted in self.asked or len(set(self.asked)) % 3 == 0
        self.asked.append(wanted)
        if not is_ready:
            raise OperationUnderWay(f"{name}: it goes on in the background")
        return super().get_range(name, offset, length)


@pytest.mark.usefixtures("small_windows")
def test_a_slow_store_is_asked_again_for_the_same_ranges() -> None:
    """Else each of them would travel again, as part of another one."""
    content = random.Random(1).randbytes(12 * MIB)
    store = _SlowStore()
    with local_sites(store, "away", "here") as (away, here):
        away.write(b"film", content)
        settle(away, here)
        assert here.read(b"film") == content
    ranges = sorted(set(store.asked))
    overlaps = [(a, b) for a, b in pairwise(ranges) if a[0] == b[0] and a[1] + a[2] > b[1]]
    assert not overlaps


@pytest.mark.usefixtures("small_windows")
def test_what_was_damaged_in_an_unfinished_download_is_brought_again() -> None:
    content = random.Random(1).randbytes(12 * MIB)
    store = RecordingStore(MemoryStore())
    with local_sites(store, "away", "here") as (away, here):
        away.write(b"film", content)
        away.cycle()

        def stop(method: str, name: str) -> None:
            if method == "get_range" and len(store.names("get_range")) > 8:
                raise Killed

        store.before = stop
        with pytest.raises(Killed):
            run(here)
        here.close()
        store.before = let_pass
        (name,) = _downloads(here)
        with open(name, "r+b") as file:
            file.write(b"damaged")
        here.open()
        settle(away, here)
        assert here.read(b"film") == content


@pytest.mark.usefixtures("small_windows")
def test_a_download_that_nobody_wants_any_more_is_removed() -> None:
    store = RecordingStore(MemoryStore())
    with local_sites(store, "away", "here") as (away, here):
        away.write(b"film", os.urandom(12 * MIB))
        away.cycle()

        def stop(method: str, name: str) -> None:
            if method == "get_range" and len(store.names("get_range")) > 8:
                raise StoreUnavailable("no answer")

        store.before = stop
        run(here, rounds=2)
        assert len(_downloads(here)) == 1
        store.before = let_pass
        away.write(b"film", b"cut down to nothing")
        settle(away, here)
        assert here.read(b"film") == b"cut down to nothing"
        assert _downloads(here) == []
