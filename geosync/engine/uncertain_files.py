"""Files that were read so soon after a change that another one may show the same times."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from conflict.scan import StableContent
from conflict.synced import Path
from geosync.clock import Clock
from geosync.engine.places import NEVER_SEEN

READ_AGAIN_AFTER_S: Final = 2.1  # by then the coarsest clock of a file system has gone on


class UncertainFiles:
    """Has them read once more when the clock has gone on.

    CRASH: what is forgotten here is in the journal with a fingerprint that no file has, so that
    the scan at the next start reads it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due_s: dict[Path, float] = {}

    def note(self, looked_at: Collection[Path], contents: Mapping[Path, StableContent]) -> None:
        """Takes down what a scan brought.

        Args:
            looked_at: the directories that were looked at, or are gone.
            contents: what was read of them.
        """
        due_s = self._clock.monotonic_s() + READ_AGAIN_AFTER_S
        self._due_s = {path: s for path, s in self._due_s.items() if path[:-1] not in looked_at}
        for path, found in contents.items():
            if found.entry.fingerprint == NEVER_SEEN:
                self._due_s[path] = due_s

    def due(self) -> set[Path]:
        """Returns the directories of what is to be read again now."""
        now_s = self._clock.monotonic_s()
        return {path[:-1] for path, due_s in self._due_s.items() if now_s >= due_s}
