"""`geosync demote`: everything written here is stored, then this site follows."""

from __future__ import annotations

import argparse
from typing import Any

from geosync.clock import SystemClock
from geosync.commands.daemon_client import Deadline, ask_daemon, configured, print_json, say
from geosync.daemon.control_socket import JsonObject
from geosync.exit_codes import ExitCode

SLICE_S = 10.0


def run(arguments: argparse.Namespace) -> ExitCode:
    """Demotes this site. Raises OperatorError: the daemon is not running, or there is no mode."""
    configuration = configured(arguments)
    deadline = Deadline(arguments.timeout, SystemClock())
    is_begun = False
    while True:
        request: JsonObject = {"is_begun": is_begun, "timeout_s": deadline.slice_s(SLICE_S)}
        answer: dict[str, Any] = ask_daemon(configuration, "demote", request)
        is_begun = True
        if answer["is_done"] or deadline.is_over():
            break
    if arguments.json:
        print_json(answer)
    else:
        _tell(answer)
    return ExitCode.DONE if answer["is_done"] else ExitCode.TIMED_OUT


def _tell(answer: dict[str, Any]) -> None:
    if answer["is_done"]:
        print("demoted: all that was written here is stored, and nothing is captured any more")
        print("on the site that is to be the primary: geosync promote")
        return
    if answer["is_released"]:
        reason = f": {answer['store_error']}" if answer["store_error"] else ""
        say(
            "this site captures nothing any more, but the store does not have all of it yet"
            f"{reason}. It goes on by itself; run geosync demote again to wait for it."
        )
        return
    first = answer["waiting"][0] if answer["waiting"] else {"path": "", "reason": "at work"}
    say(
        f"this site is still the primary: {answer['waiting_count']} paths are not captured yet,"
        f" first {first['path']}: {first['reason']}. Stop the programs that write there; it goes on"
        " by itself. Run geosync demote again to wait for it."
    )
