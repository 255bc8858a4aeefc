"""`geosync check`: the state of a site for monitoring systems, by the running daemon."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from conflict.errors import GeosyncError
from geosync.commands.daemon_client import ask_daemon, configured
from geosync.daemon.control_socket import DaemonNotRunning
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.reporting.check_text import (
    CRITICAL_ABOVE,
    WARNING_ABOVE,
    CheckState,
    check,
    check_line,
    limits,
)


def run(arguments: argparse.Namespace) -> CheckState:
    """Prints one line and returns the state; never raises what is to be read by a program."""
    try:
        state, line = _checked(arguments)
    except DaemonNotRunning as error:
        state, line = CheckState.CRITICAL, check_line(CheckState.CRITICAL, str(error))
    except OperatorError as error:
        is_slow = error.exit_code is ExitCode.TIMED_OUT
        state = CheckState.CRITICAL if is_slow else CheckState.UNKNOWN
        line = check_line(state, " ".join(str(error).split()))
    except GeosyncError as error:
        state, line = CheckState.UNKNOWN, check_line(CheckState.UNKNOWN, str(error))
    print(line)
    return state


def _checked(arguments: argparse.Namespace) -> tuple[CheckState, str]:
    warning = limits(arguments.warning, WARNING_ABOVE)
    critical = limits(arguments.critical, CRITICAL_ABOVE)
    status = ask_daemon(configured(arguments), "status", {}, arguments.timeout)["json"]
    assert isinstance(status, Mapping)
    return check(status, warning, critical)
