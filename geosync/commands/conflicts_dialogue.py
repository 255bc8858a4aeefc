"""`geosync conflicts resolve --interactive`: one conflict after the other, at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

from geosync.commands.conflicts_difference import conflict_difference
from geosync.commands.conflicts_resolution import Decision, by_hand, chosen, merged, settle
from geosync.commands.daemon_client import say
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import JsonObject
from geosync.engine.resolving import Choice
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.reporting.conflict_text import conflict_text
from transport.errors import StoreRefused, StoreUnavailable

_QUESTION: Final = (
    "[w]inner stays, [l]oser takes the name, [b]oth stay, [m]erge, [e]dit, [d]iff, [s]kip, [q]uit? "
)


def resolve_in_dialogue(configuration: Configuration, found: Sequence[JsonObject]) -> ExitCode:
    """Asks about each conflict, and does at once what is answered.

    What can't be done is said, and the same conflict asked about again. The end of the input is an
    answer, too: quit.
    """
    left = 0
    for number, conflict in enumerate(found, start=1):
        print(f"\n{number} of {len(found)}: {conflict_text(conflict)}\n")
        answer = _until_answered(configuration, conflict)
        if answer == "q":
            left += len(found) - number + 1
            break
        left += answer == "s"
    if not found:
        print("no conflicts")
    return ExitCode.NEEDS_PERSON if left else ExitCode.DONE


def _until_answered(configuration: Configuration, conflict: JsonObject) -> str:
    while True:
        print(_QUESTION, end="", flush=True)
        answer = (sys.stdin.readline() or "q").strip().lower()[:1]
        if answer in ("s", "q"):
            return answer
        try:
            if _has_done(configuration, conflict, answer):
                return answer
        except (OperatorError, StoreUnavailable, StoreRefused) as error:
            say(str(error))


def _has_done(configuration: Configuration, conflict: JsonObject, answer: str) -> bool:
    """Does what was answered; returns whether the conflict is settled by that."""
    if answer == "d":
        print(conflict_difference(configuration, str(conflict["id"]), "winner", "loser"))
        return False
    decide = _answers(configuration).get(answer)
    if decide is None:
        return False
    decision = decide(conflict)
    if decision is None:
        say("both versions changed the same lines: edit, or take one")
        return False
    settle(configuration, [decision])
    return True


def _answers(configuration: Configuration) -> dict[str, Callable[[JsonObject], Decision | None]]:
    return {
        "w": lambda conflict: chosen(conflict, Choice.WINNER),
        "l": lambda conflict: chosen(conflict, Choice.LOSER),
        "b": lambda conflict: chosen(conflict, Choice.BOTH),
        "m": lambda conflict: merged(configuration, conflict),
        "e": lambda conflict: by_hand(configuration, conflict),
    }
