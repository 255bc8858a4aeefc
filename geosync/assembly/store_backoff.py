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
ASKED_PAUSE_S_MAX: Final = 300.0  # that a store may ask for, by Retry-After

_T = TypeVar("_T")


class _Pause:
    """How long operations of one kind are left alone. Not safe for several threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failed_at_s = 0.0
        self._pause_s = 0.0
        self.failure: StoreUnavailable | StoreRefused | None = None

    def left_s(self) -> float:
        """Returns how long it lasts from now on."""
        if self.failure is None:
            return 0.0
        return max(0.0, self._failed_at_s + self._pause_s - self._monotonic())

    def note_failure(self, error: StoreUnavailable | StoreRefused, *, begun_at_s: float) -> None:
        # Of several operations that fail together, one counts.
        if self.failure is None or begun_at_s >= self._failed_at_s:
            self._pause_s = min(PAUSE_S_MAX, self._pause_s * 2 or FIRST_PAUSE_S)
            self._failed_at_s = self._monotonic()
        asked_s = error.retry_after_s if isinstance(error, StoreUnavailable) else None
        self._pause_s = max(self._pause_s, min(asked_s or 0.0, ASKED_PAUSE_S_MAX))
        self.failure = error

    def note_success(self) -> None:
        self.failure = None
        self._pause_s = 0.0


class BackoffStore:
    """Answers with the last failure, at once, until a pause is over; each failure doubles it.

    So whoever asks can go on with what needs no store, instead of waiting with it. Reading and
    writing are left alone apart: a store that is full, or over a quota, can be read all the same.
    A pause is as long as the store asked for, within reason.
    """

    def __init__(self, store: ObjectStore, monotonic: Callable[[], float]) -> None:
        """Takes the store, and the time in seconds from any origin."""
        self._store = store
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._reading = _Pause(monotonic)
        self._writing = _Pause(monotonic)

    def retry_in_s(self) -> float | None:
        """Returns how long the store is left alone from now on; None when it is not."""
        with self._lock:
            pauses = [each for each in (self._reading, self._writing) if each.failure is not None]
            return min((pause.left_s() for pause in pauses), default=None)

    def prepare(self) -> None:
        """Creates what is missing; see `ObjectStore.prepare`."""
        self._ask(self._writing, self._store.prepare)

    def put_once(self, name: str, body: bytes) -> None:
        """Stores the bytes; see `ObjectStore.put_once`."""
        self._ask(self._writing, lambda: self._store.put_once(name, body))

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns the bytes; see `ObjectStore.get`."""
        return self._ask(
            self._reading, lambda: self._store.get(name, size_bytes_max=size_bytes_max)
        )

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns part of the bytes; see `ObjectStore.get_range`."""
        return self._ask(self._reading, lambda: self._store.get_range(name, offset, length))

    def list_names(self, prefix: str) -> Iterator[str]:
        """Returns names, all at once; see `ObjectStore.list_names`."""
        return iter(self._ask(self._reading, lambda: list(self._store.list_names(prefix))))

    def delete(self, name: str) -> None:
        """Removes the object; see `ObjectStore.delete`."""
        self._ask(self._writing, lambda: self._store.delete(name))

    def counters(self) -> StoreCounters:
        """Returns what the other store did."""
        return self._store.counters()

    def close(self) -> None:
        """Closes the other store."""
        self._store.close()

    def _ask(self, pause: _Pause, operation: Callable[[], _T]) -> _T:
        with self._lock:
            failure = pause.failure
            if failure is not None and pause.left_s() > 0:
                raise type(failure)(str(failure))
            now_s = self._monotonic()
        try:
            result = operation()
        except (StoreUnavailable, StoreRefused) as error:
            with self._lock:
                pause.note_failure(error, begun_at_s=now_s)
            raise
        except GeosyncError:  # an answer: the store is there
            with self._lock:
                pause.note_success()
            raise
        with self._lock:
            pause.note_success()
        return result
