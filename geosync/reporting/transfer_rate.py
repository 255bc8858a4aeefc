"""How fast something goes at present, from a counter that only grows."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 15.0
MEASURED_S_MIN: Final = 0.5


class TransferRate:
    """Looks back over the last seconds; older ones say nothing of now."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now_s: float, count: int) -> None:
        """Notes how much it is now.

        Args:
            now_s: monotonic.
            count: since the beginning; when it is smaller than before, all begins anew.
        """
        if self._seen and count < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now_s, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - WINDOW_S:
            self._seen.popleft()

    def per_s(self) -> float:
        """Returns how much comes in a second; 0 while that can't be told."""
        if not self._seen:
            return 0.0
        lasted_s = self._seen[-1][0] - self._seen[0][0]
        return (self._seen[-1][1] - self._seen[0][1]) / lasted_s if lasted_s > MEASURED_S_MIN else 0
