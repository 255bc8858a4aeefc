"""`geosync check`: states, thresholds and performance data as monitoring systems read them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from geosync.errors import OperatorError
from geosync.reporting.check_text import (
    CRITICAL_ABOVE,
    MEASURES,
    WARNING_ABOVE,
    CheckState,
    check,
    limits,
)
from geosync.reporting.status import StatusProblem, WaitingPath
from geosync.reporting.status_text import status_json
from tests.support.sample_status import DAEMON, TAKEN_AT_MS, peer, sample_status, with_lag

PERFORMANCE = re.compile(r"[a-z-]+=(U|\d+(\.\d+)?(s|B)?);\d*;\d*;0")


def _check(status, warning=WARNING_ABOVE, critical=CRITICAL_ABOVE):
    return check(status_json(status, now_ms=TAKEN_AT_MS), warning, critical)


def test_a_site_that_is_well_is_ok_and_says_so_in_one_line():
    state, line = _check(sample_status())
    assert state is CheckState.OK
    assert line == (
        "GEOSYNC OK - bari of volume files: in sync | lag=0.5s;60;300;0 peer-lag=0s;;;0"
        " conflicts=0;0;;0 brakes=0;0;;0 problems=0;0;;0 waiting=0;;;0 unpublished=0;;;0"
    )


@pytest.mark.parametrize(
    ("lag_s", "state"),
    [(60.0, "OK"), (60.1, "WARNING"), (300.0, "WARNING"), (300.5, "CRITICAL"), (None, "CRITICAL")],
)
def test_a_lag_is_judged_by_thresholds_that_are_still_fine_themselves(lag_s, state):
    found, line = _check(sample_status(daemon=with_lag(lag_s)))
    assert found.name == state
    assert line.startswith(f"GEOSYNC {state} - ")


def test_the_worst_comes_first_and_everything_above_a_threshold_is_named():
    status = sample_status(
        daemon=with_lag(400.0), conflicts=2, problems=(StatusProblem("disk", 0, "full"),)
    )
    state, line = _check(status)
    assert state is CheckState.CRITICAL
    text = line.partition(" | ")[0]
    assert text.endswith("6 min 40 s behind; 2 conflicts; disk: full")


def test_another_site_that_lags_is_named_where_that_is_asked_for():
    status = sample_status(sites=(peer("rome"), peer("oslo", behind_since_ms=TAKEN_AT_MS - 90_000)))
    assert _check(status)[0] is CheckState.OK
    state, line = _check(status, warning={"peer-lag": 60.0})
    assert state is CheckState.WARNING
    assert "oslo is 1 min 30 s behind this one" in line


def test_hostile_text_ends_neither_the_line_nor_begins_performance_data():
    waiting = replace(DAEMON, waiting=(WaitingPath("a|b", "x\n| lag=0s"),), waiting_count=1)
    _, line = _check(sample_status(daemon=waiting), warning={"waiting": 0.0})
    assert "\n" not in line
    text, _, data = line.partition("|")
    assert "a¦b" in text
    assert all(PERFORMANCE.fullmatch(word) for word in data.split())
    assert [word.partition("=")[0] for word in data.split()] == list(MEASURES)


def test_thresholds_change_only_what_they_name():
    assert limits(["lag=5s,waiting=3", "conflicts=1.5"], WARNING_ABOVE) == {
        **WARNING_ABOVE, "lag": 5.0, "waiting": 3.0, "conflicts": 1.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "word", ["", "lag", "lag=", "lag=x", "lag=-1", "lag=inf", "size=1", "lag=1;2"]
)
def test_what_is_no_threshold_is_refused(word):
    with pytest.raises(OperatorError, match="is no threshold"):
        limits([word], {})
