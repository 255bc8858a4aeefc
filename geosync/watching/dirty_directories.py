"""The set of directories worth looking at: bounded, coalescing, filled and emptied by threads."""

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

ROOT = b""
QUICK_S = 0.01


@dataclass(frozen=True, slots=True, order=True)
class DirtyDirectory:
    """A directory to rescan: relative to the root, `b""` is the root itself."""

    directory: bytes
    recursive: bool
    """Whether everything below is to be rescanned as well."""
    quiet_s: float = field(default=0.0, compare=False)
    """For how long nothing has happened there by now, after a name had left it; 0: none had."""


@dataclass(slots=True)
class _Mark:
    first_s: float
    last_s: float
    recursive: bool
    has_left: bool


class SettlingMarks:
    """Marks and the times they were made. Pure: the time is an argument, in seconds.

    A directory is ready once it was quiet for `settle_s`, or `settle_s_max` after its first mark,
    so that a writer that never pauses cannot hide its directory. One that nothing has left, and
    that was not restless for `settle_s`, need be quiet for `quick_s` only: a program that saves by
    renaming makes names leave for a moment, and nothing else tears what belongs together.
    """

    def __init__(self, *, settle_s: float, settle_s_max: float, directories_max: int) -> None:
        assert directories_max >= 1
        self.settle(settle_s=settle_s, settle_s_max=settle_s_max)
        self._directories_max = directories_max
        self._marks: dict[bytes, _Mark] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def settle(self, *, settle_s: float, settle_s_max: float) -> None:
        """Sets how long it has to be quiet, for directories that are marked already, too."""
        assert 0 <= settle_s <= settle_s_max
        self._settle_s = settle_s
        self._quick_s = min(QUICK_S, settle_s)
        self._settle_s_max = settle_s_max

    def mark(
        self, directory: bytes, *, recursive: bool, now_s: float, has_left: bool = True
    ) -> float:
        """Adds a directory; a mark that is there already becomes younger, never less recursive.

        Returns when it becomes ready if nothing more happens.
        """
        mark = self._marks.get(directory)
        if mark is None:
            self._marks[directory] = _Mark(now_s, now_s, recursive, has_left)
            if len(self._marks) > self._directories_max:
                self._collapse(now_s)
        else:
            mark.last_s = now_s
            mark.recursive = mark.recursive or recursive
            mark.has_left = mark.has_left or has_left
        return self._mark_ready_at_s(self._marks.get(directory) or self._marks[ROOT])

    def ready_at_s(self) -> float | None:
        """When the first directory becomes ready; None when nothing is marked."""
        return min(map(self._mark_ready_at_s, self._marks.values()), default=None)

    def take(self, now_s: float) -> tuple[DirtyDirectory, ...]:
        """Removes and returns what is ready, parents first; what a parent covers is left out."""
        marks = {
            directory: mark
            for directory, mark in self._marks.items()
            if self._mark_ready_at_s(mark) <= now_s
        }
        for directory in marks:
            del self._marks[directory]
        covering = {directory for directory, mark in marks.items() if mark.recursive}
        return tuple(
            DirtyDirectory(directory, mark.recursive, _quiet_s(mark, now_s))
            for directory, mark in sorted(marks.items(), key=lambda item: item[0])
            if covering.isdisjoint(_ancestors(directory))
        )

    def _mark_ready_at_s(self, mark: _Mark) -> float:
        is_quick = not mark.has_left and mark.last_s - mark.first_s < self._settle_s
        settle_s = self._quick_s if is_quick else self._settle_s
        return min(mark.last_s + settle_s, mark.first_s + self._settle_s_max)

    def _collapse(self, now_s: float) -> None:
        first_s = min(mark.first_s for mark in self._marks.values())
        self._marks = {ROOT: _Mark(first_s, now_s, recursive=True, has_left=True)}


def _quiet_s(mark: _Mark, now_s: float) -> float:
    return now_s - mark.last_s if mark.has_left and not mark.recursive else 0.0


def _ancestors(directory: bytes) -> Iterable[bytes]:
    while directory:
        directory = directory.rpartition(b"/")[0]
        yield directory


class DirtyDirectories:
    """What the watcher saw and the engine has not yet looked at. Every method is thread-safe.

    Args:
        settle_s: how long a directory has to be quiet before it is handed out.
        settle_s_max: how long a restless directory may be held back.
        directories_max: beyond this many, one recursive mark of the root stands for all.
        clock: monotonic time in seconds; the `now_s` of `take` comes from the same clock.
    """

    def __init__(
        self,
        *,
        settle_s: float = 0.05,
        settle_s_max: float = 1.0,
        directories_max: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._marks = SettlingMarks(
            settle_s=settle_s, settle_s_max=settle_s_max, directories_max=directories_max
        )
        self._clock = clock
        self._changed = threading.Condition()
        self._woken = False
        self._wakes_at_s = -math.inf  # of who waits, if somebody does

    def __len__(self) -> int:
        with self._changed:
            return len(self._marks)

    def mark(self, directory: bytes, *, recursive: bool, has_left: bool = True) -> None:
        """Says that something happened in a directory.

        Args:
            directory: relative to the root, without a slash at either end.
            recursive: also in what is below.
            has_left: a name has left it, or nobody knows.
        """
        assert not directory.startswith(b"/")
        assert not directory.endswith(b"/")
        with self._changed:
            ready_s = self._marks.mark(
                directory, recursive=recursive, now_s=self._clock(), has_left=has_left
            )
            if ready_s < self._wakes_at_s:
                self._changed.notify_all()

    def take(self, now_s: float) -> tuple[DirtyDirectory, ...]:
        """Removes and returns the directories that have settled, parents before children.

        A directory that changes after this call is marked anew, so a scan that begins after the
        call misses nothing. A caller that could not scan a directory marks it again.
        """
        with self._changed:
            return self._marks.take(now_s)

    def wait(self, timeout_s: float) -> bool:
        """Blocks until a directory is ready to be taken, `wake` is called, or the time is over.

        Returns:
            Whether a directory is ready.
        """
        with self._changed:
            deadline_s = self._clock() + timeout_s
            while True:
                now_s = self._clock()
                ready_at_s = self._marks.ready_at_s()
                if ready_at_s is not None and ready_at_s <= now_s:
                    return True
                if self._woken or now_s >= deadline_s:
                    self._woken = False
                    return False
                wake_at_s = deadline_s if ready_at_s is None else min(ready_at_s, deadline_s)
                self._wakes_at_s = wake_at_s
                self._changed.wait(wake_at_s - now_s)
                self._wakes_at_s = -math.inf

    def settle(self, *, settle_s: float, settle_s_max: float) -> None:
        """Sets for how long directories have to be quiet from now on."""
        with self._changed:
            self._marks.settle(settle_s=settle_s, settle_s_max=settle_s_max)
            self._changed.notify_all()

    def wake(self) -> None:
        """Ends the current `wait`, or the next one when none is under way."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()
