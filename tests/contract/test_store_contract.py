"""What every object store promises: memory, directory, retrying, simulated and real Swift."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conflict.errors import MalformedValueError
from geosync.demo.swift_server import SwiftServer
from tests.simulation.simulated_clock import SimulatedTime
from tests.simulation.simulated_store import SimulatedStore
from transport.directory_store import DirectoryStore
from transport.errors import CorruptObject, ObjectCollision, ObjectNotVisible
from transport.memory_store import MemoryStore
from transport.object_store import ObjectStore
from transport.retrying_store import RetryingStore
from transport.swift_credentials import resolve_credentials
from transport.swift_store import open_swift_store

SIZE_BYTES_MAX = 1 << 20
EVERY_BYTE = bytes(range(256))


@pytest.fixture(params=["memory", "directory", "retrying", "simulated", "swift"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_swift_volume_name: str
) -> Iterator[ObjectStore]:
    def swift_store() -> ObjectStore:
        server: SwiftServer = request.getfixturevalue("swift_server")
        table = {"auth_url": server.auth_url, "user": server.user, "key": server.key}
        return open_swift_store(resolve_credentials(table, {}), fresh_swift_volume_name)

    def retrying_store() -> ObjectStore:
        return RetryingStore(
            MemoryStore(),
            budget_s=1.0,
            sleep=time.sleep,
            monotonic=time.monotonic,
            random=random.Random(0),
        )

    makers: dict[str, Callable[[], ObjectStore]] = {
        "memory": MemoryStore,
        "directory": lambda: DirectoryStore(os.fsencode(tmp_path / "store")),
        "retrying": retrying_store,
        "simulated": lambda: SimulatedStore(SimulatedTime(), random.Random(0)).client("a"),
        "swift": swift_store,
    }
    store = makers[request.param]()
    store.prepare()
    yield store
    store.close()


def get(store: ObjectStore, name: str) -> bytes:
    return store.get(name, size_bytes_max=SIZE_BYTES_MAX)


@pytest.mark.parametrize(
    "body", [b"", b"\x00", EVERY_BYTE, b"<html>", os.urandom(SIZE_BYTES_MAX)], ids=len
)
def test_what_was_put_is_what_is_got(store: ObjectStore, body: bytes) -> None:
    store.put_once("log/a/1", body)
    assert get(store, "log/a/1") == body


def test_putting_equal_bytes_again_succeeds(store: ObjectStore) -> None:
    store.put_once("log/a/1", EVERY_BYTE)
    store.put_once("log/a/1", EVERY_BYTE)
    assert get(store, "log/a/1") == EVERY_BYTE


@pytest.mark.parametrize("other", [b"", b"one?", b"one, and more", b"two"])
def test_a_name_keeps_its_first_bytes(store: ObjectStore, other: bytes) -> None:
    store.put_once("log/a/1", b"one!")
    with pytest.raises(ObjectCollision, match="other bytes"):
        store.put_once("log/a/1", other)
    assert get(store, "log/a/1") == b"one!"


def test_an_object_that_nobody_put_is_not_visible(store: ObjectStore) -> None:
    store.put_once("log/a/1", b"one")
    for name in ("log/a/2", "log/b", "log/b/1", "packs/a/1"):
        with pytest.raises(ObjectNotVisible):
            get(store, name)
        with pytest.raises(ObjectNotVisible):
            store.get_range(name, 0, 1)


def test_an_object_may_have_exactly_the_size_that_is_allowed(store: ObjectStore) -> None:
    store.put_once("log/a", b"12345")
    assert store.get("log/a", size_bytes_max=5) == b"12345"
    with pytest.raises(CorruptObject, match="5 bytes"):
        store.get("log/a", size_bytes_max=4)
    assert store.get("log/a", size_bytes_max=5) == b"12345"


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (0, 256), (255, 1), (7, 100)])
def test_a_range_is_exactly_the_bytes_asked_for(
    store: ObjectStore, offset: int, length: int
) -> None:
    store.put_once("packs/a", EVERY_BYTE)
    assert store.get_range("packs/a", offset, length) == EVERY_BYTE[offset : offset + length]


@pytest.mark.parametrize(("offset", "length"), [(0, 257), (255, 2), (256, 1), (5000, 10)])
def test_a_range_beyond_the_end_is_an_error_and_not_fewer_bytes(
    store: ObjectStore, offset: int, length: int
) -> None:
    store.put_once("packs/a", EVERY_BYTE)
    with pytest.raises(CorruptObject, match="cut short"):
        store.get_range("packs/a", offset, length)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 0), (3, -1)])
def test_a_range_without_bytes_is_refused(store: ObjectStore, offset: int, length: int) -> None:
    store.put_once("packs/a", EVERY_BYTE)
    with pytest.raises(MalformedValueError):
        store.get_range("packs/a", offset, length)


def test_a_listing_has_the_names_with_the_prefix_in_byte_order(store: ObjectStore) -> None:
    names = ["log/a-b/1", "log/a.b", "log/a/1", "log/a/10", "log/a/2", "log/a_b", "log/A", "log/b"]
    for name in [*names, "packs/a/1", "volume/a"]:
        store.put_once(name, b"body")
    assert list(store.list_names("log/")) == sorted(names)
    assert list(store.list_names("log/a/")) == ["log/a/1", "log/a/10", "log/a/2"]
    assert list(store.list_names("log/a/1")) == ["log/a/1", "log/a/10"]
    assert list(store.list_names("log/a")) == sorted(name for name in names if "/a" in name)
    assert list(store.list_names("log/c")) == []
    assert list(store.list_names("log/c/d/")) == []


def test_a_listing_has_more_names_than_a_page(store: ObjectStore) -> None:
    names = [f"log/{number:04}" for number in range(1003)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: store.put_once(name, b""), names))
    assert list(store.list_names("log/")) == names


def test_a_deleted_object_is_gone_and_deleting_it_again_is_fine(store: ObjectStore) -> None:
    store.put_once("packs/a/1", b"one")
    store.put_once("packs/a/2", b"two")
    for _ in range(2):
        store.delete("packs/a/1")
    store.delete("packs/never/was/there")
    with pytest.raises(ObjectNotVisible):
        get(store, "packs/a/1")
    assert list(store.list_names("packs/")) == ["packs/a/2"]


def test_preparing_again_keeps_what_is_there(store: ObjectStore) -> None:
    store.put_once("volume/settings", b"kept")
    store.prepare()
    assert get(store, "volume/settings") == b"kept"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "log",
        "log/",
        "/log/a",
        "log//a",
        "log/./a",
        "log/../packs/a",
        "log/a/",
        "log/a b",
        "log/a\n",
        "log/ä",
        "log/%41",
        "log/a?b",
        "elsewhere/a",
        "log/" + "a" * 201,
        "log" + "/abcdefgh" * 120,
    ],
)
def test_a_malformed_name_is_refused_by_each_operation(store: ObjectStore, name: str) -> None:
    for operation in (
        lambda: store.put_once(name, b""),
        lambda: get(store, name),
        lambda: store.get_range(name, 0, 1),
        lambda: store.delete(name),
    ):
        with pytest.raises(MalformedValueError, match="not an object name"):
            operation()


@pytest.mark.parametrize("prefix", ["", "log", "log//", "log/../", "else/", "log/a b"])
def test_a_prefix_that_no_name_has_is_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(MalformedValueError):
        list(store.list_names(prefix))


def test_the_longest_names_work(store: ObjectStore) -> None:
    name = "log/" + "/".join("abcdefgh"[i] * 198 for i in range(5)) + "/x"
    assert len(name) == 1000
    store.put_once(name, b"long")
    assert get(store, name) == b"long"
    assert list(store.list_names("log/aaa")) == [name]


def test_of_two_writers_of_one_name_at_most_one_set_of_bytes_is_acknowledged_later(
    store: ObjectStore,
) -> None:
    """Racing writers may both be told 'stored' by Swift; whoever asks again learns the truth."""
    bodies = [bytes([number]) * 1000 for number in range(4)]
    barrier = threading.Barrier(len(bodies))

    def write(body: bytes) -> bool:
        barrier.wait()
        return is_acknowledged(store, body)

    with ThreadPoolExecutor(len(bodies)) as pool:
        assert any(pool.map(write, bodies))
    winner = get(store, "log/race")
    assert [body for body in bodies if is_acknowledged(store, body)] == [winner]


def is_acknowledged(store: ObjectStore, body: bytes) -> bool:
    try:
        store.put_once("log/race", body)
    except ObjectCollision:
        return False
    return True


def test_threads_that_share_a_store_get_their_own_answers(store: ObjectStore) -> None:
    bodies = {f"packs/{number}": os.urandom(1000 + number) for number in range(40)}

    def write_and_read(name: str) -> bool:
        store.put_once(name, bodies[name])
        part = store.get_range(name, 10, 900)
        return get(store, name) == bodies[name] and part == bodies[name][10:910]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write_and_read, bodies))
    assert set(store.list_names("packs/")) == set(bodies)


def test_the_counters_count_requests_and_bytes(store: ObjectStore) -> None:
    before = store.counters()
    store.put_once("log/a", b"12345")
    get(store, "log/a")
    store.get_range("log/a", 1, 2)
    after = store.counters()
    assert after.requests - before.requests == 3
    assert after.upload_bytes - before.upload_bytes == 5
    assert after.download_bytes - before.download_bytes == 7
