"""`geosync status`: how the site is doing, by its daemon or its journal."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import closing
from threading import Event

from conflict.report import conflicts
from geosync.clock import Clock, SystemClock
from geosync.commands.daemon_client import ask_daemon, configured
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning, JsonObject
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.http.access import load_token
from geosync.journal.journal import Journal
from geosync.reporting.status import observe_status
from geosync.reporting.status_text import status_answer

WATCH_EVERY_S = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def run(arguments: argparse.Namespace) -> ExitCode:
    """Shows the status, once or again and again. Raises OperatorError."""
    configuration, clock = configured(arguments), SystemClock()
    if arguments.http:
        return _show_http(configuration, as_json=arguments.json)
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


def _show_http(configuration: Configuration, *, as_json: bool) -> ExitCode:
    """Says where the status page is, and what it asks for before it changes anything."""
    status = ask_daemon(configuration, "status", {})["json"]
    assert isinstance(status, Mapping)
    address = status["daemon"]["http_address"]
    if not address:
        raise OperatorError(
            "the daemon serves no HTTP: `geosync status` and its log say why, or `listen` in the"
            " table [http] of the configuration is empty"
        )
    token = load_token(configuration.state_dir)
    if as_json:
        print(json.dumps({"url": f"http://{address}/", "token": token}))
    else:
        print(f"page   http://{address}/\ntoken  {token}")
    return ExitCode.DONE


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
