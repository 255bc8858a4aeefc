"""`geosync token`: names what was written at this site, for others to wait for."""

from __future__ import annotations

import argparse

from geosync.clock import SystemClock
from geosync.commands.daemon_client import Deadline, configured, print_json, say
from geosync.commands.wait_command import capture_everything
from geosync.exit_codes import ExitCode
from geosync.reporting.written_token import token_of


def run(arguments: argparse.Namespace) -> ExitCode:
    """Prints the token. Raises OperatorError: the daemon is not running."""
    deadline = Deadline(arguments.timeout, SystemClock())
    captured = capture_everything(configured(arguments), deadline)
    token = token_of(captured["barrier"])
    if arguments.json:
        print_json({"token": token, "is_captured": captured["is_captured"]})
    elif captured["is_captured"]:
        print(token)
    else:
        first = captured["waiting"][0] if captured["waiting"] else {"path": "", "reason": ""}
        say(
            "timed out before everything written here could be captured, so there is no token;"
            f" {captured['waiting_count']} paths wait, first {first['path']}: {first['reason']}"
        )
    return ExitCode.DONE if captured["is_captured"] else ExitCode.TIMED_OUT
