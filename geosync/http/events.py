"""Server-sent events: what changed from one status to the next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from geosync.reporting.status import Status
from geosync.reporting.status_text import status_json

JsonObject = dict[str, object]

_ALWAYS_NEW: Final = {"taken_at_ms", "age_s", "last_heard_age_s", "last_heard_at_ms", "behind_s"}
_ALWAYS_NEW_OF_DAEMON: Final = {"store", "lag_s"}


class Events:
    """What one reader was told already."""

    def __init__(self) -> None:
        self._seen: Status | None = None
        self._told: dict[str, object] = {}

    def news(self, status: Status | None, now_ms: int) -> Iterator[tuple[str, object]]:
        """Yields what is new, as names of events and values for JSON.

        `status` when anything in the status changed but ages and counters; `conflicts` and
        `problems` when there are others than before.
        """
        if status is None or status is self._seen:
            return
        self._seen = status
        found = status_json(status, now_ms=now_ms)
        conflicts = [] if status.daemon is None else list(status.daemon.conflicts_shown)
        parts: dict[str, tuple[object, object]] = {
            "status": (_without_ages(found), found),
            "conflicts": (conflicts, conflicts),
            "problems": (found["problems"], found["problems"]),
        }
        for name, (compared, value) in parts.items():
            if self._told.get(name) != compared:
                self._told[name] = compared
                yield name, value


def encode_event(name: str, value: object) -> bytes:
    """Returns one event as it is sent; JSON has no line breaks of its own."""
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()


def heartbeat() -> bytes:
    """Returns a comment, which keeps proxies from closing a silent stream."""
    return b": still here\n\n"


def _without_ages(found: JsonObject) -> JsonObject:
    kept = {key: value for key, value in found.items() if key not in _ALWAYS_NEW}
    sites, daemon = found["sites"], found["daemon"]
    assert isinstance(sites, list)
    kept["sites"] = [
        {key: value for key, value in site.items() if key not in _ALWAYS_NEW} for site in sites
    ]
    if isinstance(daemon, dict):
        kept["daemon"] = {
            key: value for key, value in daemon.items() if key not in _ALWAYS_NEW_OF_DAEMON
        }
    return kept
