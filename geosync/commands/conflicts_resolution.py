"""`geosync conflicts resolve`: settles one conflict or many, with or without a daemon."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing

from geosync.assembly.assembly import assembled, open_store, retrying
from geosync.clock import SystemClock
from geosync.commands.daemon_client import ask_daemon, say
from geosync.configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning, JsonObject
from geosync.daemon.single_instance import single_instance
from geosync.engine.resolving import Choice
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode

STORE_BUDGET_S = 3.0

_OUTCOMES = {
    Choice.WINNER: "the version that has the name stays, the other one was dropped",
    Choice.LOSER: "the version that was kept aside takes the name",
    Choice.BOTH: "both versions stay, the one that was kept aside as a file of its own",
}


def resolve_conflicts(
    configuration: Configuration, arguments: argparse.Namespace, chosen: Sequence[JsonObject]
) -> ExitCode:
    """Settles conflicts as the arguments say, one after the other.

    Raises:
        OperatorError: one of them can't be settled so; those before it are.
    """
    decided = [(each, _choice(arguments, each)) for each in chosen]
    for conflict, _ in (item for item in decided if item[1] is None):
        site = arguments.take_site
        say(f"left {conflict['id']} about {conflict['path']}: no version of it is by {site}")
    to_settle = [(conflict, choice) for conflict, choice in decided if choice is not None]
    if arguments.dry_run:
        for conflict, choice in to_settle:
            print(f"would settle {conflict['id']} about {conflict['path']}: {_OUTCOMES[choice]}")
    else:
        _settle(configuration, to_settle)
    if not chosen:
        say("there is no such conflict")
    is_all = all(choice is not None for _, choice in decided)
    return ExitCode.DONE if is_all else ExitCode.NEEDS_PERSON


def _choice(arguments: argparse.Namespace, conflict: JsonObject) -> Choice | None:
    if arguments.take is not None:
        return Choice(arguments.take)
    for role, choice in (("winner", Choice.WINNER), ("loser", Choice.LOSER)):
        version = conflict[role]
        if isinstance(version, Mapping) and version["site"] == arguments.take_site:
            return choice
    return None


def _settle(configuration: Configuration, to_settle: list[tuple[JsonObject, Choice]]) -> None:
    while to_settle:
        conflict, choice = to_settle[0]
        request: JsonObject = {"identity": conflict["id"], "take": choice.value}
        try:
            ask_daemon(configuration, "conflicts_resolve", request)
        except DaemonNotRunning:
            _settle_without_daemon(configuration, to_settle)
            return
        _tell(conflict, choice)
        del to_settle[0]


def _settle_without_daemon(
    configuration: Configuration, to_settle: Sequence[tuple[JsonObject, Choice]]
) -> None:
    clock = SystemClock()
    with ExitStack() as stack:
        store = stack.enter_context(closing(open_store(configuration, os.environ)))
        asking = retrying(store, clock, STORE_BUDGET_S)
        stack.enter_context(single_instance(configuration, clock))
        engine = stack.enter_context(assembled(configuration, clock, asking, asking))
        try:
            for conflict, choice in to_settle:
                engine.resolve(str(conflict["id"]), choice)
                _tell(conflict, choice)
        except OperatorError:
            engine.cycle({})
            raise
        engine.cycle({})


def _tell(conflict: JsonObject, choice: Choice) -> None:
    print(f"settled {conflict['id']} about {conflict['path']}: {_OUTCOMES[choice]}, on all sites")
