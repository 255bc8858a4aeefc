"""The clock: time is an argument everywhere, and this is the only place that reads it."""

import time
from typing import Protocol


class Waitable(Protocol):
    """What `Clock.wait` waits for: `threading.Event`, or `threading.Condition` while held."""

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until notified (True) or until `timeout` seconds have passed (False)."""


class Clock(Protocol):
    """Everything that the daemon asks of time; a simulation passes a clock of its own."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC. It may jump either way: never measure with it."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary moment; never goes back, not even when the date is set."""

    def wait(self, waitable: Waitable, timeout_s: float | None) -> bool:
        """Waits for an event or a held condition.

        Args:
            waitable: what to wait for.
            timeout_s: the longest wait in seconds; None waits for ever.

        Returns:
            Whether it was notified, rather than timed out.
        """


class SystemClock:
    """The clock of this machine."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC, as this machine believes."""
        return time.time_ns()

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary moment, by CLOCK_MONOTONIC."""
        return time.monotonic()

    def wait(self, waitable: Waitable, timeout_s: float | None) -> bool:
        """Waits in real time; see `Clock.wait`."""
        return waitable.wait(timeout_s)
