"""Simulated time: one true time, and a clock for each site that is off in a way of its own."""

from __future__ import annotations

from dataclasses import dataclass

from geosync.clock import Waitable

NS_PER_S = 1_000_000_000
START_WALL_NS = 1_700_000_000 * NS_PER_S


@dataclass(slots=True)
class SimulatedTime:
    """The true time of one simulated world, in ns since it began. Only `advance` moves it."""

    now_ns: int = 0

    def advance(self, duration_s: float) -> None:
        """Lets `duration_s` seconds pass, which must not be negative."""
        assert duration_s >= 0, f"time cannot go back by {-duration_s} s"
        self.now_ns += round(duration_s * NS_PER_S)


@dataclass(slots=True)
class SimulatedClock:
    """The `geosync.clock.Clock` of one site.

    Attributes:
        time: the true time, shared by all sites.
        offset_ns: how far the date is ahead of the true one, apart from drift.
        drift_ppm: by how many millionths this clock runs fast (negative: slow).
    """

    time: SimulatedTime
    offset_ns: int = 0
    drift_ppm: int = 0

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC, as this site believes."""
        return START_WALL_NS + self.offset_ns + self._elapsed_ns()

    def monotonic_s(self) -> float:
        """Seconds since the world began, by this site's oscillator; steps do not touch it."""
        return self._elapsed_ns() / NS_PER_S

    def step(self, by_ns: int) -> None:
        """Sets the date forward (or back), as an operator or an NTP client may."""
        self.offset_ns += by_ns

    def advance(self, duration_s: float) -> None:
        """Lets true time pass, on all sites."""
        self.time.advance(duration_s)

    def wait(self, waitable: Waitable, timeout_s: float | None) -> bool:
        """Lets the whole `timeout_s` pass at once unless the waitable is already notified.

        Nothing else runs in a simulation of one thread, so a wait without end that is not already
        over never ends: that is an error of the caller.
        """
        if waitable.wait(0):
            return True
        assert timeout_s is not None, "waits for ever for what nobody can notify"
        if timeout_s > 0:
            true_s = timeout_s * 1_000_000 / (1_000_000 + self.drift_ppm)
            self.time.advance(max(true_s, 1 / NS_PER_S))  # a loop of short waits must end
        return False

    def _elapsed_ns(self) -> int:
        return self.time.now_ns + self.time.now_ns * self.drift_ppm // 1_000_000
