"""The agenda of a plan: which names are still to be planned, those of parents first."""

from __future__ import annotations

import heapq

from conflict.synced import Path


class Agenda:
    """Each name has its turn once; `add_again` gives it one more."""

    def __init__(self) -> None:
        self._queue: list[tuple[int, Path]] = []
        self._added: set[Path] = set()
        self._repeated: set[Path] = set()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, path: Path) -> None:
        """Adds a name, unless it was there before. The root is never planned."""
        if path and path not in self._added:
            self._added.add(path)
            heapq.heappush(self._queue, (len(path), path))

    def add_again(self, path: Path) -> None:
        """Adds a name even if it had its turn, but only once: a plan has to end."""
        if path not in self._repeated:
            self._repeated.add(path)
            self._added.discard(path)
            self.add(path)

    def postpone(self, path: Path) -> None:
        """Lets a name that had its turn too early be added like any other."""
        self._added.discard(path)

    def next(self) -> Path:
        """Takes the name that is nearest to the root."""
        return heapq.heappop(self._queue)[1]
