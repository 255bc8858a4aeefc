"""Rest between pieces of work, so that a verification leaves the machine to others."""

from __future__ import annotations

from threading import Event
from typing import Final

from geosync.clock import Clock

WORK_S: Final = 0.2


class Rest:
    """After each stretch of work rests for as long; not at all when it is to be fast."""

    def __init__(self, clock: Clock, *, is_fast: bool) -> None:
        self._clock = clock
        self._is_fast = is_fast
        self._began_s = clock.monotonic_s()

    def take(self) -> None:
        """Says that a piece of work is done."""
        worked_s = self._clock.monotonic_s() - self._began_s
        if worked_s < WORK_S:
            return
        if not self._is_fast:
            self._clock.wait(Event(), worked_s)
        self._began_s = self._clock.monotonic_s()
