"""`geosync wait`: until what was written here is applied at other sites."""

from __future__ import annotations

import argparse
from typing import Any

from geosync.clock import Clock, SystemClock
from geosync.commands.daemon_client import (
    Deadline,
    ask_daemon,
    configured,
    print_json,
    say,
)
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import JsonObject
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.reporting.written_token import barrier_of

SLICE_S = 20.0

Answer = dict[str, Any]


def run(arguments: argparse.Namespace) -> ExitCode:
    """Waits. Raises OperatorError: the daemon is not running, a site is not known."""
    configuration = configured(arguments)
    clock = SystemClock()
    deadline = Deadline(arguments.timeout, clock)
    began_s = clock.monotonic_s()
    if arguments.token is not None:
        return _wait_for_token(configuration, arguments, deadline, clock)
    # Asked first, so that a wrong name is told at once.
    _wait(configuration, {}, arguments.site, 0.0)
    captured = capture_everything(configuration, deadline)
    if captured["is_captured"]:
        answer = _wait_for_sites(configuration, captured["barrier"], arguments.site, deadline)
    else:
        answer = {"is_done": False, "sites": []}
    answer["is_captured"] = captured["is_captured"]
    answer["held_count"] = captured["held_count"]
    answer["waited_s"] = round(clock.monotonic_s() - began_s, 3)
    _tell(answer, captured, as_json=arguments.json)
    if not answer["is_done"]:
        return ExitCode.TIMED_OUT
    return ExitCode.NEEDS_PERSON if answer["held_count"] else ExitCode.DONE


def _wait_for_token(
    configuration: Configuration, arguments: argparse.Namespace, deadline: Deadline, clock: Clock
) -> ExitCode:
    """Waits until this site has applied what a token of another site names."""
    if arguments.site:
        text = "--token waits at this site for what another one wrote; leave --site out"
        raise OperatorError(text, ExitCode.BAD_USAGE)
    barrier, began_s = barrier_of(arguments.token), clock.monotonic_s()
    while True:
        request: JsonObject = {"barrier": barrier, "timeout_s": deadline.slice_s(SLICE_S)}
        answer: Answer = ask_daemon(configuration, "wait_here", request)
        if answer["is_done"] or deadline.is_over():
            break
    if arguments.json:
        print_json(answer | {"waited_s": round(clock.monotonic_s() - began_s, 3)})
    elif answer["is_done"]:
        print("applied at this site")
    else:
        say("timed out: this site has yet to apply it. `geosync status` shows what waits.")
    return ExitCode.DONE if answer["is_done"] else ExitCode.TIMED_OUT


def capture_everything(configuration: Configuration, deadline: Deadline) -> Answer:
    """Lets the daemon capture all that was written before the call, or as much as time allows."""
    is_scanned = False
    while True:
        request: JsonObject = {
            "is_scanned": is_scanned,
            "until": "captured",
            "timeout_s": deadline.slice_s(SLICE_S),
        }
        # The first answer comes after a whole scan, which takes as long as it takes.
        answer: Answer = ask_daemon(configuration, "sync", request, deadline.answer_timeout_s())
        is_scanned = True
        if answer["is_captured"] or deadline.is_over():
            return answer


def _wait_for_sites(
    configuration: Configuration,
    barrier: JsonObject,
    sites: list[str] | None,
    deadline: Deadline,
) -> Answer:
    while True:
        answer = _wait(configuration, barrier, sites, deadline.slice_s(SLICE_S))
        if answer["is_done"] or deadline.is_over():
            return answer


def _wait(
    configuration: Configuration, barrier: JsonObject, sites: list[str] | None, timeout_s: float
) -> Answer:
    request: JsonObject = {"barrier": barrier, "sites": sites, "timeout_s": timeout_s}
    return ask_daemon(configuration, "wait", request)


def _tell(answer: Answer, captured: Answer, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    names = [each["site"] for each in answer["sites"]]
    if answer["is_done"]:
        where = ", ".join(names) if names else "no other site, as none has joined yet"
        print(f"applied at {where}")
        if answer["held_count"]:
            held = f"{answer['held_count']} deletions or changes here"
            say(f"{held} are held until you decide, and go nowhere: geosync brake list")
        return
    if not answer["is_captured"]:
        first = captured["waiting"][0] if captured["waiting"] else {"path": "", "reason": ""}
        say(
            "timed out before everything written here could be captured; "
            f"{captured['waiting_count']} paths wait, first {first['path']}: {first['reason']}"
        )
        return
    lacking = ", ".join(
        f"{each['site']} has yet to apply {each['operations_it_lacks']} changes"
        for each in answer["sites"]
        if each["operations_it_lacks"]
    )
    reason = f" This site's store: {captured['store_error']}" if captured["store_error"] else ""
    say(f"timed out: {lacking}. Look at that site's `geosync status`.{reason}")
