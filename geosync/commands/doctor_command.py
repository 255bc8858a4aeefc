"""`geosync doctor`: looks at this machine and the store, and says what to do."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

from geosync.clock import SystemClock
from geosync.commands.daemon_client import ask_daemon, configured, print_json
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning
from geosync.errors import OperatorError
from geosync.examination.examination import examine
from geosync.examination.finding import Finding, Level
from geosync.examination.findings_text import (
    finding_text,
    findings_json,
    summary_text,
    worst_level,
)
from geosync.exit_codes import ExitCode

_EXIT_CODES = {
    Level.OK: ExitCode.DONE,
    Level.NOTE: ExitCode.DONE,
    Level.WARNING: ExitCode.NEEDS_PERSON,
    Level.FAILURE: ExitCode.FAILED,
}


def run(arguments: argparse.Namespace) -> ExitCode:
    """Examines and reports. Raises OperatorError: the configuration is missing or wrong."""
    configuration = configured(arguments)
    findings: list[Finding] = []
    for finding in examine(configuration, os.environ, SystemClock(), _status(configuration)):
        findings.append(finding)
        if not arguments.json:
            print(finding_text(finding), flush=True)
    if arguments.json:
        names = {"volume": configuration.volume, "site": configuration.site}
        print_json(findings_json(findings, **names))
    else:
        print(summary_text(findings))
    return _EXIT_CODES[worst_level(findings)]


def _status(configuration: Configuration) -> Mapping[str, object] | None:
    """Returns what a daemon tells; None when there is none, or it may not be asked."""
    try:
        status = ask_daemon(configuration, "status", {})["json"]
    except (DaemonNotRunning, OperatorError):
        return None
    return status if isinstance(status, Mapping) else None
