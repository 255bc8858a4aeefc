"""What is served where, and by which function."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from geosync.clock import Clock
from geosync.http.access import Gate
from geosync.http.exchange import Answer, Request, RequestRefused, json_answer, text_answer
from geosync.http.metrics import CONTENT_TYPE, MetricsInput, metrics_text
from geosync.reporting.readiness import MAX_LAG_S, readiness, readiness_json, readiness_text
from geosync.reporting.status import Status
from geosync.reporting.status_text import status_json

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class Site:
    """The daemon as the HTTP server sees it.

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


class Kind(Enum):
    """How a route is answered."""

    QUICK = auto()  # from the last status, at once
    COMMAND = auto()  # by the control thread, for which it waits
    STREAM = auto()  # events, without an end


Handler = Callable[[Site, Request], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """One path that is served."""

    method: str
    path: str
    handler: Handler
    kind: Kind = Kind.QUICK


def live(_site: Site, _request: Request) -> Answer:
    """Answers at all: the process is there."""
    return text_answer("live")


def ready(site: Site, request: Request) -> Answer:
    """Tells whether this site may take traffic: 200, or 503 and why not."""
    found = readiness(site.status(), now_ms=site.now_ms(), max_lag_s=_max_lag_s(request))
    status = 200 if found.is_ready else 503
    if request.wants_json():
        return json_answer(readiness_json(found), status)
    return text_answer(readiness_text(found), status)


def metrics(site: Site, _request: Request) -> Answer:
    """Returns the metrics, for Prometheus."""
    found = MetricsInput(site.status(), site.now_ms(), _journal_bytes(site.state_dir), site.version)
    return Answer(metrics_text(found), CONTENT_TYPE)


def status(site: Site, _request: Request) -> Answer:
    """Returns what `geosync status --json` prints, as it was last."""
    return json_answer(status_json(_known(site), now_ms=site.now_ms()))


def _known(site: Site) -> Status:
    known = site.status()
    if known is None:
        raise RequestRefused(503, "the daemon is starting; ask again in a moment")
    return known


def _max_lag_s(request: Request) -> float:
    text = request.query.get("max_lag")
    if text is None:
        return MAX_LAG_S
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise RequestRefused(400, "max_lag is a number of seconds, such as 5 or 0.5")
    return seconds


def _journal_bytes(state_dir: bytes) -> int:
    names = (b"journal.sqlite", b"journal.sqlite-wal")
    return sum(_size_bytes(os.path.join(state_dir, name)) for name in names)


def _size_bytes(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


ROUTES: Final = (
    Route("GET", "/live", live),
    Route("GET", "/ready", ready),
    Route("GET", "/metrics", metrics),
    Route("GET", "/v1/status", status),
)
