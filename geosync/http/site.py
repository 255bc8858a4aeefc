"""The daemon as the HTTP server sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from geosync.clock import Clock
from geosync.http.access import Gate
from geosync.reporting.status import Status

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class Site:
    """What requests are answered from.

    Attributes:
        status: returns the last status, None while the daemon starts; never waits.
        command: gives the daemon a command, as its control socket does; waits for the answer.
        clock: of the daemon.
        state_dir: where the journal is.
        version: of geosync.
        gate: who may ask what.
    """

    status: Callable[[], Status | None]
    command: Callable[[str, JsonObject], JsonObject]
    clock: Clock
    state_dir: bytes
    version: str
    gate: Gate

    def now_ms(self) -> int:
        """Returns the time by this site's clock."""
        return self.clock.wall_ns() // 1_000_000
