"""Files that changed and could not be captured yet: why, for how long, and when to look again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from conflict.synced import Path
from geosync.clock import Clock
from geosync.terminal import human_duration

LOOK_AGAIN_AFTER_S: Final = 0.2
LOOK_AGAIN_AFTER_S_MAX: Final = 30.0
_SHARE_OF_WAIT: Final = 0.1  # what has waited for long may wait a little longer
_TOLD_AFTER_S: Final = 10.0


@dataclass(slots=True)
class _Wait:
    reason: str
    since_s: float
    look_again_s: float


class WaitingFiles:
    """Looks at what waits again without any event, since the end of a mapping may bring none.

    A file that is open for days costs less and less; when it is closed, an event tells at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waits: dict[Path, _Wait] = {}

    def __bool__(self) -> bool:
        return bool(self._waits)

    def note(self, looked_at: Collection[Path], reasons: Mapping[Path, str]) -> None:
        """Takes down what a scan brought.

        Args:
            looked_at: the directories that were looked at, or are gone.
            reasons: what waits now in these, and why.
        """
        now_s = self._clock.monotonic_s()
        before = self._waits
        self._waits = {path: w for path, w in before.items() if path[:-1] not in looked_at}
        for path, reason in reasons.items():
            since_s = before[path].since_s if path in before else now_s
            pause_s = max(LOOK_AGAIN_AFTER_S, (now_s - since_s) * _SHARE_OF_WAIT)
            look_again_s = now_s + min(pause_s, LOOK_AGAIN_AFTER_S_MAX)
            self._waits[path] = _Wait(reason, since_s, look_again_s)

    def due(self) -> set[Path]:
        """Returns the directories of what is to be looked at again now."""
        now_s = self._clock.monotonic_s()
        return {path[:-1] for path, wait in self._waits.items() if now_s >= wait.look_again_s}

    def reasons(self, latest: Mapping[Path, str]) -> dict[Path, str]:
        """Returns what waits, sorted, why, and for how long where that is long.

        Args:
            latest: why it waits, where that is known better than when it was looked at.
        """
        now_s = self._clock.monotonic_s()
        return {
            path: latest.get(path, wait.reason) + _told(now_s - wait.since_s)
            for path, wait in sorted(self._waits.items())
        }

    def waited_s(self, path: Path) -> float:
        """Returns for how long a file has waited; 0 when it does not wait."""
        wait = self._waits.get(path)
        return self._clock.monotonic_s() - wait.since_s if wait is not None else 0.0


def _told(waited_s: float) -> str:
    return f"; it has waited for {human_duration(waited_s)}" if waited_s >= _TOLD_AFTER_S else ""
