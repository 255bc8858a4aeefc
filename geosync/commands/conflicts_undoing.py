"""`geosync conflicts undo`: brings back what was settled here, with or without a daemon."""

from __future__ import annotations

import argparse
import json
from contextlib import closing

from geosync.clock import SystemClock
from geosync.commands.daemon_client import Deadline, ask_daemon
from geosync.commands.engine_alone import deciding_alone
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning, JsonObject
from geosync.engine.downloading import ContentUnavailable
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.settlement_text import settlement_json, settlements_text

WAIT_S = 60.0


def undo(configuration: Configuration, arguments: argparse.Namespace, name: str | None) -> ExitCode:
    """Undoes one settlement, or lists them. Raises OperatorError."""
    if arguments.list:
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            found = [settlement_json(each) for each in journal.settlements.settled()]
        empty = "nothing was settled here"
        print(json.dumps(found) if arguments.json else settlements_text(found) if found else empty)
        return ExitCode.DONE
    try:
        found_one = _ask(configuration, name)
    except DaemonNotRunning:
        found_one = _undo_without_daemon(configuration, name)
    if arguments.json:
        print(json.dumps(found_one))
    else:
        print(f"undone {found_one['id']} about {found_one['path']}: both versions are back")
    return ExitCode.DONE


def _ask(configuration: Configuration, name: str | None) -> JsonObject:
    """Asks again as long as a version is on its way from the store."""
    deadline = Deadline(WAIT_S, SystemClock())
    while True:
        answer = ask_daemon(configuration, "conflicts_undo", {"identity": name})
        if answer.pop("is_done") is True:
            return answer
        if deadline.is_over():
            raise OperatorError(_why_not(answer["why"]), ExitCode.TIMED_OUT)


def _undo_without_daemon(configuration: Configuration, name: str | None) -> JsonObject:
    with deciding_alone(configuration) as engine:
        try:
            return settlement_json(engine.decisions.undo(name))
        except ContentUnavailable as error:
            raise OperatorError(_why_not(error)) from error
        except OSError as error:
            text = f"the versions can't be kept: {error}. Nothing was changed."
            raise OperatorError(text) from error


def _why_not(reason: object) -> str:
    return (
        f"a version can't be read now: {reason}. Nothing was changed. It may be on its way, or not"
        " be kept any more: try again in a minute."
    )
