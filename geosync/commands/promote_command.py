"""`geosync promote`: this site becomes the primary, and nothing that was written before is missing.

By force it becomes that at once, and tells what it lacks.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from typing import Any, Final

from conflict.report import conflicts
from geosync.clock import SystemClock
from geosync.commands.daemon_client import Deadline, ask_daemon, configured, print_json, say
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning, JsonObject
from geosync.exit_codes import ExitCode
from geosync.journal.journal import Journal
from geosync.reporting.failover_text import failover_json, failover_text
from geosync.terminal import human_duration, human_size

SLICE_S: Final = 5.0
HELD_S_MAX: Final = 10.0
"""Somebody may have demoted the other site a moment ago; its log is heard of within this time.

What drift is in the way of does not come by waiting either.
"""
PATHS_SHOWN_MAX: Final = 20

Answer = dict[str, Any]


def run(arguments: argparse.Namespace) -> ExitCode:
    """Promotes this site, or reports. Raises OperatorError."""
    configuration = configured(arguments)
    if arguments.report:
        return _report(configuration, as_json=arguments.json)
    clock = SystemClock()
    deadline = Deadline(arguments.timeout, clock)
    began_s = clock.monotonic_s()
    while True:
        request: JsonObject = {
            "is_forced": arguments.force,
            "timeout_s": deadline.slice_s(SLICE_S),
        }
        answer: Answer = ask_daemon(configuration, "promote", request)
        is_hopeless = answer["state"] == "held" or _is_only_drift_missing(answer)
        is_hopeless = is_hopeless and clock.monotonic_s() - began_s > HELD_S_MAX
        if answer["is_done"] or is_hopeless or deadline.is_over():
            break
    if arguments.json:
        print_json(answer)
    elif answer["is_done"]:
        _tell_done(answer, is_forced=arguments.force)
    else:
        _tell_why_not(answer)
    if answer["is_done"]:
        return ExitCode.DONE
    is_for_person = answer["state"] == "held" or _is_only_drift_missing(answer)
    return ExitCode.NEEDS_PERSON if is_for_person else ExitCode.TIMED_OUT


def _is_only_drift_missing(answer: Answer) -> bool:
    """Tells whether all that is missing waits for files that programs changed on this disk."""
    return bool(answer["drifted_count"] == answer["path_count"] > 0)


def _report(configuration: Configuration, *, as_json: bool) -> ExitCode:
    try:
        found: JsonObject = ask_daemon(configuration, "failover_report", {})
    except DaemonNotRunning:
        with closing(Journal(configuration.state_dir, is_read_only=True)) as journal:
            found = failover_json(journal, conflicts(journal.nodes))
    print(json.dumps(found) if as_json else failover_text(found))
    return ExitCode.DONE


def _tell_done(answer: Answer, *, is_forced: bool) -> None:
    print(f"{answer['site']} is the primary (epoch {answer['number']}); it captures from now on")
    before = answer["before"]
    if not is_forced or before is None:
        return
    if not answer["is_before_released"]:
        print(f"{before} was not demoted: what it wrote and did not publish is missing here.")
        print(f"Its last news came {_ago(answer)}. When it is back, it publishes what it has, and")
        print("geosync promote --report names every late write.")
    print(_lacking(answer))
    for path in answer["paths"][:PATHS_SHOWN_MAX]:
        print(f"  {path}")
    if answer["path_count"] > PATHS_SHOWN_MAX:
        print(f"  … and {answer['path_count'] - PATHS_SHOWN_MAX} more")


def _tell_why_not(answer: Answer) -> None:
    if answer["state"] == "held":
        say(
            f"{answer['before']} is the primary (epoch {answer['number']}), and its last news came"
            f" {_ago(answer)}. Nothing was changed. Run geosync demote there first. If that site is"
            " lost: geosync promote --force here, which tells what is missing."
        )
        return
    if answer["drifted_count"]:
        _tell_drift(answer)
        return
    first = f", first {answer['paths'][0]}" if answer["paths"] else ""
    say(
        f"not yet: {_lacking(answer)}{first}. Nothing was changed. Look at geosync status, and run"
        " geosync promote again; --force goes on without what is missing."
    )


def _tell_drift(answer: Answer) -> None:
    """Names the files in the way, and the one command that goes on."""
    shown = [f"  {path}" for path in answer["drifted"][:PATHS_SHOWN_MAX]]
    if answer["drifted_count"] > PATHS_SHOWN_MAX:
        shown.append(f"  … and {answer['drifted_count'] - PATHS_SHOWN_MAX} more")
    others = "Nothing else is missing."
    if not _is_only_drift_missing(answer):
        others = (
            f"Besides, {answer['path_count'] - answer['drifted_count']} paths are still to be"
            " brought here: run geosync promote again before you force it."
        )
    say(
        f"not yet: what {answer['before']} wrote last can't be brought to these paths, since"
        " programs changed them here while this site was a standby:\n"
        + "\n".join(shown)
        + f"\n{others} Nothing was changed. To go on as it is, type: geosync promote --force\n"
        "Then nothing is lost: both versions of each are kept, this site's as the file or as a"
        " conflict; see them with: geosync conflicts list"
    )


def _lacking(answer: Answer) -> str:
    if not answer["operations"]:
        return "all that this site knows of is on its disk"
    return (
        f"not yet on this disk: {answer['operations']} operations,"
        f" {human_size(answer['size_bytes'])}, {answer['path_count']} paths"
    )


def _ago(answer: Answer) -> str:
    heard_s = answer["heard_s_ago"]
    return "never" if heard_s is None else f"{human_duration(heard_s)} ago"
