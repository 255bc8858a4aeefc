"""When this site wrote its operations: what tells how far behind another site is."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

MOMENTS_MAX: Final = 4096


class WrittenTimes:
    """Remembers when the count of own operations grew, in bounded memory.

    What was written before the first note counts as written then, so after a start another site
    seems less far behind than it is, until it has caught up once.
    """

    def __init__(self) -> None:
        self._counters: list[int] = []
        self._moments_ms: list[int] = []

    def note(self, counter: int, now_ms: int) -> None:
        """Notes that the last own operation now has this counter."""
        if self._counters and counter <= self._counters[-1]:
            return
        self._counters.append(counter)
        self._moments_ms.append(now_ms)
        if len(self._counters) > MOMENTS_MAX:
            # Every second moment goes: what remains says at worst that it was written a bit later.
            del self._counters[1:-1:2]
            del self._moments_ms[1:-1:2]

    def first_after(self, counter: int) -> int:
        """Returns when the first operation after this one was written; 0: there is none."""
        position = bisect_right(self._counters, counter)
        return self._moments_ms[position] if position < len(self._counters) else 0
