"""What is served where, and by which function."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from geosync.http import actions
from geosync.http.exchange import HTML, Answer, Request, RequestRefused, json_answer, text_answer
from geosync.http.metrics import CONTENT_TYPE, MetricsInput, metrics_text
from geosync.http.openapi import openapi
from geosync.http.page import STATIC_TYPES, message_html, page_html, static_file
from geosync.http.page_view import page_view
from geosync.http.site import Site
from geosync.reporting.readiness import MAX_LAG_S, readiness, readiness_json, readiness_text
from geosync.reporting.status import Status
from geosync.reporting.status_text import status_json


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


def last_status(site: Site, _request: Request) -> Answer:
    """Returns what `geosync status --json` prints, as it was last."""
    return json_answer(status_json(_known(site), now_ms=site.now_ms()))


def page(site: Site, _request: Request) -> Answer:
    """Returns the status page, for people."""
    known = site.status()
    if known is None:
        text = "The daemon is starting, and has not looked at everything yet. Load this page again."
        return Answer(message_html("Starting", text).encode(), HTML, 503)
    view = page_view(known, now_ms=site.now_ms(), version=site.version)
    return Answer(page_html(view).encode(), HTML)


def static(_site: Site, request: Request) -> Answer:
    """Returns the stylesheet or the script of the page."""
    name = request.path.rpartition("/")[2]
    return Answer(static_file(name), STATIC_TYPES[name])


def description(site: Site, _request: Request) -> Answer:
    """Returns the description of this interface."""
    return json_answer(openapi(site.version))


def events(_site: Site, _request: Request) -> Answer:
    """Tells of changes as they come: `status`, `conflicts`, `problems`."""
    raise AssertionError("a stream is no single answer")


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
    Route("GET", "/", page),
    *(Route("GET", f"/static/{name}", static) for name in STATIC_TYPES),
    Route("POST", "/act", actions.act, Kind.COMMAND),
    Route("GET", "/live", live),
    Route("GET", "/ready", ready),
    Route("GET", "/metrics", metrics),
    Route("GET", "/v1/openapi.json", description),
    Route("GET", "/v1/status", last_status),
    Route("GET", "/v1/events", events, Kind.STREAM),
    Route("GET", "/v1/conflicts", actions.conflicts, Kind.COMMAND),
    Route("POST", "/v1/conflicts/diff", actions.compare_versions, Kind.COMMAND),
    Route("POST", "/v1/conflicts/resolve", actions.resolve_conflict, Kind.COMMAND),
    Route("GET", "/v1/brakes", actions.brakes, Kind.COMMAND),
    Route("POST", "/v1/brakes/decide", actions.decide_brake, Kind.COMMAND),
    Route("POST", "/v1/sync", actions.sync, Kind.COMMAND),
    Route("POST", "/v1/token", actions.token, Kind.COMMAND),
    Route("GET", "/v1/wait", actions.wait_for_token, Kind.COMMAND),
    Route("POST", "/v1/wait", actions.wait_for_sites, Kind.COMMAND),
)
