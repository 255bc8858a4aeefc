"""The agenda of a plan: which names are still to be planned, those of parents first."""

from __future__ import annotations

import heapq

from conflict.synced import Path


class Agenda:
    """Each name has its turn once, or once more if that was too early."""

    def __init__(self) -> None:
        self._queue: list[tuple[int, Path]] = []
        self._added: set[Path] = set()
        self._too_early: set[Path] = set()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, path: Path) -> None:
        """Adds a name, unless it had its turn. The root is never planned."""
        if path and (path not in self._added or path in self._too_early):
            self._added.add(path)
            self._too_early.discard(path)
            heapq.heappush(self._queue, (len(path), path))

    def defer(self, path: Path) -> None:
        """Puts a name off whose directory is not there: until it had its turn, or until it comes.

        Whoever makes a directory adds all names that are to be in it.
        """
        directory = path[:-1]
        is_directory_due = directory and directory not in self._added
        self._too_early.add(path)
        if is_directory_due:
            self.add(directory)
            self.add(path)

    def deferred(self) -> frozenset[Path]:
        """Returns the names whose directory never came: nothing is planned for them."""
        return frozenset(self._too_early)

    def next(self) -> Path:
        """Takes the name that is nearest to the root."""
        return heapq.heappop(self._queue)[1]
