"""`geosync why PATH`: why a path is as it is."""

from __future__ import annotations

import argparse
from contextlib import closing

from conflict.synced import Path
from geosync.commands.daemon_client import ask_daemon, configured, print_json
from geosync.commands.path_argument import volume_path
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning
from geosync.engine.site import joined
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.path_reasons import LiveReasons, path_reasons, reasons_text


def run(arguments: argparse.Namespace) -> ExitCode:
    """Shows the reasons. Raises OperatorError."""
    configuration = configured(arguments)
    path = volume_path(configuration, arguments.path)
    live = _live(configuration, path)
    with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
        found = path_reasons(path, journal, live)
    if arguments.json:
        print_json(found)
    else:
        print(reasons_text(found))
    return ExitCode.NEEDS_PERSON if found["conflicts"] else ExitCode.DONE


def _live(configuration: Configuration, path: Path) -> LiveReasons | None:
    try:
        found = ask_daemon(configuration, "path_live", {"path_hex": joined(path).hex()})
    except DaemonNotRunning:
        return None
    waiting = found["waiting"]
    return LiveReasons(str(waiting) if waiting else None, bool(found["is_excluded"]))
