"""Background work: items that other threads do, one after the other, while the engine goes on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from geosync.engine.site import Site

WORKERS_MAX: Final = 4  # of one piece of work; the pool may have fewer


class BackgroundWork:
    """Items in the order in which they were added. What they find out, they tell in their own way.

    RACE: an item may still be going on after `clear`: what it writes to has to stay until then.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._changed = threading.Condition()
        self._items: deque[Callable[[], object]] = deque()
        self._going_on = 0
        self._workers = 0
        self._failure: Exception | None = None

    def add(self, items: Iterable[Callable[[], object]]) -> None:
        """Has some more items done. Where there are no threads, all are done when this returns."""
        with self._changed:
            self._items.extend(items)
            begun = min(WORKERS_MAX - self._workers, len(self._items))
            self._workers += begun
        for _ in range(begun):
            self._site.pool.repeat(self._step)

    def wait(self, timeout_s: float, *, left_max: int = 0) -> bool:
        """Waits until no more than so many items are left; returns whether that is so.

        Raises:
            Exception: what an item raised; what came after it in the queue is not done.
        """
        with self._changed:
            is_over = self._changed.wait_for(lambda: self._left() <= left_max, max(0.0, timeout_s))
            if self._failure is not None and not self._going_on:
                failure, self._failure = self._failure, None
                raise failure
            return is_over and self._failure is None

    def left(self) -> int:
        """Returns how many items are not done."""
        with self._changed:
            return self._left()

    def clear(self) -> None:
        """Has no item begun that has not begun yet."""
        with self._changed:
            self._items.clear()
            self._changed.notify_all()

    def _left(self) -> int:
        return len(self._items) + self._going_on

    def _step(self) -> bool:
        with self._changed:
            if not self._items:
                self._workers -= 1
                return False
            item = self._items.popleft()
            self._going_on += 1
        try:
            item()
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            with self._changed:
                self._failure = self._failure or error
                self._items.clear()
        finally:
            with self._changed:
                self._going_on -= 1
                self._changed.notify_all()
        return True
