"""A bounded pool of threads that transfers in parallel and hands out the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

AHEAD_PER_WORKER: Final = 2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class TransferPool:
    """Implements `geosync.engine.site.Pool` with threads.

    At most two items a worker are begun before their turn, so that results that wait for their
    turn take a bounded amount of memory.
    """

    def __init__(self, workers: int) -> None:
        self._ahead_max = workers * AHEAD_PER_WORKER
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="transfer")

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

    def close(self) -> None:
        """Begins nothing any more; does not wait for what was begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)
