"""`geosync status`: how the site is doing, by its daemon or its journal."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from threading import Event

from conflict.report import conflicts
from geosync.clock import Clock, SystemClock
from geosync.commands.daemon_client import ask_daemon, configured
from geosync.configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning, JsonObject
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.status import observe_status
from geosync.reporting.status_text import status_answer

WATCH_EVERY_S = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def run(arguments: argparse.Namespace) -> ExitCode:
    """Shows the status, once or again and again. Raises OperatorError."""
    configuration, clock = configured(arguments), SystemClock()
    _show(arguments, _status(configuration, clock))
    while arguments.watch:
        clock.wait(Event(), WATCH_EVERY_S)
        _show(arguments, _status(configuration, clock))
    return ExitCode.DONE


def _show(arguments: argparse.Namespace, status: JsonObject) -> None:
    if arguments.json:
        print(json.dumps(status["json"]), flush=True)
        return
    if arguments.watch and sys.stdout.isatty():
        print(_CLEAR, end="")
    print(status["text"], flush=True)


def _status(configuration: Configuration, clock: Clock) -> JsonObject:
    try:
        return ask_daemon(configuration, "status", {})
    except DaemonNotRunning:
        now_ms = clock.wall_ns() // 1_000_000
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            status = observe_status(
                configuration,
                journal,
                now_ms=now_ms,
                conflict_count=sum(1 for _ in conflicts(journal.nodes)),
                daemon=None,
            )
        return status_answer(status, now_ms=now_ms)
