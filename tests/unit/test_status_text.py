"""The status in plain words: one screen, nothing that a file name could forge."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from geosync.disk.capabilities import DiskCapabilities
from geosync.reporting.status import (
    DaemonStatus,
    OtherSite,
    Status,
    StatusProblem,
    ToPublish,
    WaitingPath,
    excluded_paths,
    waiting_paths,
)
from geosync.reporting.status_text import status_json, status_text, summary
from geosync.watching.tree_watcher import WatcherHealth
from geosync.watching.unwatched_places import UnwatchedDirectory
from transport.object_store import StoreCounters

NOW_MS = 1_750_000_000_000
HEALTH = WatcherHealth(
    watching=True,
    root_lost=False,
    watch_count=12,
    unwatched=(),
    unwatched_count=0,
    overflow_count=0,
    problem="",
)
DAEMON = DaemonStatus(
    process_id=42,
    is_settled=True,
    waiting=(),
    waiting_count=0,
    watcher=HEALTH,
    store=StoreCounters(7, 2048, 4096),
)
STATUS = Status(
    volume="files",
    site="bari",
    mode="multi-master",
    root="/srv/files",
    actor="ab" * 16,
    taken_at_ms=NOW_MS,
    entries=3,
    conflicts=0,
    to_publish=ToPublish(0, 0, 0, 0),
    sites=(OtherSite("paris", "cd" * 16, NOW_MS - 4000, 0, 0, ""),),
    problems=(),
    problem_count=0,
    daemon=DAEMON,
)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (STATUS, "in sync"),
        (replace(STATUS, daemon=None), "the daemon is not running"),
        (replace(STATUS, daemon=replace(DAEMON, is_settled=False)), "at work"),
        (replace(STATUS, problem_count=2), "2 problems"),
        (replace(STATUS, conflicts=1), "in sync; 1 conflict to look at"),
        (
            replace(STATUS, sites=(OtherSite("paris", "", 0, 0, 5, ""),)),
            "receiving",
        ),
        (
            replace(STATUS, sites=(OtherSite("paris", "", 0, 5, 0, ""),)),
            "in sync here; other sites have yet to apply changes",
        ),
    ],
)
def test_the_summary_says_the_gravest_first(status: Status, expected: str) -> None:
    assert summary(status) == expected


def test_the_screen_tells_all_that_an_operator_asks_first() -> None:
    assert status_text(STATUS, now_ms=NOW_MS).splitlines() == [
        "bari of volume files: in sync",
        "  directory    /srv/files (3 entries)",
        (
            "  daemon       process 42, multi-master; not ready: not yet up to date since"
            " the daemon began"
        ),
        "  to publish   nothing",
        "  conflicts    none",
        "  watching     12 directories",
        "  store        7 requests, 2.0 KiB sent, 4.0 KiB received",
        "",
        "other site  last heard  behind by  has yet to apply  we have yet to apply",
        "paris       4 s ago     nothing    nothing           nothing",
    ]


def test_a_site_that_is_behind_says_by_how_much_and_what_waits_first() -> None:
    paris = OtherSite(
        "paris",
        "cd" * 16,
        NOW_MS - 4000,
        3,
        12,
        "",
        behind_since_ms=NOW_MS - 90_000,
        size_bytes_it_lacks=2048,
        size_bytes_we_lack=None,
        oldest_it_lacks="a/b.txt",
    )
    text = status_text(replace(STATUS, sites=(paris,)), now_ms=NOW_MS)
    assert text.splitlines()[-2:] == [
        "paris       4 s ago     1 min 30 s  3 changes, 2.0 KiB  12 changes",
        "  paris lacks first: a/b.txt",
    ]


def test_what_is_to_publish_says_how_fast_it_goes_and_how_long_still() -> None:
    status = replace(
        STATUS,
        daemon=replace(DAEMON, upload_bytes_per_s=1024.0 * 1024),
        to_publish=ToPublish(7, 1, 2, 60 * 1024 * 1024),
    )
    line = next(
        line for line in status_text(status, now_ms=NOW_MS).splitlines() if "publish" in line
    )
    assert line == "  to publish   7 changes, 60.0 MiB, 1.0 MiB/s, about 1 min left"
    idle = replace(status, daemon=DAEMON)
    assert "  to publish   7 changes, 60.0 MiB\n" in status_text(idle, now_ms=NOW_MS)


def test_an_old_status_says_how_old_it_is() -> None:
    text = status_text(STATUS, now_ms=NOW_MS + 5000)
    assert "  as of        5 s ago: the daemon is busy" in text.splitlines()
    assert status_json(STATUS, now_ms=NOW_MS + 5000)["age_s"] == 5.0


def test_much_of_everything_still_fits_on_one_screen() -> None:
    waiting = tuple(WaitingPath(f"file {n}", "waits") for n in range(20))
    problems = tuple(StatusProblem(f"p{n}", NOW_MS, "text") for n in range(50))
    daemon = replace(DAEMON, waiting=waiting, waiting_count=1000, is_settled=False)
    status = replace(STATUS, daemon=daemon, problems=problems, problem_count=60)
    lines = status_text(status, now_ms=NOW_MS).splitlines()
    assert len(lines) <= 25
    assert "    … and 995 more" in lines
    assert "  … and 55 more; see --json" in lines


def test_texts_from_outside_cannot_forge_lines() -> None:
    problem = StatusProblem("a path", NOW_MS, "reason\nwith\x1b[2Jcontrol characters")
    text = status_text(replace(STATUS, problems=(problem,), problem_count=1), now_ms=NOW_MS)
    assert r"reason\nwith\x1b[2Jcontrol characters" in text


def test_paths_that_wait_are_shown_escaped_and_bounded() -> None:
    waiting = {(b"dir", b"%03d\n\xff" % number): "waits" for number in range(30)}
    shown = waiting_paths(waiting)
    assert len(shown) == 20
    assert shown[0] == WaitingPath(r"dir/000\n\xff", "waits")


def test_directories_that_are_not_watched_are_in_the_json_as_text() -> None:
    place = UnwatchedDirectory(b"dir\xff", "limit")
    health = replace(HEALTH, unwatched=(place,), unwatched_count=1, problem="1 directory")
    status = replace(STATUS, daemon=replace(DAEMON, watcher=health))
    told = json.loads(json.dumps(status_json(status, now_ms=NOW_MS)))
    assert told["daemon"]["watcher"]["unwatched"] == [{"directory": r"dir\xff", "reason": "limit"}]
    assert "  watching     1 directory" in status_text(status, now_ms=NOW_MS).splitlines()


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, "exchange in one step, leases, handles, reflink, openat2"),
        ({"exchange": False}, "exchange in two steps, leases"),
        ({"foreign_leases": False}, "leases on own files only"),
        ({"leases": False}, "no leases (files are read twice)"),
        ({"handles": False}, "inode numbers with birth times"),
        ({"openat2": False}, "paths step by step"),
    ],
)
def test_the_protocol_of_the_disk_is_shown(changed: dict[str, bool], shown: str) -> None:
    everything = dict.fromkeys(
        ("exchange", "leases", "foreign_leases", "handles", "reflink", "openat2"), True
    )
    protocol = DiskCapabilities(**{**everything, **changed})
    status = replace(STATUS, daemon=replace(DAEMON, protocol=protocol))
    (line,) = (line for line in status_text(status, now_ms=0).splitlines() if "protocol" in line)
    assert shown in line
    daemon = status_json(status, now_ms=0)["daemon"]
    assert isinstance(daemon, dict)
    assert daemon["protocol"] == {**everything, **changed, "timestamp_granularity_ns": 0}


def test_what_is_excluded_is_counted_and_the_first_are_named() -> None:
    paths = [(b"logs", b"%d.log\n" % number) for number in range(30)]
    daemon = replace(DAEMON, excluded=excluded_paths(paths), excluded_count=len(paths))
    text = status_text(replace(STATUS, daemon=daemon), now_ms=NOW_MS)
    line = next(line for line in text.splitlines() if "excluded" in line)
    assert "30 files" in line
    assert r"logs/0.log\n, logs/1.log\n, …" in line
    assert "excluded" not in status_text(STATUS, now_ms=NOW_MS)


def test_a_replica_says_that_it_writes_nothing_and_what_drifted() -> None:
    daemon = replace(DAEMON, takes_writes=False, lag_s=0.0)
    drift = tuple(WaitingPath(f"file {number}", "changed") for number in range(20))
    status = replace(
        STATUS,
        daemon=daemon,
        mode="replica",
        role="replica",
        writes_to_store=False,
        drift=drift,
        drift_count=30,
    )
    lines = status_text(status, now_ms=NOW_MS).splitlines()
    assert lines[2] == (
        "  daemon       process 42, replica: writes nothing to the store, and captures nothing"
        " here; ready for readers"
    )
    assert "  drift        30 paths changed on this disk, where" in lines
    assert sum(line.startswith("    file ") for line in lines) == 5


def test_a_standby_says_whom_it_follows_and_what_came_late() -> None:
    status = replace(
        STATUS,
        daemon=replace(DAEMON, takes_writes=False, lag_s=0.0),
        mode="primary",
        role="standby",
        primary="cnaf",
        late_write_count=2,
    )
    text = status_text(status, now_ms=NOW_MS)
    assert "process 42, standby of cnaf; not ready: " in text
    assert "the primary is cnaf" in text
    assert "2 late writes of a former primary; see: geosync promote --report" in text
