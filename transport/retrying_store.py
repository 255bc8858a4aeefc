"""An object store that asks again: backoff with full jitter around any other store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from transport.errors import CorruptObject, StoreUnavailable

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from transport.object_store import ObjectStore, StoreCounters

_T = TypeVar("_T")

_FIRST_PAUSE_S_MAX: Final = 0.1
_PAUSE_S_MAX: Final = 5.0
_CORRUPT_ATTEMPTS_MAX: Final = 3


class RetryingStore:
    """An `ObjectStore` that repeats what another store could not do now, within a time budget.

    `StoreUnavailable` is repeated until the budget is spent, `CorruptObject` a few times, because
    another replica may be sound. All else is an answer. A repeated `put_once` sends the same
    bytes, so it is safe after an answer that was lost.

    The pauses follow "full jitter" (Brooker, Exponential Backoff And Jitter, AWS 2015): uniform
    between nothing and a bound that doubles, so that many clients do not come back at one time.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        budget_s: float,
        sleep: Callable[[float], object],
        monotonic: Callable[[], float],
        random: random.Random,
    ) -> None:
        """Takes the store, and how to wait.

        Args:
            store: does the work.
            budget_s: no new attempt begins later than this after the first one.
            sleep: waits so many seconds; an exception from it ends the operation.
            monotonic: the time in seconds, from any origin.
            random: where the jitter comes from.
        """
        self._store = store
        self._budget_s = budget_s
        self._sleep = sleep
        self._monotonic = monotonic
        self._random = random

    def prepare(self) -> None:
        """Creates what is missing; see `ObjectStore.prepare`."""
        self._repeat(self._store.prepare)

    def put_once(self, name: str, body: bytes) -> None:
        """Stores the bytes; see `ObjectStore.put_once`."""
        self._repeat(lambda: self._store.put_once(name, body))

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns the bytes; see `ObjectStore.get`."""
        return self._repeat(lambda: self._store.get(name, size_bytes_max=size_bytes_max))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns part of the bytes; see `ObjectStore.get_range`."""
        return self._repeat(lambda: self._store.get_range(name, offset, length))

    def list_names(self, prefix: str) -> Iterator[str]:
        """Yields names, none twice, also when it has to begin again; see `ObjectStore`."""
        last = ""
        patience = self._new_patience()
        while True:
            try:
                for name in self._store.list_names(prefix):
                    if name > last:
                        yield name
                        last = name
                        patience = self._new_patience()
            except StoreUnavailable as error:
                patience.pause(error)
            else:
                return

    def delete(self, name: str) -> None:
        """Removes the object; see `ObjectStore.delete`."""
        self._repeat(lambda: self._store.delete(name))

    def counters(self) -> StoreCounters:
        """Returns what the other store did, repetitions included."""
        return self._store.counters()

    def close(self) -> None:
        """Closes the other store."""
        self._store.close()

    def _new_patience(self) -> _Patience:
        return _Patience(self._budget_s, self._sleep, self._monotonic, self._random)

    def _repeat(self, operation: Callable[[], _T]) -> _T:
        patience = self._new_patience()
        while True:
            try:
                return operation()
            except (StoreUnavailable, CorruptObject) as error:
                patience.pause(error)


class _Patience:
    """How often one operation failed, and how much longer it may be tried."""

    def __init__(
        self,
        budget_s: float,
        sleep: Callable[[float], object],
        monotonic: Callable[[], float],
        random: random.Random,
    ) -> None:
        self._budget_s = budget_s
        self._sleep = sleep
        self._monotonic = monotonic
        self._random = random
        self._started_s = monotonic()
        self._attempts = 0
        self._corrupt_attempts = 0

    def pause(self, error: StoreUnavailable | CorruptObject) -> None:
        """Waits before the next attempt, or gives up with the error, saying what was tried."""
        self._attempts += 1
        elapsed_s = self._monotonic() - self._started_s
        tried = f"{error} (tried {self._attempts} times in {elapsed_s:.1f} s)"
        if isinstance(error, CorruptObject):
            self._corrupt_attempts += 1
            if self._corrupt_attempts >= _CORRUPT_ATTEMPTS_MAX:
                raise CorruptObject(tried) from error
        pause_s = self._pause_s(error)
        if elapsed_s + pause_s > self._budget_s:
            if isinstance(error, CorruptObject):
                raise CorruptObject(tried) from error
            raise StoreUnavailable(tried, retry_after_s=error.retry_after_s) from error
        self._sleep(pause_s)

    def _pause_s(self, error: StoreUnavailable | CorruptObject) -> float:
        # The exponent is bounded too: 2**2000 is no float.
        bound_s = min(_PAUSE_S_MAX, _FIRST_PAUSE_S_MAX * 2 ** min(self._attempts - 1, 10))
        jitter_s = self._random.uniform(0, bound_s)
        asked_s = error.retry_after_s if isinstance(error, StoreUnavailable) else None
        return jitter_s + (asked_s or 0.0)
