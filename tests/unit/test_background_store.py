"""A store in the background: nobody waits long, nothing is asked twice, all results arrive."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from geosync.assembly import background_store
from geosync.assembly.background_store import BackgroundStore
from tests.support.await_condition import await_condition
from transport.errors import ObjectNotVisible, OperationUnderWay
from transport.memory_store import MemoryStore


class SlowStore(MemoryStore):
    """A store whose `get_range` and `put_once` end when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = threading.Event()
        self.asked: list[str] = []

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        self.asked.append(name)
        assert self.may_go_on.wait(60)
        return super().get_range(name, offset, length)

    def put_once(self, name: str, body: bytes) -> None:
        self.asked.append(name)
        assert self.may_go_on.wait(60)
        super().put_once(name, body)


@pytest.fixture
def slow() -> Iterator[SlowStore]:
    """A slow store with one object; whatever still waits in the end is let go."""
    store = SlowStore()
    MemoryStore.put_once(store, "packs/a", b"0123456789")
    yield store
    store.may_go_on.set()


def _background(store: MemoryStore, patience_s: float | None = 0.01) -> BackgroundStore:
    return BackgroundStore(
        store, patience_s=patience_s, monotonic=time.monotonic, on_slow_end=lambda: None
    )


def test_what_is_fast_is_as_without_it() -> None:
    store = _background(MemoryStore(), None)
    store.prepare()
    store.put_once("packs/a", b"abc")
    assert store.get("packs/a", size_bytes_max=10) == b"abc"
    assert store.get_range("packs/a", 1, 1) == b"b"
    assert list(store.list_names("packs/")) == ["packs/a"]
    store.delete("packs/a")
    with pytest.raises(ObjectNotVisible):
        store.get("packs/a", size_bytes_max=10)
    assert store.counters().requests > 0


def test_a_slow_operation_goes_on_and_the_same_call_gets_its_result(slow) -> None:
    store = _background(slow)
    for _ in range(3):
        with pytest.raises(OperationUnderWay, match="packs/a: under way"):
            store.get_range("packs/a", 2, 3)
    slow.may_go_on.set()
    await_condition(lambda: _result(store) == b"234", "the result arrives")
    assert slow.asked == ["packs/a"]


def _result(store: BackgroundStore) -> bytes | None:
    try:
        return store.get_range("packs/a", 2, 3)
    except OperationUnderWay:
        return None


def test_what_was_read_slowly_is_kept_for_a_while_and_then_asked_for_anew(
    slow, monkeypatch
) -> None:
    store = _background(slow)
    assert _result(store) is None
    slow.may_go_on.set()
    await_condition(lambda: _result(store), "the result arrives")
    assert _result(store) == b"234"
    assert slow.asked == ["packs/a"]
    monkeypatch.setattr(background_store, "RESULTS_KEPT_S", -1.0)
    assert _result(store) == b"234"
    assert slow.asked == ["packs/a"] * 2


def test_what_is_kept_does_not_grow_beyond_its_bound(slow, monkeypatch) -> None:
    store = _background(slow)
    assert _result(store) is None
    slow.may_go_on.set()
    await_condition(lambda: _result(store), "the result arrives")
    monkeypatch.setattr(background_store, "RESULTS_SIZE_BYTES_MAX", 2)
    assert _result(store) == b"234"
    assert slow.asked == ["packs/a"] * 2


def test_the_end_of_a_slow_operation_is_told(slow) -> None:
    told = threading.Event()
    store = BackgroundStore(slow, patience_s=0.01, monotonic=time.monotonic, on_slow_end=told.set)
    with pytest.raises(OperationUnderWay):
        store.put_once("packs/b", b"b")
    assert not told.is_set()
    slow.may_go_on.set()
    assert told.wait(60)
    store.put_once("packs/b", b"b")
    assert slow.asked == ["packs/b"]


def test_end_wakes_those_who_wait_for_ever(slow) -> None:
    store = _background(slow, None)
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            store.get_range("packs/a", 0, 1)
        except OperationUnderWay as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    await_condition(lambda: slow.asked, "the question is under way")
    store.end()
    thread.join(60)
    assert len(raised) == 1


def test_no_more_operations_run_than_the_limit_says(slow, monkeypatch) -> None:
    monkeypatch.setattr(background_store, "RUNNING_MAX", 2)
    store = _background(slow)
    for offset in range(4):
        with pytest.raises(OperationUnderWay):
            store.get_range("packs/a", offset, 1)
    assert len(slow.asked) == 2


def test_errors_are_raised_once_and_the_next_call_asks_anew() -> None:
    memory = MemoryStore()
    store = _background(memory, None)
    with pytest.raises(ObjectNotVisible):
        store.get("packs/a", size_bytes_max=1)
    memory.put_once("packs/a", b"a")
    assert store.get("packs/a", size_bytes_max=1) == b"a"
