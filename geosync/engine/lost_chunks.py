"""Lost chunks: those that no place in the store gave, and since when. Pure: the time is given."""

from __future__ import annotations

from typing import Final

WANTED_AFTER_S: Final = 300.0
"""So long nobody else is asked: what was stored a moment ago may not be visible here yet."""

FORGOTTEN_AFTER_S: Final = 900.0  # nobody has tried to fetch it any more


class LostChunks:
    """Remembers, while the engine runs, what every known place failed to give."""

    def __init__(self) -> None:
        self._failures: dict[bytes, tuple[float, float]] = {}  # digest -> first and last time

    def note_lost(self, digest: bytes, now_s: float) -> None:
        """Says that a chunk was at none of the places that are known, if there are any."""
        first_s, _ = self._failures.get(digest, (now_s, now_s))
        self._failures[digest] = (first_s, now_s)

    def note_found(self, digest: bytes) -> None:
        """Says that a chunk came."""
        self._failures.pop(digest, None)

    def long_lost(self, now_s: float) -> set[bytes]:
        """Returns what has been lost for so long that another site should supply it."""
        for digest, (_, last_s) in list(self._failures.items()):
            if now_s - last_s > FORGOTTEN_AFTER_S:
                del self._failures[digest]
        return {
            digest
            for digest, (first_s, last_s) in self._failures.items()
            if last_s - first_s >= WANTED_AFTER_S
        }
