"""The daemon's answers while the control thread is busy, and to requests that are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from geosync.clock import SystemClock
from geosync.configuration.volume_configuration import Tuning
from geosync.daemon import daemon_commands
from geosync.daemon.daemon_commands import DaemonCommands
from geosync.daemon.daemon_state import DaemonState
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.reporting.status import Status, ToPublish

NO_RELOADER: Any = None  # not asked
STATUS = Status(
    volume="files",
    site="bari",
    mode="multi-master",
    root="/srv/files",
    actor="ab" * 16,
    taken_at_ms=SystemClock().wall_ns() // 1_000_000 - 90_000,
    entries=3,
    conflicts=0,
    to_publish=ToPublish(0, 0, 0, 0),
    sites=(),
    problems=(),
    problem_count=0,
    daemon=None,
)


@pytest.fixture
def state() -> DaemonState:
    """State whose queue nobody serves: the control thread is busy."""
    return DaemonState(Tuning())


def test_a_busy_daemon_answers_with_the_last_status_and_its_age(state) -> None:
    state.status = STATUS
    told = DaemonCommands(state, SystemClock(), NO_RELOADER).handle("status", {})
    assert told["json"]["entries"] == 3
    assert told["json"]["age_s"] >= 90


def test_a_daemon_that_has_just_begun_says_so(state, monkeypatch) -> None:
    monkeypatch.setattr(daemon_commands, "FIRST_STATUS_WAIT_S", 0.01)
    with pytest.raises(OperatorError, match="the daemon is starting"):
        DaemonCommands(state, SystemClock(), NO_RELOADER).handle("status", {})


def test_a_daemon_that_has_just_begun_says_how_far_it_is(state, monkeypatch) -> None:
    monkeypatch.setattr(daemon_commands, "FIRST_STATUS_WAIT_S", 0.01)
    state.progress.note_reading(7, 20, now_s=0.0)
    with pytest.raises(OperatorError, match=r"starting \(reading the history: 7 of 20 .*\)"):
        DaemonCommands(state, SystemClock(), NO_RELOADER).handle("status", {})


def test_other_commands_of_a_busy_daemon_time_out(state, monkeypatch) -> None:
    monkeypatch.setattr(daemon_commands, "BUSY_S_MAX", 0.01)
    with pytest.raises(OperatorError, match="the daemon is busy") as refused:
        DaemonCommands(state, SystemClock(), NO_RELOADER).handle("conflicts_list", {})
    assert refused.value.exit_code is ExitCode.TIMED_OUT


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("dance", {}),
        ("conflicts_show", {}),
        ("conflicts_resolve", {"identity": 7, "take": "winner"}),
        ("conflicts_resolve", {"identity": "a", "take": "mine"}),
        ("wait", {}),
        ("wait", {"barrier": {"xy": 1}}),
        ("wait", {"barrier": {"ab" * 16: "many"}}),
        ("wait", {"barrier": {"ab" * 16: -1}}),
        ("wait", {"barrier": {}, "sites": "bari"}),
        ("wait", {"barrier": {}, "timeout_s": "long"}),
    ],
)
def test_a_request_that_makes_no_sense_is_bad_usage(state, command, arguments) -> None:
    with pytest.raises(OperatorError) as refused:
        DaemonCommands(state, SystemClock(), NO_RELOADER).handle(command, arguments)
    assert refused.value.exit_code is ExitCode.BAD_USAGE
