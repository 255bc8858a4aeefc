"""The intake: small chunks travel in segments, large ones in packs, known ones not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from conflict.operations import Put
from tests.support.local_sites import LocalSite, local_sites, operations_of, settle
from tests.support.recording_store import RecordingStore
from transport.memory_store import MemoryStore
from transport.segment import INLINE_CHUNK_SIZE_BYTES_MAX, INLINE_SIZE_BYTES_MAX

LARGE_SIZE_BYTES = 100_000


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore(MemoryStore())


@pytest.fixture
def bari(store: RecordingStore) -> Iterator[LocalSite]:
    with local_sites(store, "bari") as (site,):
        site.cycle()
        store.calls.clear()
        yield site


def _packs(store: RecordingStore) -> list[str]:
    return [name for name in store.names("put_once") if name.startswith("packs/")]


def test_a_small_change_costs_one_request(store: RecordingStore, bari: LocalSite) -> None:
    bari.write(b"small", os.urandom(INLINE_CHUNK_SIZE_BYTES_MAX))
    bari.cycle()
    (name,) = store.names("put_once")
    assert name.startswith("log/")


def test_a_larger_content_goes_into_a_pack(store: RecordingStore, bari: LocalSite) -> None:
    bari.write(b"larger", os.urandom(INLINE_CHUNK_SIZE_BYTES_MAX + 1))
    bari.cycle()
    assert len(_packs(store)) == 1


def test_many_small_files_share_a_pack_once_the_segment_is_full(
    store: RecordingStore, bari: LocalSite
) -> None:
    count = 3 * INLINE_SIZE_BYTES_MAX // 10_000
    for number in range(count):
        bari.write(b"%d" % number, os.urandom(10_000))
    bari.cycle()
    assert len(_packs(store)) == 1
    chunks = bari.journal.chunks
    contents = [o.content for o in operations_of(bari, store) if isinstance(o, Put)]
    digests = {chunk.digest for content in contents for chunk in content.chunks}
    assert len(digests) == count
    inline = {digest for digest in digests if chunks.inline_chunk(digest) is not None}
    assert len(inline) == INLINE_SIZE_BYTES_MAX // 10_000
    assert all(chunks.location(digest) is not None for digest in digests - inline)


def test_room_in_a_segment_is_shared_by_all_captures_before_it(
    store: RecordingStore, bari: LocalSite
) -> None:
    """While the store is away, several captures fill one segment: it must not become too large."""

    for number in range(3):
        for piece in range(15):
            bari.write(b"%d/%d" % (number + 10, piece), os.urandom(10_000))
        assert bari.cycle_alone().captured > 0
    settle(bari)
    assert len(_packs(store)) >= 1


def test_equal_contents_are_sent_once(store: RecordingStore, bari: LocalSite) -> None:
    content = os.urandom(LARGE_SIZE_BYTES)
    bari.write(b"first", content)
    bari.write(b"second", content)
    bari.cycle()
    uploaded = store.counters().upload_bytes
    assert uploaded < 2 * LARGE_SIZE_BYTES
    shutil.copy(bari.path(b"first"), bari.path(b"third"))
    bari.cycle()
    assert store.counters().upload_bytes - uploaded < 2000


def test_what_another_site_sent_is_not_sent_again(store: RecordingStore) -> None:
    content = os.urandom(LARGE_SIZE_BYTES)
    with local_sites(store, "bari", "cnaf") as (bari, cnaf):
        bari.write(b"from bari", content)
        settle(bari, cnaf)
        uploaded = store.counters().upload_bytes
        cnaf.write(b"copied by hand", content)
        settle(cnaf, bari)
        assert bari.read(b"copied by hand") == content
        assert store.counters().upload_bytes - uploaded < 2000


def test_a_change_in_a_large_file_sends_what_is_new(store: RecordingStore, bari: LocalSite) -> None:
    content = os.urandom(6_000_000)
    bari.write(b"film", content)
    bari.cycle()
    uploaded = store.counters().upload_bytes
    bari.write(b"film", content[:3_000_000] + b"inserted" + content[3_000_000:])
    bari.cycle()
    assert store.counters().upload_bytes - uploaded < 3_000_000


def test_links_and_pipes_have_no_bytes_to_send(store: RecordingStore, bari: LocalSite) -> None:
    os.symlink(b"\xff nowhere", bari.path(b"link"))
    os.mkfifo(bari.path(b"pipe"))
    bari.cycle()
    assert len(store.names("put_once")) == 1
    with local_sites(store, "cnaf") as (cnaf,):
        settle(cnaf, bari)
        assert os.readlink(cnaf.path(b"link")) == b"\xff nowhere"


def test_the_number_of_a_pack_is_not_used_twice_after_a_restart(
    store: RecordingStore, bari: LocalSite
) -> None:
    for number in range(3):
        bari.write(b"%d" % number, os.urandom(LARGE_SIZE_BYTES))
        bari.cycle()
        bari.reopen()
    assert len(set(_packs(store))) == 3
