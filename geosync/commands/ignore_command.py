"""`geosync ignore`: shows and sets what the volume leaves alone, with or without a daemon."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import closing

from conflict.ignore_patterns import ignore_patterns
from conflict.operations import ROOT
from geosync.commands.daemon_client import ask_daemon, configured
from geosync.commands.engine_alone import deciding_alone
from geosync.commands.path_argument import volume_path
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning
from geosync.exit_codes import ExitCode
from geosync.ignore_spec import IgnoreSpec, check_pattern
from geosync.journal.journal import Journal
from geosync.terminal import display_name


def run(arguments: argparse.Namespace) -> ExitCode:
    """Does what the action says. Raises OperatorError."""
    configuration = configured(arguments)
    match arguments.action:
        case "list":
            _list(configuration, as_json=arguments.json)
        case "check":
            return _check(configuration, arguments.path)
        case "add":
            check_pattern(os.fsencode(arguments.pattern))
            _decide(configuration, "ignore_add", arguments.pattern)
            print(f"ignored on all sites, from now on: {arguments.pattern}")
            print("What there is of it stays where it is, on each disk as it is there.")
        case _:
            _decide(configuration, "ignore_remove", arguments.pattern)
            print(f"ignored no more, on any site: {arguments.pattern}")
            print("Each site compares what it has of it with the volume, and deletes nothing.")
    return ExitCode.DONE


def _spec(configuration: Configuration) -> IgnoreSpec:
    with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
        return IgnoreSpec(ignore_patterns(journal.nodes.node(ROOT)))


def _list(configuration: Configuration, *, as_json: bool) -> None:
    patterns = _spec(configuration).patterns
    if as_json:
        print(json.dumps([os.fsdecode(pattern) for pattern in patterns]))
    elif patterns:
        print("\n".join(display_name(pattern) for pattern in patterns))
    else:
        print("nothing is ignored")


def _check(configuration: Configuration, text: str) -> ExitCode:
    path = volume_path(configuration, text)
    is_directory = text.endswith("/") or os.path.isdir(os.path.join(configuration.root, *path))
    found = _spec(configuration).deciding(path, is_directory=is_directory)
    shown = display_name(b"/".join(path))
    if found is None:
        print(f"{shown} is not ignored")
        return ExitCode.FAILED
    print(f"{shown} is ignored: {display_name(found)}")
    return ExitCode.DONE


def _decide(configuration: Configuration, command: str, pattern: str) -> None:
    try:
        ask_daemon(configuration, command, {"pattern": pattern})
    except DaemonNotRunning:
        with deciding_alone(configuration) as engine:
            decisions = engine.decisions
            decide = {"ignore_add": decisions.ignore, "ignore_remove": decisions.ignore_no_more}
            decide[command](os.fsencode(pattern))
