"""A bounded pool of threads that transfers in parallel and hands out the results in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

AHEAD_PER_WORKER: Final = 2
BACKGROUND_WORKERS_MAX: Final = 4  # each has at most an item in memory, as it is and as it travels
ITEM_SIZE_MIB: Final = 8

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class TransferPool:
    """Implements `geosync.engine.site.Pool` with threads.

    At most two items a worker are begun before their turn, and no more than fit into the memory:
    an item is a pack, or a part of one, of up to some 8 MiB. What goes on in the background has
    threads of its own, so that nothing small waits for something large.
    """

    def __init__(self, workers: int, *, memory_mib: int = 64) -> None:
        fit = max(1, memory_mib // ITEM_SIZE_MIB)
        self.workers = min(workers, fit)
        self._ahead_max = min(workers * AHEAD_PER_WORKER, fit)
        self._executor = ThreadPoolExecutor(self.workers, thread_name_prefix="transfer")
        self._background = ThreadPoolExecutor(
            max(1, min(workers, fit // 2, BACKGROUND_WORKERS_MAX)), thread_name_prefix="background"
        )
        self._unawaited = ThreadPoolExecutor(self.workers, thread_name_prefix="upload")
        self._is_closed = threading.Event()

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Iterator[_Result]:
        """Yields the results in the order of the items; an exception is raised in its turn.

        When the caller stops before the end, what has not begun never does; what has begun ends
        unseen.
        """
        ahead: deque[Future[_Result]] = deque()
        try:
            for item in items:
                ahead.append(self._executor.submit(function, item))
                if len(ahead) >= self._ahead_max:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()

    def begin(
        self, function: Callable[[_Item], _Result], item: _Item, *, is_soon_awaited: bool = False
    ) -> Future[_Result]:
        """Begins one item when a worker is free; does not wait for it. See Pool."""
        executor = self._executor if is_soon_awaited else self._unawaited
        return executor.submit(function, item)

    def repeat(self, step: Callable[[], bool]) -> None:
        """Calls a step again and again until it returns False, or the pool is closed. See Pool."""

        def run() -> None:
            while not self._is_closed.is_set() and step():
                pass

        self._background.submit(run)

    def close(self) -> None:
        """Begins nothing any more; does not wait for what was begun."""
        self._is_closed.set()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._background.shutdown(wait=False, cancel_futures=True)
        self._unawaited.shutdown(wait=False, cancel_futures=True)
