"""The status as people and programs read it: one screen of plain words, and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Final

from geosync.reporting.brake_text import brake_json
from geosync.reporting.progress_text import progress_json, progress_text
from geosync.reporting.protocol_text import protocol_text
from geosync.reporting.readiness import MAX_LAG_S, lag_of, readiness
from geosync.reporting.status import DaemonStatus, HintState, OtherSite, Status, ToPublish
from geosync.terminal import (
    display_name,
    escape_unprintable,
    human_duration,
    human_size,
    plain_table,
)
from transport.object_store import EndpointState

STATUS_FORMAT: Final = 1
"""Of the JSON; keys are only ever added to one format."""

PATHS_ON_SCREEN_MAX: Final = 5
EXCLUDED_ON_SCREEN_MAX: Final = 2
SITES_EXPLAINED_MAX: Final = 3

JsonObject = dict[str, object]


def status_answer(status: Status, *, now_ms: int) -> JsonObject:
    """Returns the status in both forms: `json` and `text`."""
    return {"json": status_json(status, now_ms=now_ms), "text": status_text(status, now_ms=now_ms)}


def status_json(status: Status, *, now_ms: int) -> JsonObject:
    """Returns the status as JSON knows it; docs/commands.md tells what the keys mean."""
    daemon = status.daemon
    return {
        "format": STATUS_FORMAT,
        "volume": status.volume,
        "site": status.site,
        "mode": status.mode,
        "role": status.role,
        "primary": status.primary,
        "writes_to_store": status.writes_to_store,
        "root": status.root,
        "actor": status.actor,
        "summary": summary(status),
        "is_daemon_running": daemon is not None,
        "is_settled": None if daemon is None else daemon.is_settled,
        "taken_at_ms": status.taken_at_ms,
        "age_s": max(0, now_ms - status.taken_at_ms) / 1000,
        "entries": status.entries,
        "conflicts": status.conflicts,
        "policies": list(status.policies),
        "ignored": list(status.ignored),
        "drift_count": status.drift_count,
        "drift": [{"path": each.path, "differs": each.reason} for each in status.drift],
        "late_write_count": status.late_write_count,
        "brakes": [brake_json(brake, now_ms=now_ms) for brake in status.brakes],
        "to_publish": asdict(status.to_publish),
        "sites": [_site_json(site, now_ms) for site in status.sites],
        "problem_count": status.problem_count,
        "problems": [asdict(problem) for problem in status.problems],
        "daemon": None if daemon is None else _daemon_json(daemon, lag_of(status, now_ms)),
    }


def _site_json(site: OtherSite, now_ms: int) -> JsonObject:
    never = site.last_heard_at_ms == 0
    age_s = None if never else max(0, now_ms - site.last_heard_at_ms) / 1000
    behind_s = max(0, now_ms - site.behind_since_ms) / 1000 if site.behind_since_ms else 0.0
    return {**asdict(site), "last_heard_age_s": age_s, "behind_s": behind_s}


def _daemon_json(daemon: DaemonStatus, lag_s: float | None) -> JsonObject:
    watcher = asdict(daemon.watcher)
    watcher["unwatched"] = [
        {"directory": display_name(place.directory), "reason": place.reason}
        for place in daemon.watcher.unwatched
    ]
    return {
        "process_id": daemon.process_id,
        "waiting_count": daemon.waiting_count,
        "waiting": [asdict(path) for path in daemon.waiting],
        "excluded_count": daemon.excluded_count,
        "excluded": list(daemon.excluded),
        "watcher": watcher,
        "store": asdict(daemon.store),
        "upload_bytes_per_s": daemon.upload_bytes_per_s,
        "download_bytes_per_s": daemon.download_bytes_per_s,
        "recent": [asdict(change) for change in daemon.recent],
        "progress": progress_json(daemon.progress),
        "store_failures": daemon.store_failures,
        "lag_s": lag_s,
        "http_address": daemon.http_address,
        "hints": None if daemon.hints is None else asdict(daemon.hints),
        "protocol": None if daemon.protocol is None else asdict(daemon.protocol),
    }


def summary(status: Status) -> str:
    """Returns how the site is doing, in a few words."""
    if status.daemon is None:
        state = "the daemon is not running"
    elif status.problem_count:
        state = _counted(status.problem_count, "problem")
    elif not status.daemon.is_settled:
        state = "at work"
    elif any(site.operations_we_lack for site in status.sites):
        state = "receiving"
    elif any(site.operations_it_lacks for site in status.sites):
        state = "in sync here; other sites have yet to apply changes"
    else:
        state = "in sync"
    undecided = sum(brake.verdict is None for brake in status.brakes)
    if undecided:
        state = f"{_counted(undecided, 'brake')} to decide about; {state}"
    if status.conflicts:
        state += f"; {_counted(status.conflicts, 'conflict')} to look at"
    return state


def status_text(status: Status, *, now_ms: int) -> str:
    """Returns the status as one screen."""
    return "\n".join(_lines(status, now_ms))


def _lines(status: Status, now_ms: int) -> Iterable[str]:
    age_s = max(0, now_ms - status.taken_at_ms) / 1000
    yield f"{status.site} of volume {status.volume}: {summary(status)}"
    yield from _brake_lines(status, now_ms)
    yield f"  directory    {status.root} ({_counted(status.entries, 'entry', 'entries')})"
    if status.daemon is not None:
        does = f"{_role(status)}; {_ready(status, now_ms)}"
        yield f"  daemon       process {status.daemon.process_id}, {does}"
    else:
        yield "  daemon       not running; this was read from its journal"
    if status.daemon is not None and age_s > 1:
        yield f"  as of        {human_duration(age_s)} ago: the daemon is busy"
    yield f"  to publish   {_to_publish(status.to_publish, status.daemon)}"
    yield f"  conflicts    {_conflicts(status.conflicts)}"
    if status.policies:
        yield f"  policies     {', '.join(status.policies)}"
    if status.ignored:
        yield f"  ignored      {', '.join(status.ignored)}"
    yield from _failover_lines(status)
    if status.daemon is not None:
        yield from _daemon_lines(status.daemon)
    yield ""
    yield from _site_lines(status, now_ms)
    if status.problems:
        yield ""
        yield from _problem_lines(status, now_ms)


def _ready(status: Status, now_ms: int) -> str:
    found = readiness(status, now_ms=now_ms, max_lag_s=MAX_LAG_S)
    if found.is_ready and not status.writes_to_store:
        return "ready for readers"
    return "ready" if found.is_ready else f"not ready: {'; '.join(found.reasons)}"


def _role(status: Status) -> str:
    if not status.writes_to_store:
        return f"{status.role}: writes nothing to the store, and captures nothing here"
    if status.mode in ("primary", "standby") and status.primary not in (None, status.site):
        return f"{status.role} of {status.primary}"
    return status.role


def _failover_lines(status: Status) -> Iterable[str]:
    if status.drift_count:
        yield f"  drift        {_counted(status.drift_count, 'path')} changed on this disk, where"
        yield "               nothing is captured; see: geosync conflicts list"
        for path in status.drift[:PATHS_ON_SCREEN_MAX]:
            yield f"    {path.path}: {path.reason}"
    if status.late_write_count:
        late = _counted(status.late_write_count, "late write")
        yield f"  failover     {late} of a former primary; see: geosync promote --report"


def _brake_lines(status: Status, now_ms: int) -> Iterable[str]:
    for brake in status.brakes:
        since = human_duration(max(0, now_ms - brake.since_ms) / 1000)
        decided = "" if brake.verdict is None else f" ({brake.verdict.name.lower()}, being done)"
        yield f"  BRAKE        {brake.name} at {brake.site}, for {since}{decided}: {brake.reason};"
        yield f"               {_counted(brake.amount.count, 'path')} wait; see: geosync brake list"


def _to_publish(waiting: ToPublish, daemon: DaemonStatus | None) -> str:
    if not (waiting.operations or waiting.segments or waiting.packs):
        return "nothing"
    said = f"{_counted(waiting.operations, 'change')}, {human_size(waiting.size_bytes)}"
    per_s = 0.0 if daemon is None else daemon.upload_bytes_per_s
    if per_s < 1 or waiting.size_bytes < per_s:
        return said
    left = human_duration(waiting.size_bytes / per_s)
    return f"{said}, {human_size(round(per_s))}/s, about {left} left"


def _conflicts(count: int) -> str:
    return f"{count}; see: geosync conflicts list" if count else "none"


def _daemon_lines(daemon: DaemonStatus) -> Iterable[str]:
    watcher = daemon.watcher
    if watcher.problem:
        yield f"  watching     {escape_unprintable(watcher.problem)}"
    else:
        yield f"  watching     {_counted(watcher.watch_count, 'directory', 'directories')}"
    if daemon.protocol is not None:
        yield f"  protocol     {protocol_text(daemon.protocol)}"
    if daemon.progress is not None:
        yield f"  progress     {progress_text(daemon.progress)}"
    store = daemon.store
    yield (
        f"  store        {_counted(store.requests, 'request')},"
        f" {human_size(store.upload_bytes)} sent, {human_size(store.download_bytes)} received"
    )
    yield from _endpoint_lines(daemon.store.endpoints)
    yield from _hint_lines(daemon.hints)
    if daemon.waiting_count:
        yield f"  waiting      {_counted(daemon.waiting_count, 'path')}"
        for path in daemon.waiting[:PATHS_ON_SCREEN_MAX]:
            yield f"    {path.path}: {escape_unprintable(path.reason)}"
        if daemon.waiting_count > PATHS_ON_SCREEN_MAX:
            yield f"    … and {daemon.waiting_count - PATHS_ON_SCREEN_MAX} more"
    if daemon.excluded_count:
        shown = ", ".join(daemon.excluded[:EXCLUDED_ON_SCREEN_MAX])
        more = ", …" if daemon.excluded_count > EXCLUDED_ON_SCREEN_MAX else ""
        counted = _counted(daemon.excluded_count, "file")
        yield f"  excluded     {counted}, by the configuration: {shown}{more}"


def _hint_lines(hints: HintState | None) -> Iterable[str]:
    if hints is None:
        return
    refused = f", {hints.refused} refused" if hints.refused else ""
    silent = ", ".join(hints.not_heard)
    none_from = f"; none of late from {escape_unprintable(silent)}" if silent else ""
    yield f"  hints        {hints.sent} sent, {hints.heard} heard{refused}{none_from}"
    if hints.problem:
        yield f"    {escape_unprintable(hints.problem)}"


def _endpoint_lines(endpoints: Sequence[EndpointState]) -> Iterable[str]:
    """Shows which endpoint is in use, and why each nearer one is not."""
    for endpoint in endpoints:
        if endpoint.is_in_use:
            nearest = "the nearest" if endpoint is endpoints[0] else "as each nearer one fails"
            yield f"  endpoint     {endpoint.name}, {nearest}"
        if endpoint.problem:
            since = human_duration(endpoint.down_for_s)
            yield f"    {endpoint.name} fails, for {since}: {escape_unprintable(endpoint.problem)}"


def _site_lines(status: Status, now_ms: int) -> Iterable[str]:
    if not status.sites:
        yield "No other site has joined this volume yet."
        return
    rows = [
        (
            _site_name(site),
            _heard(site, now_ms),
            _behind(site, now_ms),
            _lacking(site.operations_it_lacks, site.size_bytes_it_lacks),
            _lacking(site.operations_we_lack, site.size_bytes_we_lack),
        )
        for site in status.sites
    ]
    headers = ("other site", "last heard", "behind by", "has yet to apply", "we have yet to apply")
    yield plain_table(headers, rows)
    for site in status.sites[:SITES_EXPLAINED_MAX]:
        if site.oldest_it_lacks:
            yield f"  {_site_name(site)} lacks first: {site.oldest_it_lacks}"
        if site.oldest_we_lack:
            yield f"  of {_site_name(site)} we lack first: {site.oldest_we_lack}"


def _site_name(site: OtherSite) -> str:
    return site.site or f"(unknown, {site.actor[:8]})"


def _behind(site: OtherSite, now_ms: int) -> str:
    if not site.operations_it_lacks:
        return "nothing"
    since_ms = site.behind_since_ms
    return human_duration(max(0, now_ms - since_ms) / 1000) if since_ms else "not known"


def _lacking(operations: int, size_bytes: int | None) -> str:
    if not operations:
        return "nothing"
    size = "" if not size_bytes else f", {human_size(size_bytes)}"
    return _counted(operations, "change") + size


def _heard(site: OtherSite, now_ms: int) -> str:
    if site.last_heard_at_ms == 0:
        return "never"
    return f"{human_duration(max(0, now_ms - site.last_heard_at_ms) / 1000)} ago"


def _problem_lines(status: Status, now_ms: int) -> Iterable[str]:
    yield f"{_counted(status.problem_count, 'problem').capitalize()}:"
    for problem in status.problems[:PATHS_ON_SCREEN_MAX]:
        since = human_duration(max(0, now_ms - problem.since_ms) / 1000)
        yield f"  {problem.subject}, for {since}: {escape_unprintable(problem.text)}"
    if status.problem_count > PATHS_ON_SCREEN_MAX:
        yield f"  … and {status.problem_count - PATHS_ON_SCREEN_MAX} more; see --json"


def _counted(count: int, singular: str, plural: str = "") -> str:
    return f"{count} {singular if count == 1 else plural or singular + 's'}"
