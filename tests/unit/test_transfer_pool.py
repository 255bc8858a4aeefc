"""The pool works in parallel, keeps the order, and begins only so much ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from geosync.assembly.transfer_pool import AHEAD_PER_WORKER, TransferPool


@pytest.fixture
def pool() -> Iterator[TransferPool]:
    made = TransferPool(3)
    yield made
    made.close()


def test_results_come_in_the_order_of_the_items(pool) -> None:
    done = [threading.Event() for _ in range(3)]

    def wait_for_the_next(number: int) -> int:
        if number + 1 < len(done):
            assert done[number + 1].wait(60)  # so the last one ends first, and all run at once
        done[number].set()
        return number * 10

    assert list(pool.map(wait_for_the_next, range(3))) == [0, 10, 20]


def test_an_exception_comes_in_its_turn(pool) -> None:
    def fail_at_two(number: int) -> int:
        if number == 2:
            raise LookupError(number)
        return number

    results = pool.map(fail_at_two, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(LookupError):
        next(results)


def test_no_more_is_begun_ahead_than_the_bound(pool) -> None:
    begun: list[int] = []
    results = pool.map(begun.append, iter(range(1000)))
    next(results)
    assert len(begun) <= 3 * AHEAD_PER_WORKER
    results.close()


def test_no_items_give_no_results(pool) -> None:
    assert list(pool.map(str, [])) == []
