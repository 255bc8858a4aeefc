"""`geosync brake`: shows what brakes hold, and decides about it, with or without a daemon."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from typing import Any, Final

from geosync.clock import SystemClock
from geosync.commands.daemon_client import ask_daemon, configured
from geosync.commands.engine_alone import deciding_alone
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning
from geosync.engine.brake_verdicts import known_brakes, plan_of
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.brake_text import brake_json, brakes_text, plan_json
from transport.brake_record import Verdict

_VERDICTS: Final = {"approve": Verdict.APPROVED, "reject": Verdict.REJECTED}
_OUTCOMES: Final = {
    Verdict.APPROVED: "what it holds is done on all sites",
    Verdict.REJECTED: "the files are as they were on all sites; what was written is kept as a"
    " conflict",
}

_Brake = dict[str, Any]


def run(arguments: argparse.Namespace) -> ExitCode:
    """Does what the action says. Raises OperatorError."""
    configuration = configured(arguments)
    if arguments.action == "list":
        return _list(configuration, as_json=arguments.json, with_plan=arguments.plan)
    return _decide(configuration, arguments.identity, _VERDICTS[arguments.action])


def _list(configuration: Configuration, *, as_json: bool, with_plan: bool) -> ExitCode:
    request: dict[str, object] = {"with_plan": with_plan}
    try:
        found: list[_Brake] = ask_daemon(configuration, "brake_list", request)["brakes"]  # type: ignore[assignment]
    except DaemonNotRunning:
        now_ms = SystemClock().wall_ns() // 1_000_000
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            found = [
                brake_json(brake, now_ms=now_ms)
                | ({"plan": plan_json(plan_of(journal, brake))} if with_plan else {})
                for brake in known_brakes(journal, configuration.site)
            ]
    if as_json:
        print(json.dumps(found))
    else:
        print(brakes_text(found) or "no brakes")
    is_waiting = any(brake["verdict"] is None for brake in found)
    return ExitCode.NEEDS_PERSON if is_waiting else ExitCode.DONE


def _decide(configuration: Configuration, name: str, verdict: Verdict) -> ExitCode:
    try:
        request: dict[str, object] = {"id": name, "verdict": verdict.name.lower()}
        found = ask_daemon(configuration, "brake_decide", request)
    except DaemonNotRunning:
        found = _decide_without_daemon(configuration, name, verdict)
    print(f"{verdict.name.lower()} {found['id']} at {found['site']}: {_OUTCOMES[verdict]}")
    return ExitCode.DONE


def _decide_without_daemon(
    configuration: Configuration, name: str, verdict: Verdict
) -> dict[str, object]:
    with deciding_alone(configuration) as engine:
        found = engine.decisions.decide_brake(name, verdict)
        return brake_json(found, now_ms=engine.site.now_ms())
