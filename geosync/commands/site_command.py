"""`geosync site`: shows the sites of the volume, and retires one that is lost."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing

from geosync.clock import SystemClock
from geosync.commands.daemon_client import ask_daemon, configured
from geosync.commands.engine_alone import deciding_alone
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning
from geosync.engine.retiring import retire
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.site_list import site_rows, site_table, sites_json


def run(arguments: argparse.Namespace) -> ExitCode:
    """Does what the action says. Raises OperatorError."""
    configuration = configured(arguments)
    if arguments.action == "list":
        return _list(configuration, as_json=arguments.json)
    return _retire(configuration, arguments.name, is_sure=arguments.yes)


def _list(configuration: Configuration, *, as_json: bool) -> ExitCode:
    now_ms = SystemClock().wall_ns() // 1_000_000
    with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
        rows = site_rows(journal)
    print(json.dumps(sites_json(rows)) if as_json else site_table(rows, now_ms))
    return ExitCode.DONE


def _retire(configuration: Configuration, name: str, *, is_sure: bool) -> ExitCode:
    if not is_sure and not _is_wanted(name):
        print("nothing was changed")
        return ExitCode.FAILED
    try:
        answer = ask_daemon(configuration, "site_retire", {"site": name})
    except DaemonNotRunning:
        answer = _retire_without_daemon(configuration, name)
    actors = answer["actors"]
    assert isinstance(actors, list)
    if not actors:
        print(f"{name} is retired, or being retired, already; see: geosync site list")
        return ExitCode.DONE
    print(
        f"{name} is being retired: all other sites that are at work now say how far they have read"
        " its log; then nothing waits for it any more. See: geosync site list"
    )
    return ExitCode.DONE


def _is_wanted(name: str) -> bool:
    if not sys.stdin.isatty():
        raise OperatorError(
            f"retiring {name} can't be taken back: say so with --yes. Nothing was changed.",
            ExitCode.BAD_USAGE,
        )
    print(
        f"{name} will take no part in the volume any more. If it comes back it joins anew: it loses"
        " nothing that it has, but files that it deleted since it was last heard come back."
    )
    return input(f"Retire {name}? Type its name: ") == name


def _retire_without_daemon(configuration: Configuration, name: str) -> dict[str, object]:
    with deciding_alone(configuration) as engine:
        return {"actors": [actor.hex() for actor in retire(engine.site, name)]}
