"""`geosync conflicts`: shows open conflicts and settles them, with or without a daemon."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import closing
from threading import Event

from conflict.report import conflicts
from geosync.clock import Clock, SystemClock
from geosync.commands.conflicts_dialogue import resolve_in_dialogue
from geosync.commands.conflicts_difference import conflict_difference
from geosync.commands.conflicts_resolution import resolve_conflicts
from geosync.commands.conflicts_undoing import undo
from geosync.commands.daemon_client import ask_daemon, configured, say
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning, JsonObject
from geosync.engine.resolving import chosen_conflict
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.conflict_filter import ConflictFilter
from geosync.reporting.conflict_report import ConflictReport, ReportFormat, written
from geosync.reporting.conflict_text import (
    conflict_json,
    conflict_line,
    conflict_table,
    conflict_text,
)
from geosync.reporting.drift_text import KIND as DRIFT
from geosync.reporting.drift_text import drift_json, drift_table

WATCH_EVERY_S = 2.0


def run(arguments: argparse.Namespace) -> ExitCode:
    """Does what the action says. Raises OperatorError."""
    configuration, clock = configured(arguments), SystemClock()
    match arguments.action:
        case "list":
            return _list(configuration, arguments, clock)
        case "show":
            return _show(configuration, arguments)
        case "diff":
            identity = _without_root(configuration, arguments.identity)
            versions = (arguments.from_version, arguments.to_version)
            print(conflict_difference(configuration, identity, *versions))
            return ExitCode.DONE
        case "report":
            return _report(configuration, arguments, clock)
        case "watch":
            return _watch(configuration, arguments, clock)
        case "undo":
            name = arguments.identity
            return undo(configuration, arguments, name and _without_root(configuration, name))
        case _:
            return _resolve(configuration, arguments, clock)


def _list(configuration: Configuration, arguments: argparse.Namespace, clock: Clock) -> ExitCode:
    found = _wanted(configuration, arguments, clock)
    drift = [each for each in found if each["kind"] == DRIFT]
    versions = [each for each in found if each["kind"] != DRIFT]
    if arguments.json:
        print(json.dumps(found))
    elif found:
        tables = [conflict_table(versions)] if versions else []
        tables += [drift_table(drift, now_ms=_now_ms(clock))] if drift else []
        print("\n\n".join(tables))
    else:
        print("no conflicts")
    return ExitCode.NEEDS_PERSON if found else ExitCode.DONE


def _show(configuration: Configuration, arguments: argparse.Namespace) -> ExitCode:
    identity = _without_root(configuration, arguments.identity)
    try:
        found = ask_daemon(configuration, "conflicts_show", {"identity": identity})
    except DaemonNotRunning:
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            conflict = chosen_conflict(journal, identity)
            found = conflict_json(conflict, journal)
    print(json.dumps(found) if arguments.json else conflict_text(found))
    return ExitCode.DONE


def _report(configuration: Configuration, arguments: argparse.Namespace, clock: Clock) -> ExitCode:
    found = [each for each in _wanted(configuration, arguments, clock) if each["kind"] != DRIFT]
    names = (configuration.volume, configuration.site)
    report = ConflictReport(*names, _now_ms(clock), found)
    text = written(report, ReportFormat(arguments.format))
    if arguments.output is None:
        print(text)
    else:
        _write(arguments.output, text)
        say(f"wrote {len(found)} conflicts to {arguments.output}")
    return ExitCode.NEEDS_PERSON if found else ExitCode.DONE


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OperatorError(f"cannot write the report to {path}: {error.strerror}") from error


def _watch(configuration: Configuration, arguments: argparse.Namespace, clock: Clock) -> ExitCode:
    """Prints a line for each conflict that appears or is over, those that are open first."""
    known: dict[str, JsonObject] = {}
    while True:
        found = {_key(each): each for each in _wanted(configuration, arguments, clock)}
        for key in sorted(found.keys() - known.keys()):
            _tell("open", found[key], as_json=arguments.json)
        for key in sorted(known.keys() - found.keys()):
            _tell("settled", known[key], as_json=arguments.json)
        known = found
        clock.wait(Event(), WATCH_EVERY_S)


def _tell(change: str, conflict: JsonObject, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"change": change, "conflict": conflict}), flush=True)
    else:
        print(f"{change:8}{conflict_line(conflict)}", flush=True)


def _key(conflict: JsonObject) -> str:
    return f"{conflict['id'] or ''} {conflict['path']}"


def _resolve(configuration: Configuration, arguments: argparse.Namespace, clock: Clock) -> ExitCode:
    named = [arguments.identity is not None, arguments.matching is not None]
    if sum(named) != 1 and not (arguments.interactive and sum(named) == 0):
        raise OperatorError(
            "name one conflict, ID or PATH, or all of some paths with --matching GLOB; see: geosync"
            " conflicts list",
            ExitCode.BAD_USAGE,
        )
    if arguments.file is not None and arguments.matching is not None:
        raise OperatorError("--file is the content of one path: name it", ExitCode.BAD_USAGE)
    if arguments.identity is not None:
        chosen = [_one(configuration, _without_root(configuration, arguments.identity))]
    else:
        wanted = ConflictFilter(glob=arguments.matching)
        found = [each for each in _all(configuration) if wanted.accepts(each, _now_ms(clock))]
        chosen = [each for each in found if each["kind"] != DRIFT]
    if arguments.interactive:
        return resolve_in_dialogue(configuration, chosen)
    return resolve_conflicts(configuration, arguments, chosen)


def _one(configuration: Configuration, identity: str) -> JsonObject:
    try:
        return ask_daemon(configuration, "conflicts_show", {"identity": identity})
    except DaemonNotRunning:
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            return conflict_json(chosen_conflict(journal, identity), journal)


def _wanted(
    configuration: Configuration, arguments: argparse.Namespace, clock: Clock
) -> list[JsonObject]:
    wanted = ConflictFilter(
        glob=arguments.path,
        site=arguments.site,
        kind=arguments.kind,
        older_than_s=arguments.older_than,
        newer_than_s=arguments.newer_than,
    )
    return [each for each in _all(configuration) if wanted.accepts(each, _now_ms(clock))]


def _all(configuration: Configuration) -> list[JsonObject]:
    try:
        found: list[JsonObject] = ask_daemon(configuration, "conflicts_list", {})["conflicts"]  # type: ignore[assignment]
    except DaemonNotRunning:
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            found = [conflict_json(each, journal) for each in conflicts(journal.nodes)]
            found += drift_json(configuration, journal)
    return found


def _now_ms(clock: Clock) -> int:
    return clock.wall_ns() // 1_000_000


def _without_root(configuration: Configuration, identity: str) -> str:
    """Takes paths as shells complete them, too: with the root before them."""
    prefix = os.fsdecode(configuration.root).rstrip("/") + "/"
    return identity.removeprefix(prefix)
