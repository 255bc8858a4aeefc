"""The pace of the daemon: how often the store is looked at. Pure: the time is an argument."""

from __future__ import annotations

from typing import Final

ACTIVE_FOR_S: Final = 30.0
"""So long after the last work the store is looked at often, as more may follow."""


class Pace:
    """Polls often while there is work, then ever less often."""

    def __init__(self, *, active_s: float, idle_s: float, now_s: float) -> None:
        """Takes the shortest and the longest time between two looks. The first is due at once."""
        self._active_s = active_s
        self._idle_s = idle_s
        self._interval_s = active_s
        self._active_until_s = now_s + ACTIVE_FOR_S
        self.due_s = now_s

    def is_active(self, now_s: float) -> bool:
        """Tells whether there was work of late, so that more may follow."""
        return now_s < self._active_until_s

    def note_look(self, now_s: float, *, had_work: bool) -> None:
        """Says that the store was looked at just now, and whether there was anything to do."""
        if had_work:
            self._active_until_s = now_s + ACTIVE_FOR_S
        slower_s = min(self._idle_s, self._interval_s * 2)
        self._interval_s = self._active_s if self.is_active(now_s) else slower_s
        self.due_s = now_s + self._interval_s

    def note_work(self, now_s: float) -> None:
        """Says that there is work, without a look at the store: more may follow."""
        self._active_until_s = now_s + ACTIVE_FOR_S
        self._interval_s = self._active_s
        self.due_s = min(self.due_s, now_s + self._active_s)

    def hurry(self, now_s: float) -> None:
        """Makes the next look due at once."""
        self.due_s = now_s
