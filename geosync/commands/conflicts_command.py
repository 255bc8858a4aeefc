"""`geosync conflicts`: shows open conflicts and settles them, with or without a daemon."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import closing
from typing import Any

from conflict.report import conflicts
from geosync.assembly.assembly import assembled, open_store, retrying
from geosync.clock import SystemClock
from geosync.commands.daemon_client import ask_daemon, configured
from geosync.configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning
from geosync.daemon.single_instance import single_instance
from geosync.engine.resolving import Choice, chosen_conflict, find_conflict
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.conflict_text import conflict_json, conflict_table, conflict_text
from geosync.reporting.drift_text import KIND as DRIFT
from geosync.reporting.drift_text import drift_json, drift_table

STORE_BUDGET_S = 3.0

_Conflict = dict[str, Any]


def run(arguments: argparse.Namespace) -> ExitCode:
    """Does what the action says. Raises OperatorError."""
    configuration = configured(arguments)
    match arguments.action:
        case "list":
            return _list(configuration, as_json=arguments.json)
        case "show":
            return _show(configuration, arguments.identity, as_json=arguments.json)
        case _:
            return _resolve(configuration, arguments.identity, Choice(arguments.take))


def _list(configuration: Configuration, *, as_json: bool) -> ExitCode:
    try:
        found: list[_Conflict] = ask_daemon(configuration, "conflicts_list", {})["conflicts"]  # type: ignore[assignment]
    except DaemonNotRunning:
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            found = [conflict_json(each, journal) for each in conflicts(journal.nodes)]
            found += drift_json(configuration, journal)
    drift = [each for each in found if each["kind"] == DRIFT]
    versions = [each for each in found if each["kind"] != DRIFT]
    if as_json:
        print(json.dumps(found))
    elif found:
        now_ms = SystemClock().wall_ns() // 1_000_000
        tables = [conflict_table(versions)] if versions else []
        tables += [drift_table(drift, now_ms=now_ms)] if drift else []
        print("\n\n".join(tables))
    else:
        print("no conflicts")
    return ExitCode.NEEDS_PERSON if found else ExitCode.DONE


def _show(configuration: Configuration, identity: str, *, as_json: bool) -> ExitCode:
    identity = _without_root(configuration, identity)
    try:
        found = ask_daemon(configuration, "conflicts_show", {"identity": identity})
    except DaemonNotRunning:
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            conflict = chosen_conflict(journal, identity)
            found = conflict_json(conflict, journal)
    print(json.dumps(found) if as_json else conflict_text(found))
    return ExitCode.DONE


def _resolve(configuration: Configuration, identity: str, choice: Choice) -> ExitCode:
    identity = _without_root(configuration, identity)
    try:
        request: dict[str, object] = {"identity": identity, "take": choice.value}
        found = ask_daemon(configuration, "conflicts_resolve", request)
    except DaemonNotRunning:
        found = _resolve_without_daemon(configuration, identity, choice)
    outcome = {
        Choice.WINNER: "the version that has the name stays, the other one was dropped",
        Choice.LOSER: "the version that was kept aside takes the name",
        Choice.BOTH: "both versions stay, the one that was kept aside as a file of its own",
    }[choice]
    print(f"settled {found['id']} about {found['path']}: {outcome}, on all sites")
    return ExitCode.DONE


def _resolve_without_daemon(
    configuration: Configuration, identity: str, choice: Choice
) -> dict[str, object]:
    clock = SystemClock()
    with closing(open_store(configuration, os.environ)) as store:
        asking = retrying(store, clock, STORE_BUDGET_S)
        with (
            single_instance(configuration, clock),
            assembled(configuration, clock, asking, asking) as engine,
        ):
            conflict = find_conflict(engine.site, identity)
            found = conflict_json(conflict, engine.site.journal)
            engine.resolve(identity, choice)
            engine.cycle({})
    return found


def _without_root(configuration: Configuration, identity: str) -> str:
    """Takes paths as shells complete them, too: with the root before them."""
    prefix = os.fsdecode(configuration.root).rstrip("/") + "/"
    return identity.removeprefix(prefix)
