"""What the status page shows, as plain values: the template only arranges them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from geosync.reporting.brake_text import brake_json
from geosync.reporting.conflict_text import decision_text
from geosync.reporting.progress_text import progress_text
from geosync.reporting.readiness import MAX_LAG_S, Readiness, readiness
from geosync.reporting.recent_operations import RecentChange
from geosync.reporting.status import DaemonStatus, OtherSite, Status
from geosync.reporting.status_text import summary
from geosync.terminal import display_moment, human_duration, human_size

SITES_ON_MAP_MAX: Final = 12
MAP_WIDTH: Final = 640
MAP_HEIGHT: Final = 360
_ZONE: Final = " UTC"

GOOD, BUSY, BAD = "good", "busy", "bad"

Words = dict[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """A site on the map: its middle, and how far below that its two lines of text stand."""

    name: str
    state: str
    note: str
    x: int
    y: int
    name_below: int
    note_below: int
    is_here: bool = False


@dataclass(frozen=True, slots=True)
class PageView:
    """Everything on the page. Text is as people read it, and is escaped by the template."""

    site: str
    volume: str
    role: str
    root: str
    state: str
    summary: str
    readiness: Readiness
    facts: tuple[tuple[str, str], ...]
    places: tuple[Place, ...]
    map_box: str
    sites: tuple[Words, ...]
    brakes: tuple[dict[str, Any], ...]
    conflicts: tuple[Words, ...]
    conflict_count: int
    problems: tuple[Words, ...]
    problem_count: int
    waiting: tuple[Words, ...]
    waiting_count: int
    recent: tuple[Words, ...]
    taken_at: str
    version: str


def page_view(status: Status, *, now_ms: int, version: str) -> PageView:
    """Returns what is shown of a status."""
    daemon = status.daemon
    found = readiness(status, now_ms=now_ms, max_lag_s=MAX_LAG_S)
    return PageView(
        site=status.site,
        volume=status.volume,
        role=_role(status),
        root=status.root,
        state=_state(status, found),
        summary=summary(status),
        readiness=found,
        facts=tuple(_facts(status, found)),
        places=_places(status),
        map_box=_map_box(len(status.sites) + 1),
        sites=tuple(_site_words(site, now_ms) for site in status.sites),
        brakes=tuple(_brake(brake_json(brake, now_ms=now_ms)) for brake in status.brakes),
        conflicts=tuple(map(_conflict_words, () if daemon is None else daemon.conflicts_shown)),
        conflict_count=status.conflicts,
        problems=tuple(
            {
                "subject": each.subject,
                "since": _ago(now_ms - each.since_ms),
                "text": each.text,
            }
            for each in status.problems
        ),
        problem_count=status.problem_count,
        waiting=tuple(
            {"path": each.path, "reason": each.reason}
            for each in (() if daemon is None else daemon.waiting)
        ),
        waiting_count=0 if daemon is None else daemon.waiting_count,
        recent=tuple(
            _recent_words(each, now_ms) for each in (() if daemon is None else daemon.recent)
        ),
        taken_at=display_moment(status.taken_at_ms, _ZONE),
        version=version,
    )


def _role(status: Status) -> str:
    is_behind_another = status.role != "primary" and status.primary not in (None, status.site)
    return f"{status.role} of {status.primary}" if is_behind_another else status.role


def _state(status: Status, found: Readiness) -> str:
    if status.problem_count or not found.is_ready:
        return BAD
    is_settled = status.daemon is not None and status.daemon.is_settled
    return GOOD if is_settled and not status.conflicts else BUSY


def _facts(status: Status, found: Readiness) -> list[tuple[str, str]]:
    waiting = status.to_publish
    to_publish = "nothing"
    if waiting.operations or waiting.packs or waiting.segments:
        to_publish = f"{waiting.operations} changes, {human_size(waiting.size_bytes)}"
    lag = "not up to date yet" if found.lag_s is None else human_duration(found.lag_s)
    facts = [
        ("Behind the others", f"at most {lag}" if found.lag_s is not None else lag),
        ("Still to publish", to_publish),
        ("Files and directories", f"{status.entries:,}"),
    ]
    if status.drift_count:
        facts.append(("Changed here, where nothing is captured", f"{status.drift_count:,} paths"))
    if status.late_write_count:
        facts.append(("Late writes of a former primary", f"{status.late_write_count:,}"))
    if status.daemon is not None:
        facts += _daemon_facts(status.daemon)
    return facts


def _daemon_facts(daemon: DaemonStatus) -> list[tuple[str, str]]:
    store, watcher = daemon.store, daemon.watcher
    plural = "directory" if watcher.watch_count == 1 else "directories"
    watching = watcher.problem or f"{watcher.watch_count:,} {plural}"
    if watcher.unwatched_count:
        watching += f", {watcher.unwatched_count:,} more polled"
    traffic = f"{human_size(store.upload_bytes)} sent, {human_size(store.download_bytes)} received"
    facts = [("Watching", watching), ("Store, since the start", traffic)]
    if daemon.progress is not None:
        facts.insert(0, ("Under way", progress_text(daemon.progress)))
    return facts


def _site_words(site: OtherSite, now_ms: int) -> Words:
    behind = _ago(now_ms - site.behind_since_ms) if site.behind_since_ms else "nothing"
    return {
        "name": _name(site),
        "state": _site_state(site),
        "note": _site_note(site),
        "heard": f"{_ago(now_ms - site.last_heard_at_ms)} ago"
        if site.last_heard_at_ms
        else "never",
        "behind": behind,
        "it_lacks": _amount(site.operations_it_lacks, site.size_bytes_it_lacks),
        "we_lack": _amount(site.operations_we_lack, site.size_bytes_we_lack),
        "first": site.oldest_it_lacks or site.oldest_we_lack,
        "problem": site.problem,
    }


def _amount(operations: int, size_bytes: int | None) -> str:
    return f"{operations:,} ({human_size(size_bytes)})" if size_bytes else f"{operations:,}"


def _recent_words(change: RecentChange, now_ms: int) -> Words:
    return {
        "path": change.path,
        "what": change.what,
        "site": change.site or "an unknown site",
        "size": "" if change.size_bytes is None else human_size(change.size_bytes),
        "moment": display_moment(change.at_ms).replace(" ", "T"),
        "when": f"{_ago(now_ms - change.at_ms)} ago",
    }


def _site_state(site: OtherSite) -> str:
    if site.problem:
        return BAD
    return BUSY if site.operations_it_lacks or site.operations_we_lack else GOOD


def _site_note(site: OtherSite) -> str:
    if site.problem:
        return "log not read further"
    if site.operations_it_lacks and site.operations_we_lack:
        return "changes on both ways"
    if site.operations_it_lacks:
        return f"has yet to apply {site.operations_it_lacks:,}"
    if site.operations_we_lack:
        return f"{site.operations_we_lack:,} on the way here"
    return "in sync"


def _places(status: Status) -> tuple[Place, ...]:
    """Returns the sites around the store, this one at the left; none when there are too many."""
    count = len(status.sites) + 1
    if not status.sites or count > SITES_ON_MAP_MAX:
        return ()
    is_settled = status.daemon is not None and status.daemon.is_settled
    here = (status.site, GOOD if is_settled else BUSY, "this site")
    others = [(_name(site), _site_state(site), _site_note(site)) for site in status.sites]
    return tuple(_place(number, count, words) for number, words in enumerate([here, *others]))


def _map_box(count: int) -> str:
    """Returns the part of the map that is shown: two sites lie on one line."""
    top, height = (MAP_HEIGHT // 2 - 70, 140) if count == 2 else (0, MAP_HEIGHT)
    return f"0 {top} {MAP_WIDTH} {height}"


def _place(number: int, count: int, words: tuple[str, str, str]) -> Place:
    """Returns a place whose text is on the side that is turned away from the store."""
    x, y = _spot(number, count)
    offset = y - MAP_HEIGHT / 2
    name_below, note_below = (
        (-24, 36) if abs(offset) < 20 else (-46, -23) if offset < 0 else (36, 59)
    )
    return Place(*words, x, y, name_below, note_below, is_here=number == 0)


def _spot(number: int, count: int) -> tuple[int, int]:
    """Returns where a site lies on an ellipse around the middle of the map."""
    angle = math.pi + 2 * math.pi * number / count
    x = MAP_WIDTH / 2 + 0.38 * MAP_WIDTH * math.cos(angle)
    y = MAP_HEIGHT / 2 + 0.3 * MAP_HEIGHT * math.sin(angle)
    return round(x), round(y)


def _name(site: OtherSite) -> str:
    return site.site or f"(unknown, {site.actor[:8]})"


def _brake(brake: dict[str, Any]) -> dict[str, Any]:
    more = brake["count"] - len(brake["paths"])
    return brake | {
        "size": human_size(brake["size_bytes"]),
        "since": human_duration(brake["age_s"]),
        "more": more,
    }


_KINDS: Final = {
    "content": "Two sites changed this file at the same time.",
    "name": "Two sites made a file of this name at the same time.",
    "directory": "Another site made a directory of this name.",
    "deleted": "The file was deleted while this version waited.",
}


def _conflict_words(conflict: dict[str, Any]) -> Words:
    winner, loser = conflict["winner"], conflict["loser"]
    return {
        "id": conflict["id"],
        "path": conflict["path"],
        "what": _KINDS.get(conflict["kind"], conflict["kind"]),
        "winner": _version(winner) if winner else "",
        "winner_site": (winner["site"] or "unknown") if winner else "",
        "loser": _version(loser),
        "loser_site": loser["site"] or "unknown",
        "kept_at": conflict["kept_at"] or "",
        "decision": decision_text(conflict),
    }


def _version(version: dict[str, Any]) -> str:
    size = human_size(version["size_bytes"])
    return f"{display_moment(version['written_at_ms'], _ZONE)}, {size}"


def _ago(duration_ms: int) -> str:
    return human_duration(max(0, duration_ms) / 1000)
