"""`geosync log PATH`: what happened to a path, on all sites."""

from __future__ import annotations

import argparse
import json
from contextlib import closing

from conflict.operations import ROOT
from conflict.path_history import history_of
from conflict.policy import policy_of
from geosync.commands.daemon_client import configured, say
from geosync.commands.path_argument import volume_path
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.kept_operations import is_cut_short, kept_operations
from geosync.reporting.path_history_text import events_json, events_table


def run(arguments: argparse.Namespace) -> ExitCode:
    """Shows the history. Raises OperatorError."""
    configuration = configured(arguments)
    path = volume_path(configuration, arguments.path)
    with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
        events = history_of(path, kept_operations(journal, configuration.volume))
        sites = policy_of(journal.nodes.node(ROOT)).sites
        is_whole = not is_cut_short(journal)
    if arguments.json:
        print(json.dumps({"is_whole": is_whole, "events": events_json(events, sites)}))
        return ExitCode.DONE if events else ExitCode.FAILED
    if events:
        print(events_table(events, sites))
    else:
        say(f"nothing is known of {arguments.path}: no site has captured a file of this path")
    if not is_whole:
        say("what lies further back was dropped when a checkpoint was made of it")
    return ExitCode.DONE if events else ExitCode.FAILED
