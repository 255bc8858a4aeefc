"""A pool whose background work goes on only when a test says so, item by item."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from geosync.engine.site import SerialPool


class SteppedPool(SerialPool):
    """Does nothing in the background by itself."""

    def __init__(self) -> None:
        self._steps: deque[Callable[[], bool]] = deque()

    def repeat(self, step: Callable[[], bool]) -> None:
        """Keeps the step for later."""
        self._steps.append(step)

    def work(self, items: int | None = None) -> None:
        """Does so many items; None: until nothing is left."""
        while self._steps and items != 0:
            if self._steps[0]():
                items = None if items is None else items - 1
            else:
                self._steps.popleft()
