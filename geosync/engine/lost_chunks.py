"""Lost chunks: those that no place in the store gave, and since when. Pure: the time is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WANTED_AFTER_S: Final = 300.0
"""So long nobody else is asked: what was stored a moment ago may not be visible here yet."""

FORGOTTEN_AFTER_S: Final = 900.0  # nobody has tried to fetch it any more


@dataclass(frozen=True, slots=True)
class _Failure:
    packs: frozenset[str]  # that were tried
    first_s: float
    last_s: float


class LostChunks:
    """Remembers, while the engine runs, what every known place failed to give."""

    def __init__(self) -> None:
        self._failures: dict[bytes, _Failure] = {}

    def note_lost(self, digest: bytes, packs: frozenset[str], now_s: float) -> None:
        """Says that a chunk was in none of the packs that are known to have it, if there are any.

        What is to be found in another pack since the last time is not lost yet.
        """
        before = self._failures.get(digest)
        first_s = before.first_s if before is not None and before.packs == packs else now_s
        self._failures[digest] = _Failure(packs, first_s, now_s)

    def note_found(self, digest: bytes) -> None:
        """Says that a chunk came."""
        self._failures.pop(digest, None)

    def long_lost(self, now_s: float) -> dict[bytes, frozenset[str]]:
        """Returns what has been lost for so long that another site should supply it.

        Returns:
            The packs that were tried for each chunk, by its digest.
        """
        for digest, failure in list(self._failures.items()):
            if now_s - failure.last_s > FORGOTTEN_AFTER_S:
                del self._failures[digest]
        return {
            digest: failure.packs
            for digest, failure in self._failures.items()
            if failure.last_s - failure.first_s >= WANTED_AFTER_S
        }
