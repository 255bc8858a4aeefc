"""Readiness: when a site may take traffic, and what it says when it may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conflict.brakes import Amount, BrakeKind
from conflict.version import Dot, actor_id
from geosync.engine.brake_verdicts import KnownBrake
from geosync.reporting.readiness import readiness, readiness_text
from geosync.reporting.status import StatusProblem, WaitingPath
from geosync.reporting.written_times import MOMENTS_MAX, WrittenTimes
from tests.support.sample_status import DAEMON, TAKEN_AT_MS, sample_status, with_lag


def _reasons(status, *, later_ms=0, max_lag_s=60.0):
    return readiness(status, now_ms=TAKEN_AT_MS + later_ms, max_lag_s=max_lag_s).reasons


@pytest.mark.parametrize(
    ("lag_s", "later_ms", "is_ready"),
    [(0.5, 0, True), (59.0, 1000, True), (59.0, 1001, False), (0.0, 3_600_000, False)],
)
def test_the_lag_grows_with_the_age_of_the_status(lag_s, later_ms, is_ready):
    assert (_reasons(sample_status(daemon=with_lag(lag_s)), later_ms=later_ms) == ()) == is_ready


def test_a_site_that_was_never_current_is_not_ready():
    (reason,) = _reasons(sample_status(daemon=with_lag(None)))
    assert reason == "not yet up to date since the daemon began"


def test_a_daemon_that_has_just_begun_is_not_ready():
    assert _reasons(None) == ("the daemon has not looked at everything yet",)


def test_a_lag_is_explained_by_the_store_or_by_the_first_path_that_waits():
    waiting = replace(with_lag(90.0), waiting=(WaitingPath("a\\nb", "in use\nnow"),))
    (reason,) = _reasons(sample_status(daemon=waiting))
    assert reason.endswith("; a\\nb: in use\\nnow")
    gone = (StatusProblem("store", 0, "no route"),)
    (reason,) = _reasons(sample_status(daemon=waiting, problems=gone))
    assert reason.endswith("; the store: no route")


def test_a_lost_root_is_told_at_once():
    lost = replace(DAEMON, watcher=replace(DAEMON.watcher, root_lost=True))
    assert _reasons(sample_status(daemon=lost)) == ("the directory /srv/files is gone",)


@pytest.mark.parametrize(
    ("role", "takes_writes", "is_ready"),
    [
        ("multi-master", True, True),
        ("primary", True, True),
        ("primary", False, False),  # until the store has confirmed it
        ("standby", False, False),
        ("replica", False, True),
    ],
)
def test_only_the_primary_takes_traffic_and_a_replica_that_of_readers(role, takes_writes, is_ready):
    daemon = replace(DAEMON, takes_writes=takes_writes)
    status = replace(sample_status(daemon=daemon), role=role, primary="rome")
    assert (_reasons(status) == ()) == is_ready


@pytest.mark.parametrize("is_here", [True, False])
def test_a_brake_of_this_site_keeps_it_from_traffic_and_one_elsewhere_does_not(is_here):
    brake = KnownBrake(
        dot=Dot(actor_id(b"\xab" * 16), 7),
        site="bari",
        is_here=is_here,
        is_capture=True,
        kind=BrakeKind.DELETION,
        reason="300 files",
        since_ms=0,
        amount=Amount(300, 1),
        paths=(),
    )
    reasons = _reasons(replace(sample_status(), brakes=(brake,)))
    expected = "brake abababab-7 holds changes (300 files): see geosync brake list"
    assert reasons == ((expected,) if is_here else ())


def test_the_text_names_every_reason():
    lost = replace(with_lag(90.0), watcher=replace(DAEMON.watcher, root_lost=True))
    found = readiness(sample_status(daemon=lost), now_ms=TAKEN_AT_MS, max_lag_s=5.0)
    assert readiness_text(found) == (
        "not ready: the directory /srv/files is gone; what the other sites wrote in the last"
        " 1 min 30 s may be missing (max_lag is 5 s)"
    )


def test_the_age_of_what_a_site_lacks_is_that_of_the_first_operation_it_lacks():
    times = WrittenTimes()
    for counter, now_ms in ((10, 1000), (10, 2000), (15, 3000), (16, 4000)):
        times.note(counter, now_ms)
    assert [times.first_after(each) for each in (0, 9, 10, 14, 15, 16)] == [
        1000, 1000, 3000, 3000, 4000, 0,
    ]  # fmt: skip


def test_the_moments_are_bounded_and_never_say_that_an_operation_is_older_than_it_is():
    times = WrittenTimes()
    for counter in range(1, 3 * MOMENTS_MAX):
        times.note(counter, 1000 * counter)
    assert len(times._counters) <= MOMENTS_MAX
    assert all(times.first_after(each) >= 1000 * (each + 1) for each in range(3 * MOMENTS_MAX - 1))
    assert times.first_after(3 * MOMENTS_MAX - 1) == 0
