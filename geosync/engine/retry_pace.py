"""The pace of retries: soon at first, then ever less often. Pure: the time is an argument."""

from __future__ import annotations


class RetryPace:
    """Says when something that failed may be tried again."""

    def __init__(self, *, first_s: float, longest_s: float) -> None:
        """Takes the pause after the first failure, and the longest one."""
        self._first_s = first_s
        self._longest_s = longest_s
        self._pause_s = first_s
        self._due_s: float | None = None

    def is_due(self, now_s: float) -> bool:
        """Tells whether it may be tried now."""
        return self._due_s is None or now_s >= self._due_s

    def note_failure(self, now_s: float) -> None:
        """Says that it failed just now; each failure in a row doubles the pause."""
        self._due_s = now_s + self._pause_s
        self._pause_s = min(self._longest_s, self._pause_s * 2)

    def note_progress(self, now_s: float) -> None:
        """Says that something was achieved, but not all: the rest is tried after a short pause."""
        self._pause_s = self._first_s
        self._due_s = now_s + self._first_s

    def note_success(self) -> None:
        """Says that all is well: the next attempt may come at any time."""
        self._pause_s = self._first_s
        self._due_s = None
