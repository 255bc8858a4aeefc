"""`geosync conflicts resolve`: settles one conflict or many, with or without a daemon."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from geosync.commands.conflicts_merging import edited, merge_draft
from geosync.commands.daemon_client import ask_daemon, say
from geosync.commands.engine_alone import deciding_alone
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning, JsonObject
from geosync.engine.engine import Engine
from geosync.engine.handed_over import BLOCK_SIZE_BYTES, discard, hand_over
from geosync.engine.resolving import Choice
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode

_OUTCOMES = {
    Choice.WINNER: "the version that has the name stays, the other one was dropped",
    Choice.LOSER: "the version that was kept aside takes the name",
    Choice.BOTH: "both versions stay, the one that was kept aside as a file of its own",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of a conflict: a choice between its versions, or another content."""

    conflict: JsonObject
    outcome: str
    choice: Choice | None = None
    content: Callable[[], Iterable[bytes]] = tuple


def chosen(conflict: JsonObject, choice: Choice) -> Decision:
    """Returns the decision for one of the versions, or both."""
    return Decision(conflict, _OUTCOMES[choice], choice)


def merged(configuration: Configuration, conflict: JsonObject) -> Decision | None:
    """Returns the decision for what the versions are together; None: they are in dispute.

    Raises:
        OperatorError: they can't be read, or are no texts.
    """
    draft = merge_draft(configuration, str(conflict["id"]))
    if draft.disputes:
        return None
    return Decision(
        conflict, "the changes of both versions are merged", content=lambda: (draft.text,)
    )


def by_hand(configuration: Configuration, conflict: JsonObject) -> Decision:
    """Lets a person make one of the versions, beginning with what could be merged.

    Raises:
        OperatorError: they can't be read, are no texts, or the person did not finish.
    """
    draft = merge_draft(configuration, str(conflict["id"]))
    text = edited(draft.text, str(conflict["path"]))
    return Decision(conflict, "what was edited takes the name", content=lambda: (text,))


def from_file(conflict: JsonObject, path: str) -> Decision:
    """Returns the decision for the content of a file."""
    return Decision(conflict, f"{path} takes the name", content=lambda: _blocks(path))


def _blocks(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK_SIZE_BYTES):
                yield block
    except OSError as error:
        raise OperatorError(
            f"cannot read {path}: {error.strerror}. Nothing was settled."
        ) from error


def resolve_conflicts(
    configuration: Configuration, arguments: argparse.Namespace, found: Sequence[JsonObject]
) -> ExitCode:
    """Settles conflicts as the arguments say, one after the other.

    Raises:
        OperatorError: one of them can't be settled so; those before it are.
    """
    decisions = [_decision(configuration, arguments, each) for each in found]
    to_settle = [each for each in decisions if each is not None]
    if arguments.dry_run:
        for each in to_settle:
            about = f"{each.conflict['id']} about {each.conflict['path']}"
            print(f"would settle {about}: {each.outcome}")
    else:
        settle(configuration, to_settle)
    if not found:
        say("there is no such conflict")
    return ExitCode.DONE if len(to_settle) == len(found) else ExitCode.NEEDS_PERSON


def _decision(
    configuration: Configuration, arguments: argparse.Namespace, conflict: JsonObject
) -> Decision | None:
    """Returns what the arguments say about a conflict; None: it is left, and that is said."""
    if arguments.take is not None:
        return chosen(conflict, Choice(arguments.take))
    if arguments.file is not None:
        return from_file(conflict, arguments.file)
    if arguments.edit:
        return by_hand(configuration, conflict)
    if arguments.merge:
        return _merge_or_leave(configuration, conflict)
    for role, choice in (("winner", Choice.WINNER), ("loser", Choice.LOSER)):
        version = conflict[role]
        if isinstance(version, Mapping) and version["site"] == arguments.take_site:
            return chosen(conflict, choice)
    site = arguments.take_site
    say(f"left {conflict['id']} about {conflict['path']}: no version of it is by {site}")
    return None


def _merge_or_leave(configuration: Configuration, conflict: JsonObject) -> Decision | None:
    try:
        found = merged(configuration, conflict)
        why = "both versions changed the same lines; --edit lets you decide about these"
    except OperatorError as error:
        found, why = None, str(error)
    if found is None:
        say(f"left {conflict['id']} about {conflict['path']}: {why}")
    return found


def settle(configuration: Configuration, decisions: Sequence[Decision]) -> None:
    """Settles conflicts, and tells of each. Raises OperatorError; those before it are settled."""
    with ExitStack() as stack:
        engine: Engine | None = None
        for decision in decisions:
            try:
                if engine is None:
                    _ask(configuration, decision)
            except DaemonNotRunning:
                engine = stack.enter_context(deciding_alone(configuration))
            if engine is not None:
                _settle_in(engine, decision)
            about = f"{decision.conflict['id']} about {decision.conflict['path']}"
            print(f"settled {about}: {decision.outcome}, on all sites")


def _ask(configuration: Configuration, decision: Decision) -> None:
    identity = decision.conflict["id"]
    if decision.choice is not None:
        request: JsonObject = {"identity": identity, "take": decision.choice.value}
        ask_daemon(configuration, "conflicts_resolve", request)
        return
    name = hand_over(configuration.state_dir, decision.content())
    try:
        request = {"identity": identity, "content": name, "seen": _seen(decision.conflict)}
        ask_daemon(configuration, "conflicts_resolve_with", request)
    finally:
        discard(configuration.state_dir, name)


def _settle_in(engine: Engine, decision: Decision) -> None:
    identity = str(decision.conflict["id"])
    if decision.choice is not None:
        engine.decisions.resolve(identity, decision.choice)
    else:
        engine.decisions.resolve_with(identity, decision.content(), seen=_seen(decision.conflict))


def _seen(conflict: JsonObject) -> str | None:
    """Returns the version that has the name, as the person has seen it."""
    match conflict["winner"]:
        case {"actor": str(actor), "counter": int(counter)}:
            return f"{actor[:8]}-{counter}"
        case _:
            return None
