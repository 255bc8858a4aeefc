"""Directories that wait to be looked at: in turns, so that none waits for ever."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from conflict.synced import Path


class PendingDirectories:
    """What becomes dirty during a turn waits for the next one; within a turn, parents go first.

    Without turns, a large directory near the root in which something changes all the time would
    keep all others from ever being looked at.

    Attributes:
        turn: the number of the present one. Once it has grown, everything that waited before was
            looked at.
    """

    def __init__(self) -> None:
        self.turn = 0
        self._turn: dict[Path, bool] = {}  # path -> with all below
        self._queue: list[tuple[int, Path]] = []  # of this turn
        self._next_turn: dict[Path, bool] = {}
        self._taken: dict[Path, bool] = {}
        self._finished_turn = 0  # in which the last look ended that was not in vain

    def __bool__(self) -> bool:
        return bool(self._turn or self._next_turn)

    def add(self, dirty: Mapping[Path, bool]) -> None:
        """Adds directories; True: with everything below."""
        for path, is_recursive in dirty.items():
            if path in self._turn:
                self._turn[path] |= is_recursive
            else:
                self._next_turn[path] = is_recursive or self._next_turn.get(path, False)

    def add_to_turn(self, path: Path, *, is_recursive: bool) -> None:
        """Adds what was found on the way."""
        if path not in self._turn:
            heapq.heappush(self._queue, (len(path), path))
        self._turn[path] = is_recursive or self._turn.get(path, False)

    def take(self) -> tuple[Path, bool]:
        """Returns the next directory, and whether everything below belongs to it."""
        if not self._turn:
            self.turn += 1
            following, self._next_turn = self._next_turn, {}
            for path, is_recursive in following.items():
                self.add_to_turn(path, is_recursive=is_recursive)
        path = heapq.heappop(self._queue)[1]
        self._taken[path] = self._turn.pop(path)
        return path, self._taken[path]

    def finish(self) -> None:
        """Says that what was taken was looked at."""
        self._taken.clear()
        self._finished_turn = self.turn

    def put_back(self) -> None:
        """Says that what was taken must be looked at again.

        Some of it may have waited since an earlier turn: that turn is not over, then.
        """
        self.turn = self._finished_turn
        for path, is_recursive in self._taken.items():
            self.add_to_turn(path, is_recursive=is_recursive)
        self._taken.clear()
