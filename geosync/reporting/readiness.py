"""Readiness: whether a site may take traffic now, and if not, why, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from geosync.reporting.status import DaemonStatus, Status
from geosync.terminal import escape_unprintable, human_duration

MAX_LAG_S: Final = 60.0

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a site may take traffic.

    Attributes:
        reasons: why not; empty when it may.
        lag_s: seconds since the site last had all that the other sites had stored; None: never
            since the daemon began.
        max_lag_s: what was asked for.
    """

    reasons: tuple[str, ...]
    lag_s: float | None
    max_lag_s: float

    @property
    def is_ready(self) -> bool:
        """Whether the site may take traffic."""
        return not self.reasons


def readiness(status: Status | None, *, now_ms: int, max_lag_s: float) -> Readiness:
    """Decides by the last status of a daemon; None: there is none yet."""
    daemon = None if status is None else status.daemon
    if status is None or daemon is None:
        starting = "the daemon has not looked at everything yet"
        return Readiness((starting,), lag_s=None, max_lag_s=max_lag_s)
    lag_s = lag_of(status, now_ms)
    return Readiness(tuple(_reasons(status, daemon, lag_s, max_lag_s)), lag_s, max_lag_s)


def lag_of(status: Status, now_ms: int) -> float | None:
    """Returns the seconds since a site was current; None: not since its daemon began."""
    daemon = status.daemon
    if daemon is None or daemon.lag_s is None:
        return None
    return daemon.lag_s + max(0, now_ms - status.taken_at_ms) / 1000


def readiness_json(found: Readiness) -> JsonObject:
    """Returns it as JSON knows it; docs/http.md tells what the keys mean."""
    return {
        "is_ready": found.is_ready,
        "reasons": list(found.reasons),
        "lag_s": found.lag_s,
        "max_lag_s": found.max_lag_s,
    }


def readiness_text(found: Readiness) -> str:
    """Returns it as one line."""
    if found.is_ready:
        return f"ready: {human_duration(found.lag_s or 0.0)} behind the other sites at most"
    return "not ready: " + "; ".join(found.reasons)


def _reasons(
    status: Status, daemon: DaemonStatus, lag_s: float | None, max_lag_s: float
) -> Iterator[str]:
    if not daemon.takes_writes and status.role != "replica":  # which is there for readers
        yield _why_no_writes(status)
    if daemon.watcher.root_lost:
        yield f"the directory {status.root} is gone"
    yield from _held_back(status)
    if lag_s is None:
        yield f"not yet up to date since the daemon began{_waits_for(status, daemon)}"
    elif lag_s > max_lag_s:
        yield (
            f"what the other sites wrote in the last {human_duration(lag_s)} may be missing"
            f" (max_lag is {human_duration(max_lag_s)}){_waits_for(status, daemon)}"
        )


def _held_back(status: Status) -> Iterator[str]:
    """Yields the brakes that keep this disk from being as the volume is, or the other way round."""
    for brake in status.brakes:
        if brake.is_here:
            yield f"brake {brake.name} holds changes ({brake.reason}): see geosync brake list"


def _why_no_writes(status: Status) -> str:
    if status.role == "primary":
        return "it is the primary, but has yet to hear from the store whether it still is"
    at = "" if status.primary in (None, status.site) else f"; the primary is {status.primary}"
    return f"it is a {status.role}, where nothing that programs write is captured{at}"


def _waits_for(status: Status, daemon: DaemonStatus) -> str:
    """Returns what explains a lag best, as the end of a sentence."""
    store = next((each for each in status.problems if each.subject == "store"), None)
    if store is not None:
        return f"; the store: {escape_unprintable(store.text)}"
    if daemon.waiting:
        first = daemon.waiting[0]
        return f"; {first.path}: {escape_unprintable(first.reason)}"
    return ""
