"""`geosync run`: the daemon."""

from __future__ import annotations

import argparse
import os

from geosync.clock import SystemClock
from geosync.commands.daemon_client import configured
from geosync.daemon.daemon import run_daemon
from geosync.exit_codes import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """Runs the daemon until it is asked to end. Raises GeosyncError."""
    run_daemon(configured(arguments, is_talkative=True), os.environ, SystemClock())
    return ExitCode.DONE
