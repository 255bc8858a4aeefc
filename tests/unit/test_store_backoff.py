"""A store that failed is left alone for a while, longer each time, and not after an answer."""

from __future__ import annotations

import pytest

from conflict.errors import GeosyncError
from geosync.assembly.store_backoff import (
    ASKED_PAUSE_S_MAX,
    FIRST_PAUSE_S,
    PAUSE_S_MAX,
    BackoffStore,
)
from transport.errors import ObjectNotVisible, StoreRefused, StoreUnavailable
from transport.memory_store import MemoryStore


class FailingStore(MemoryStore):
    """Raises what it is told to raise."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self.refuse_to_write: Exception | None = None
        self.asked = 0

    def put_once(self, name: str, body: bytes) -> None:
        if self.refuse_to_write is not None:
            raise self.refuse_to_write
        super().put_once(name, body)

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return super().get(name, size_bytes_max=size_bytes_max)


class Rig:
    """A failing store behind the back-off, and a clock to set."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.inner = FailingStore()
        self.store = BackoffStore(self.inner, lambda: self.now_s)

    def ask(self) -> str:
        """Returns the name of what is raised."""
        try:
            self.store.get("packs/a", size_bytes_max=1)
        except GeosyncError as error:
            return type(error).__name__
        return ""


@pytest.mark.parametrize("failure", [StoreUnavailable("gone"), StoreRefused("no")])
def test_during_the_pause_the_failure_is_repeated_without_asking(failure) -> None:
    rig = Rig()
    rig.inner.failure = failure
    first = rig.ask()
    rig.now_s += FIRST_PAUSE_S / 2
    assert rig.ask() == first == type(failure).__name__
    assert rig.inner.asked == 1
    assert rig.store.retry_in_s() == pytest.approx(FIRST_PAUSE_S / 2)


def test_each_failure_doubles_the_pause_up_to_a_bound() -> None:
    rig = Rig()
    rig.inner.failure = StoreUnavailable("gone")
    pauses = []
    for _ in range(8):
        rig.ask()
        pause_s = rig.store.retry_in_s()
        assert pause_s is not None
        pauses.append(pause_s)
        rig.now_s += pause_s
    assert pauses[:3] == pytest.approx([0.2, 0.4, 0.8])
    assert pauses[-1] == PAUSE_S_MAX
    assert rig.inner.asked == 8


def test_an_answer_ends_the_pauses_also_when_it_is_that_nothing_is_there() -> None:
    rig = Rig()
    rig.inner.failure = StoreUnavailable("gone")
    rig.ask()
    rig.now_s += PAUSE_S_MAX
    rig.inner.failure = None
    assert rig.ask() == ObjectNotVisible.__name__
    assert rig.store.retry_in_s() is None
    rig.inner.failure = StoreUnavailable("gone again")
    rig.ask()
    assert rig.store.retry_in_s() == pytest.approx(FIRST_PAUSE_S)


@pytest.mark.parametrize("failure", [StoreUnavailable("full"), StoreRefused("over the quota")])
def test_what_can_not_be_written_does_not_keep_others_from_being_read(failure) -> None:
    rig = Rig()
    rig.inner.refuse_to_write = failure
    for _ in range(5):
        with pytest.raises(type(failure)):
            rig.store.put_once("packs/a", b"a")
        assert rig.ask() == ObjectNotVisible.__name__
    assert rig.inner.asked == 5
    assert rig.store.retry_in_s() == pytest.approx(FIRST_PAUSE_S)


@pytest.mark.parametrize(("asked_s", "pause_s"), [(40.0, 40.0), (7200.0, ASKED_PAUSE_S_MAX)])
def test_a_store_that_asks_to_be_left_alone_is(asked_s: float, pause_s: float) -> None:
    rig = Rig()
    rig.inner.failure = StoreUnavailable("slow down", retry_after_s=asked_s)
    rig.ask()
    assert rig.store.retry_in_s() == pause_s
    rig.now_s += pause_s - 1
    rig.ask()
    assert rig.inner.asked == 1
    rig.inner.failure = None
    rig.now_s += 2
    rig.ask()
    assert rig.store.retry_in_s() is None


def test_all_else_goes_through() -> None:
    rig = Rig()
    rig.store.prepare()
    rig.store.put_once("packs/a", b"a")
    assert rig.store.get("packs/a", size_bytes_max=1) == b"a"
    assert rig.store.get_range("packs/a", 0, 1) == b"a"
    assert list(rig.store.list_names("packs/")) == ["packs/a"]
    rig.store.delete("packs/a")
    assert list(rig.store.list_names("packs/")) == []
    assert rig.store.counters() == rig.inner.counters()
