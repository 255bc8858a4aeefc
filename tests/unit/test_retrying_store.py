"""Retrying: what is repeated, how long, and what is said at the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from conflict.errors import MalformedValueError
from transport.errors import (
    CorruptObject,
    ObjectCollision,
    ObjectNotVisible,
    StoreRefused,
    StoreUnavailable,
)
from transport.memory_store import MemoryStore
from transport.retrying_store import RetryingStore


class FailingStore(MemoryStore):
    """Raises the given errors, one for each call, before it does what it is asked."""

    def __init__(self, errors: Iterator[Exception | None]) -> None:
        super().__init__()
        self._errors = errors
        self.calls = 0

    def _fail(self) -> None:
        self.calls += 1
        error = next(self._errors, None)
        if error is not None:
            raise error

    def put_once(self, name: str, body: bytes) -> None:
        super().put_once(name, body)  # the answer is lost, not the request
        self._fail()

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        self._fail()
        return super().get(name, size_bytes_max=size_bytes_max)

    def list_names(self, prefix: str) -> Iterator[str]:
        for name in super().list_names(prefix):
            self._fail()
            yield name


class Waiting:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pauses_s: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.now_s += seconds

    def monotonic(self) -> float:
        return self.now_s


def retrying(
    store: MemoryStore, waiting: Waiting, *, budget_s: float = 60.0, seed: int = 0
) -> RetryingStore:
    return RetryingStore(
        store,
        budget_s=budget_s,
        sleep=waiting.sleep,
        monotonic=waiting.monotonic,
        random=random.Random(seed),
    )


def failing(make: Callable[[], Exception], times: int = 1 << 30) -> FailingStore:
    return FailingStore(make() for _ in range(times))


def unavailable() -> Exception:
    return StoreUnavailable("put log/a: no answer")


def test_a_call_is_repeated_until_it_succeeds() -> None:
    waiting = Waiting()
    store = failing(unavailable, times=5)
    retrying(store, waiting).put_once("log/a", b"body")
    assert store.calls == 6
    assert len(waiting.pauses_s) == 5


def test_giving_up_says_how_often_and_how_long_and_what_was_wrong() -> None:
    waiting = Waiting()
    store = failing(unavailable)
    with pytest.raises(StoreUnavailable) as error:
        retrying(store, waiting, budget_s=30.0).put_once("log/a", b"body")
    elapsed_s = sum(waiting.pauses_s)
    assert elapsed_s <= 30.0
    assert (
        str(error.value) == f"put log/a: no answer (tried {store.calls} times in {elapsed_s:.1f} s)"
    )


@pytest.mark.parametrize("seed", range(20))
def test_pauses_are_jittered_below_a_bound_that_doubles_up_to_five_seconds(seed: int) -> None:
    waiting = Waiting()
    with pytest.raises(StoreUnavailable):
        retrying(failing(unavailable), waiting, budget_s=600.0, seed=seed).put_once(
            "log/a", b"body"
        )
    bounds_s = [min(5.0, 0.1 * 2**attempt) for attempt in range(len(waiting.pauses_s))]
    pairs = list(zip(waiting.pauses_s, bounds_s, strict=True))
    assert all(0.0 <= pause_s <= bound_s for pause_s, bound_s in pairs)
    assert any(pause_s < bound_s / 2 for pause_s, bound_s in pairs)
    assert max(waiting.pauses_s) > 2.5


def test_nothing_is_tried_again_without_a_budget() -> None:
    waiting = Waiting()
    store = failing(unavailable)
    with pytest.raises(StoreUnavailable, match="tried 1 times"):
        retrying(store, waiting, budget_s=0.0).put_once("log/a", b"body")
    assert store.calls == 1


def test_a_store_that_asks_to_be_left_alone_is_left_alone() -> None:
    waiting = Waiting()
    store = failing(lambda: StoreUnavailable("busy", retry_after_s=7.0), times=1)
    retrying(store, waiting).put_once("log/a", b"body")
    assert waiting.pauses_s[0] >= 7.0


def test_a_store_that_asks_for_longer_than_the_budget_is_given_up_at_once() -> None:
    waiting = Waiting()
    store = failing(lambda: StoreUnavailable("maintenance", retry_after_s=3600.0))
    with pytest.raises(StoreUnavailable) as error:
        retrying(store, waiting).put_once("log/a", b"body")
    assert waiting.pauses_s == []
    assert error.value.retry_after_s == 3600.0


@pytest.mark.parametrize(
    "kind", [StoreRefused, ObjectCollision, ObjectNotVisible, MalformedValueError]
)
def test_an_answer_is_not_asked_for_again(kind: type[Exception]) -> None:
    store = failing(lambda: kind("no"))
    with pytest.raises(kind, match=r"^no$"):
        retrying(store, Waiting()).get("log/a", size_bytes_max=10)
    assert store.calls == 1


def test_damage_is_read_again_a_few_times_because_another_replica_may_be_sound() -> None:
    store = failing(lambda: CorruptObject("damaged"), times=2)
    store._bodies["log/a"] = b"body"
    assert retrying(store, Waiting()).get("log/a", size_bytes_max=10) == b"body"
    store = failing(lambda: CorruptObject("damaged"))
    with pytest.raises(CorruptObject, match="tried 3 times"):
        retrying(store, Waiting()).get("log/a", size_bytes_max=10)


def test_a_listing_that_breaks_off_goes_on_where_it_was() -> None:
    names = [f"log/{number:02}" for number in range(20)]
    errors = (StoreUnavailable("broken") if call in {3, 4, 20} else None for call in range(99))
    store = FailingStore(errors)
    for name in names:
        store._bodies[name] = b""
    assert list(retrying(store, Waiting()).list_names("log/")) == names


def test_a_listing_that_never_advances_ends() -> None:
    store = failing(unavailable)
    store._bodies["log/a"] = b""
    with pytest.raises(StoreUnavailable, match="tried"):
        list(retrying(store, Waiting()).list_names("log/"))


def test_an_exception_of_the_sleep_ends_the_operation() -> None:
    """A daemon that is told to stop does not wait for the budget."""

    def interrupted(_: float) -> None:
        raise InterruptedError

    store = RetryingStore(
        failing(unavailable),
        budget_s=60.0,
        sleep=interrupted,
        monotonic=lambda: 0.0,
        random=random.Random(0),
    )
    with pytest.raises(InterruptedError):
        store.put_once("log/a", b"body")
