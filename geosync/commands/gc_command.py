"""`geosync gc`: removes from the store what nobody needs, and tells what becomes of the rest."""

from __future__ import annotations

import argparse
from contextlib import closing

from geosync.clock import SystemClock
from geosync.commands.daemon_client import ask_daemon, configured, print_json
from geosync.commands.engine_alone import engine_alone
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.collection_report import (
    collection_json,
    collection_report,
    collection_text,
)


def run(arguments: argparse.Namespace) -> ExitCode:
    """Collects, or explains. Raises OperatorError."""
    configuration = configured(arguments)
    doubt = _doubt(configuration) if arguments.explain else _collect(configuration)
    kept_s = int(configuration.tuning.collection_pace.history_s)
    with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
        report = collection_report(journal, kept_s)
    if arguments.json:
        print_json(collection_json(report, doubt))
    else:
        print(collection_text(report, doubt, SystemClock().wall_ns() // 1_000_000))
    return ExitCode.DONE


def _doubt(configuration: Configuration) -> str | None:
    """Returns what the daemon says hinders it; without one nothing is known to."""
    try:
        answer = ask_daemon(configuration, "gc", {"is_explaining": True})
    except DaemonNotRunning:
        return None
    return None if answer["doubt"] is None else str(answer["doubt"])


def _collect(configuration: Configuration) -> str | None:
    try:
        answer = ask_daemon(configuration, "gc", {"is_explaining": False})
    except DaemonNotRunning:
        return _collect_without_daemon(configuration)
    return None if answer["doubt"] is None else str(answer["doubt"])


def _collect_without_daemon(configuration: Configuration) -> str | None:
    with engine_alone(configuration) as engine:
        engine.cycle({(): True})
        engine.upkeep.collect()
        while True:
            cycle = engine.cycle({})
            doubt = engine.upkeep.doubt(cycle)
            if doubt is not None or not cycle.has_more:
                return doubt
