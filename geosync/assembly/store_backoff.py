"""An object store that is left alone for a while after it failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from conflict.errors import GeosyncError
from transport.errors import StoreRefused, StoreUnavailable
from transport.object_store import ObjectStore, StoreCounters

FIRST_PAUSE_S: Final = 0.2
PAUSE_S_MAX: Final = 5.0

_T = TypeVar("_T")


class BackoffStore:
    """Answers with the last failure, at once, until a pause is over; each failure doubles it.

    So whoever asks can go on with what needs no store, instead of waiting with it.
    """

    def __init__(self, store: ObjectStore, monotonic: Callable[[], float]) -> None:
        """Takes the store, and the time in seconds from any origin."""
        self._store = store
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failure: StoreUnavailable | StoreRefused | None = None
        self._failed_at_s = 0.0
        self._pause_s = 0.0

    def retry_in_s(self) -> float | None:
        """Returns how long the store is left alone from now on; None when it is not."""
        with self._lock:
            if self._failure is None:
                return None
            return max(0.0, self._failed_at_s + self._pause_s - self._monotonic())

    def prepare(self) -> None:
        """Creates what is missing; see `ObjectStore.prepare`."""
        self._ask(self._store.prepare)

    def put_once(self, name: str, body: bytes) -> None:
        """Stores the bytes; see `ObjectStore.put_once`."""
        self._ask(lambda: self._store.put_once(name, body))

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns the bytes; see `ObjectStore.get`."""
        return self._ask(lambda: self._store.get(name, size_bytes_max=size_bytes_max))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns part of the bytes; see `ObjectStore.get_range`."""
        return self._ask(lambda: self._store.get_range(name, offset, length))

    def list_names(self, prefix: str) -> Iterator[str]:
        """Returns names, all at once; see `ObjectStore.list_names`."""
        return iter(self._ask(lambda: list(self._store.list_names(prefix))))

    def delete(self, name: str) -> None:
        """Removes the object; see `ObjectStore.delete`."""
        self._ask(lambda: self._store.delete(name))

    def counters(self) -> StoreCounters:
        """Returns what the other store did."""
        return self._store.counters()

    def close(self) -> None:
        """Closes the other store."""
        self._store.close()

    def _ask(self, operation: Callable[[], _T]) -> _T:
        with self._lock:
            failure = self._failure
            now_s = self._monotonic()
            if failure is not None and now_s < self._failed_at_s + self._pause_s:
                raise type(failure)(str(failure))
        try:
            result = operation()
        except (StoreUnavailable, StoreRefused) as error:
            self._note_failure(error, begun_at_s=now_s)
            raise
        except GeosyncError:  # an answer: the store is there
            self._note_success()
            raise
        self._note_success()
        return result

    def _note_failure(self, error: StoreUnavailable | StoreRefused, *, begun_at_s: float) -> None:
        with self._lock:
            # Of several operations that fail together, one counts.
            if self._failure is None or begun_at_s >= self._failed_at_s:
                self._pause_s = min(PAUSE_S_MAX, self._pause_s * 2 or FIRST_PAUSE_S)
                self._failed_at_s = self._monotonic()
            self._failure = error

    def _note_success(self) -> None:
        with self._lock:
            self._failure = None
            self._pause_s = 0.0
