"""Metrics in Prometheus' text format, made from the last status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest  # noqa: TID251
from prometheus_client.core import (  # noqa: TID251 - its home
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector  # noqa: TID251 - its home

from geosync.reporting.readiness import MAX_LAG_S, lag_of, readiness
from geosync.reporting.status import DaemonStatus, OtherSite, Status

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True)
class MetricsInput:
    """What the metrics tell of.

    Attributes:
        status: the last one, None while the daemon starts.
        now_ms: by this site's clock.
        journal_bytes: how large the journal is on the disk.
        version: of geosync.
    """

    status: Status | None
    now_ms: int
    journal_bytes: int
    version: str


def metrics_text(found: MetricsInput) -> bytes:
    """Returns the metrics of geosync, and those of the process, in the text format."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_StatusCollector(found))
    return generate_latest(registry)


class _StatusCollector:
    """Gives the library the metrics of one status; labels only name the sites of a volume."""

    def __init__(self, found: MetricsInput) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        status, now_ms = self._found.status, self._found.now_ms
        is_ready = readiness(status, now_ms=now_ms, max_lag_s=MAX_LAG_S).is_ready
        yield _gauge("ready", "Whether the site may take traffic, as /ready tells.", is_ready)
        yield _gauge("journal_bytes", "Size of the journal on the disk.", self._found.journal_bytes)
        if status is None:
            return
        yield self._info(status)
        yield from _site_metrics(status, now_ms)
        yield from _peer_metrics(status.sites, now_ms)
        if status.daemon is not None:
            yield from _daemon_metrics(status.daemon)

    def _info(self, status: Status) -> Metric:
        labels = {
            "version": self._found.version,
            "volume": status.volume,
            "site": status.site,
            "mode": status.mode,
        }
        info = GaugeMetricFamily("geosync_info", "What runs here; always 1.", labels=list(labels))
        info.add_metric(list(labels.values()), 1)
        return info


def _site_metrics(status: Status, now_ms: int) -> Iterator[Metric]:
    lag_s = lag_of(status, now_ms)
    if lag_s is not None:
        yield _gauge(
            "lag_seconds",
            "Time since all that the other sites had stored was on this site's disk.",
            lag_s,
        )
    age_s = max(0, now_ms - status.taken_at_ms) / 1000
    yield _gauge("status_age_seconds", "Age of what these metrics tell of.", age_s)
    yield _gauge("entries", "Files, directories and the like that are synced here.", status.entries)
    yield _gauge("conflicts", "Conflicts that are open.", status.conflicts)
    yield _gauge("problems", "Problems that `geosync status` names.", status.problem_count)
    undecided = sum(brake.verdict is None for brake in status.brakes)
    yield _gauge("brakes", "Brakes that wait for a decision, here or elsewhere.", undecided)
    held = sum(brake.amount.count for brake in status.brakes if brake.is_here)
    yield _gauge("held_files", "Files and directories that brakes hold on this site.", held)
    yield _gauge(
        "drift_paths", "Paths changed here although nothing is captured here.", status.drift_count
    )
    yield _gauge("late_writes", "What former primaries wrote late.", status.late_write_count)
    waiting = status.to_publish
    yield _gauge(
        "unpublished_operations",
        "Changes that were captured here and are not in the store yet.",
        waiting.operations,
    )
    yield _gauge(
        "unpublished_bytes", "Size of what is to be sent to the store.", waiting.size_bytes
    )


def _peer_metrics(sites: tuple[OtherSite, ...], now_ms: int) -> Iterator[Metric]:
    behind = _per_peer(
        "peer_lag_seconds",
        "Age of the oldest change of this site that the other site has not applied; 0: it has all.",
    )
    heard = _per_peer(
        "peer_last_heard_timestamp_seconds", "When the last news of the other site was read."
    )
    lacks = _per_peer(
        "peer_unapplied_operations", "Changes of this site that the other site has not applied."
    )
    missing = _per_peer(
        "peer_missing_operations", "Changes of the other site that are not on this site's disk."
    )
    for site in sites:
        labels = [site.site or site.actor[:8]]
        since_ms = site.behind_since_ms
        behind.add_metric(labels, max(0, now_ms - since_ms) / 1000 if since_ms else 0)
        heard.add_metric(labels, site.last_heard_at_ms / 1000)
        lacks.add_metric(labels, site.operations_it_lacks)
        missing.add_metric(labels, site.operations_we_lack)
    yield from (behind, heard, lacks, missing)


def _daemon_metrics(daemon: DaemonStatus) -> Iterator[Metric]:
    yield _gauge("settled", "Whether nothing is left to do here.", daemon.is_settled)
    yield _gauge("waiting_paths", "Paths that are not as they are to be.", daemon.waiting_count)
    yield _gauge(
        "excluded_files", "Files that the configuration never captures.", daemon.excluded_count
    )
    watcher = daemon.watcher
    yield _gauge("watched_directories", "Directories with a watch.", watcher.watch_count)
    yield _gauge(
        "unwatched_directories", "Directories without one, polled.", watcher.unwatched_count
    )
    yield _counter(
        "watcher_overflows", "How often the kernel dropped events.", watcher.overflow_count
    )
    store = daemon.store
    yield _counter("store_requests", "Requests to the store.", store.requests)
    yield _counter("store_sent_bytes", "Bytes sent to the store.", store.upload_bytes)
    yield _counter("store_received_bytes", "Bytes received from the store.", store.download_bytes)
    yield _counter(
        "store_failures", "Looks at the store that failed, retries included.", daemon.store_failures
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"geosync_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"geosync_{name}", text, value=value)


def _per_peer(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"geosync_{name}", text, labels=["peer"])
