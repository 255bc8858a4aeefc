"""An object store whose operations go on in the background when they take long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from transport.errors import OperationUnderWay, StoreUnavailable
from transport.object_store import ObjectStore, StoreCounters

RUNNING_MAX: Final = 32
RESULTS_KEPT_S: Final = 60.0
RESULTS_SIZE_BYTES_MAX: Final = 80 * 1024 * 1024  # all that is asked for at a time, or more

_T = TypeVar("_T")
_Key = tuple[object, ...]


@dataclass(slots=True)
class _Operation:
    """One operation, from its begin until its result was handed out or is too old."""

    begun_at_s: float
    is_done: bool = False
    is_slow: bool = False  # somebody stopped waiting for it
    ended_at_s: float = 0.0
    result: object = None
    error: BaseException | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.result) if isinstance(self.result, bytes) else 0


class BackgroundStore:
    """An `ObjectStore` that nobody waits for longer than `patience_s`.

    An operation that takes longer raises `OperationUnderWay` and goes on; the same call, made
    again, waits for the same operation and gets its result. Objects never change, so what was
    read slowly is kept for a while: a caller that needs several objects at a time has them all
    in the end, however slow the store is.

    RACE: a process may end while an operation is under way. A `put_once` may then have stored its
    object or not, which is what its caller has to expect anyway.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        patience_s: float | None,
        monotonic: Callable[[], float],
        on_slow_end: Callable[[], object],
    ) -> None:
        """Takes the store, and how to wait.

        Args:
            store: does the work, in threads of this object's own.
            patience_s: how long a call waits; None: until `end`.
            monotonic: the time in seconds, from any origin.
            on_slow_end: called, in any thread, when an operation ends that nobody waits for.
        """
        self._store = store
        self._patience_s = patience_s
        self._monotonic = monotonic
        self._on_slow_end = on_slow_end
        self._changed = threading.Condition()
        self._operations: dict[_Key, _Operation] = {}
        self._is_ending = False

    def end(self) -> None:
        """Ends all waiting, now and later. May be called from any thread, and a signal handler."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()

    def prepare(self) -> None:
        """Creates what is missing; see `ObjectStore.prepare`."""
        self._run(("prepare",), self._store.prepare)

    def put_once(self, name: str, body: bytes) -> None:
        """Stores the bytes; see `ObjectStore.put_once`."""
        self._run(("put", name, body), lambda: self._store.put_once(name, body))

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns the bytes; see `ObjectStore.get`."""
        return self._run(
            ("get", name, size_bytes_max),
            lambda: self._store.get(name, size_bytes_max=size_bytes_max),
        )

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns part of the bytes; see `ObjectStore.get_range`."""
        return self._run(
            ("get", name, offset, length), lambda: self._store.get_range(name, offset, length)
        )

    def list_names(self, prefix: str) -> Iterator[str]:
        """Returns names, all at once; see `ObjectStore.list_names`."""
        return iter(self._run(("list", prefix), lambda: list(self._store.list_names(prefix))))

    def delete(self, name: str) -> None:
        """Removes the object; see `ObjectStore.delete`."""
        self._run(("delete", name), lambda: self._store.delete(name))

    def counters(self) -> StoreCounters:
        """Returns what the other store did."""
        return self._store.counters()

    def close(self) -> None:
        """Ends all waiting and closes the other store; what is under way ends unseen."""
        self.end()
        self._store.close()

    def _run(self, key: _Key, operation: Callable[[], _T]) -> _T:
        with self._changed:
            self._forget_old()
            job = self._operations.get(key) or self._begin(key, operation)
            self._changed.wait_for(lambda: job.is_done or self._is_ending, self._patience_s)
            if not job.is_done:
                job.is_slow = True
                raise OperationUnderWay(
                    f"{key[0]} {key[1] if len(key) > 1 else ''}: under way for"
                    f" {self._monotonic() - job.begun_at_s:.0f} s; it goes on in the background"
                )
            if job.error is not None or not job.is_slow or not job.size_bytes:
                self._operations.pop(key, None)
        if job.error is not None:
            raise job.error
        return cast("_T", job.result)

    def _begin(self, key: _Key, operation: Callable[[], object]) -> _Operation:
        running = sum(not each.is_done for each in self._operations.values())
        if running >= RUNNING_MAX:
            raise OperationUnderWay(f"{running} operations are under way; no more are begun")
        job = _Operation(self._monotonic())
        thread = threading.Thread(
            target=self._work, args=(job, operation), name="store", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            raise StoreUnavailable(f"ask the store: {error}; raise the limit of threads") from error
        self._operations[key] = job
        return job

    def _work(self, job: _Operation, operation: Callable[[], object]) -> None:
        result: object = None
        failure: BaseException | None = None
        try:
            result = operation()
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            failure = error
        with self._changed:
            job.result, job.error = result, failure
            job.ended_at_s = self._monotonic()
            job.is_done = True
            self._changed.notify_all()
            is_slow = job.is_slow
        if is_slow:
            self._on_slow_end()

    def _forget_old(self) -> None:
        """Drops results that are old, and the oldest ones when they take too much memory."""
        oldest_s = self._monotonic() - RESULTS_KEPT_S
        ended = [(key, job) for key, job in self._operations.items() if job.is_done]
        ended.sort(key=lambda item: item[1].ended_at_s)
        kept_size_bytes = sum(job.size_bytes for _, job in ended)
        for key, job in ended:
            if job.ended_at_s >= oldest_s and kept_size_bytes <= RESULTS_SIZE_BYTES_MAX:
                return
            del self._operations[key]
            kept_size_bytes -= job.size_bytes
