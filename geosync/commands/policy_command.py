"""`geosync policy`: shows and sets what becomes of conflicts, with or without a daemon."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import closing

from geosync.commands.daemon_client import ask_daemon, configured, say
from geosync.commands.engine_alone import deciding_alone
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning, JsonObject
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.policy_text import policies_json, policies_text, rule_of


def run(arguments: argparse.Namespace) -> ExitCode:
    """Does what the action says. Raises OperatorError."""
    configuration = configured(arguments)
    match arguments.action:
        case "list":
            found = _all(configuration)
            print(json.dumps(found) if arguments.json else policies_text(found))
        case "set":
            _set(configuration, arguments.glob, arguments.policy)
        case _:
            _unset(configuration, arguments.glob)
    return ExitCode.DONE


def _all(configuration: Configuration) -> list[JsonObject]:
    try:
        return ask_daemon(configuration, "policy_list", {})["policies"]  # type: ignore[return-value]
    except DaemonNotRunning:
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            return policies_json(journal)


def _set(configuration: Configuration, glob: str, text: str) -> None:
    rule = rule_of(glob, text)
    try:
        ask_daemon(configuration, "policy_set", {"glob": glob, "policy": text})
    except DaemonNotRunning:
        with deciding_alone(configuration) as engine:
            engine.decisions.set_policy(rule)
    print(f"set {rule.text} for {glob}, on all sites")
    program = rule.program.decode(errors="replace")
    if program and program not in configuration.merge_programs:
        say(
            f"this site has no [merge_program.{program}] in {configuration.source}: it leaves these"
            " conflicts to sites that have one"
        )


def _unset(configuration: Configuration, glob: str) -> None:
    try:
        ask_daemon(configuration, "policy_unset", {"glob": glob})
    except DaemonNotRunning:
        with deciding_alone(configuration) as engine:
            engine.decisions.unset_policy(os.fsencode(glob))
    print(f"unset the policy for {glob}, on all sites")
