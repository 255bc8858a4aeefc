"""A status as a value, for tests of what shows it."""

from __future__ import annotations

from dataclasses import replace

from geosync.reporting.status import DaemonStatus, OtherSite, Status, StatusProblem, ToPublish
from geosync.watching.tree_watcher import WatcherHealth
from transport.object_store import StoreCounters

TAKEN_AT_MS = 1_700_000_000_000

DAEMON = DaemonStatus(
    process_id=1,
    is_settled=True,
    waiting=(),
    waiting_count=0,
    watcher=WatcherHealth(
        watching=True,
        root_lost=False,
        watch_count=3,
        unwatched=(),
        unwatched_count=0,
        overflow_count=0,
        problem="",
    ),
    store=StoreCounters(),
    lag_s=0.5,
)


def sample_status(
    *,
    daemon: DaemonStatus | None = DAEMON,
    sites: tuple[OtherSite, ...] = (),
    problems: tuple[StatusProblem, ...] = (),
    conflicts: int = 0,
) -> Status:
    """Returns the status of a site that is well but for what is given."""
    return Status(
        volume="files",
        site="bari",
        mode="multi-master",
        root="/srv/files",
        actor="00" * 16,
        taken_at_ms=TAKEN_AT_MS,
        entries=7,
        conflicts=conflicts,
        to_publish=ToPublish(0, 0, 0, 0),
        sites=sites,
        problems=problems,
        problem_count=len(problems),
        daemon=daemon,
    )


def peer(name: str, *, behind_since_ms: int = 0, lacks: int = 0) -> OtherSite:
    """Returns another site that was heard of one second ago."""
    return OtherSite(name, "11" * 16, TAKEN_AT_MS - 1000, lacks, 0, "", behind_since_ms)


def with_lag(lag_s: float | None) -> DaemonStatus:
    """Returns a daemon whose site was current so long ago."""
    return replace(DAEMON, lag_s=lag_s)
