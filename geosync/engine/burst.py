"""A burst: many files change at once, and nobody knows yet how many more will.

While it goes on, they wait a moment: else the first of them, up to the limit of a brake, would be
at all other sites before the brake engages.
"""

from __future__ import annotations

from typing import Final

from conflict.synced import EntryId
from geosync.clock import Clock

QUIET_S: Final = 2.0  # without any further file, it is over
FILES_MIN: Final = 20  # at the same time; fewer wait for nobody
LASTS_S_MAX: Final = 10.0  # it is no burst any more but what this site does all day


class Burst:
    """Remembers when each file that waits was first seen to be changed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_s: dict[EntryId, float] = {}

    def elsewhere(self, seen: set[EntryId]) -> int:
        """Returns how many wait that are not among these."""
        return len(self._since_s.keys() - seen)

    def goes_on(self, seen: set[EntryId]) -> bool:
        """Tells whether these are to wait, as others may follow."""
        now_s = self._clock.monotonic_s()
        for entry in seen:
            self._since_s.setdefault(entry, now_s)
        if len(self._since_s) < FILES_MIN:
            return False
        is_quiet = now_s - max(self._since_s.values()) >= QUIET_S
        return not is_quiet and now_s - min(self._since_s.values()) < LASTS_S_MAX

    def forget(self, captured: set[EntryId]) -> None:
        """Forgets files that wait no longer, and those that were not seen again."""
        now_s = self._clock.monotonic_s()
        self._since_s = {
            entry: since_s
            for entry, since_s in self._since_s.items()
            if entry not in captured and now_s - since_s < LASTS_S_MAX
        }
