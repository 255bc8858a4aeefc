"""docs/commands.md names every command, option, exit code and key of JSON, and no others."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conflict.rendering import ConflictKind
from geosync.commands.command_parser import command_parser
from geosync.daemon.mending_request import progress_json
from geosync.disk.capabilities import DiskCapabilities
from geosync.engine.mending import MendingProgress
from geosync.examination.finding import Finding, Level, Subject
from geosync.examination.findings_text import findings_json
from geosync.exit_codes import ExitCode
from geosync.reporting.status import (
    DaemonStatus,
    OtherSite,
    Status,
    StatusProblem,
    ToPublish,
    WaitingPath,
)
from geosync.reporting.status_text import status_json
from geosync.verification import finding as verification_finding
from geosync.verification.findings_text import verification_json
from geosync.watching.tree_watcher import WatcherHealth
from transport.object_store import StoreCounters

TEXT = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
COMMON = {"--config", "--verbose", "--quiet", "--help"}


def _commands(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yields every command with its parser, those with actions of their own too."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, child in action.choices.items():
                yield f"{name}{word}", child
                yield from _commands(child, f"{name}{word} ")


COMMANDS = dict(_commands(command_parser()))


def _sections() -> dict[str, str]:
    found = re.split(r"^#{2,3} `geosync (.+)`$", TEXT, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def _options_in(text: str) -> set[str]:
    rows = [line for line in text.splitlines() if line.startswith("| `--")]
    return {
        option for row in rows for option in re.findall(r"`(--[a-z-]+)[ `]", row.split(" | ")[0])
    }


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert _sections().keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_those_in_its_section(name: str) -> None:
    options = {
        option
        for action in COMMANDS[name]._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    assert _options_in(_sections()[name]) == options - COMMON


def test_the_options_that_all_commands_take_are_in_the_first_table() -> None:
    assert _options_in(TEXT.split("\n## ")[0]) == COMMON


def test_the_exit_codes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", TEXT, flags=re.MULTILINE)
    assert {(int(number), name) for number, name in rows} == {
        (code.value, code.name) for code in ExitCode
    }


def test_the_help_names_every_exit_code() -> None:
    epilog = command_parser().epilog or ""
    assert {int(number) for number in re.findall(r"\d", epilog)} == set(ExitCode)


def test_the_keys_of_the_status_are_documented() -> None:
    text = _sections()["status"]
    first_cells = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    documented = {key for cell in first_cells for key in re.findall(r"`(\w+)`", cell)}
    found = status_json(_status(), now_ms=0)
    daemon, sites = found["daemon"], found["sites"]
    assert isinstance(daemon, dict)
    assert isinstance(sites, list)
    assert documented - {"daemon"} == (found.keys() | daemon.keys()) - {"daemon"}
    inner = [found["to_publish"], *sites, *found["problems"], *daemon["waiting"]]  # type: ignore[misc]
    for part in [*inner, daemon["watcher"], daemon["store"], daemon["protocol"]]:
        assert [key for key in part if f"`{key}`" not in text] == []


TYPES = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


@pytest.mark.parametrize("has_daemon", [True, False])
def test_the_values_of_the_status_are_of_the_types_that_are_documented(has_daemon: bool) -> None:
    status = _status() if has_daemon else replace(_status(), daemon=None)
    found: dict[str, object] = json.loads(json.dumps(status_json(status, now_ms=0)))
    if isinstance(found["daemon"], dict):
        found |= found["daemon"]
    rows = re.findall(r"^\| (`\w.*?) \| ([a-z, ]+) \|", _sections()["status"], re.MULTILINE)
    documented = {}
    for cell, types in rows:
        keys, words = re.findall(r"`(\w+)`", cell), types.split(", ")
        for key, word in zip(keys, words if len(words) > 1 else words * len(keys), strict=True):
            documented[key] = {kind for each in word.split(" or ") for kind in TYPES[each]}
    wrong = {
        key: value
        for key, value in found.items()
        if type(value) not in documented[key] and not (key == "daemon" and value is None)
    }
    assert wrong == {}


def test_the_subjects_and_levels_of_the_doctor_are_documented() -> None:
    text = _sections()["doctor"]
    first_cells = re.findall(r"^\| (`\w.*?) \|", text, re.MULTILINE)
    documented = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert documented == {str(subject) for subject in Subject}
    finding = Finding(Subject.ROOT, Level.OK, "text")
    found = findings_json([finding], volume="v", site="s")
    (first,) = found["findings"]  # type: ignore[misc]
    words = [*found, *first, *(level.name.lower() for level in Level)]
    assert [word for word in words if f"`{word}`" not in text] == []


def test_the_kinds_and_keys_of_a_verification_are_documented() -> None:
    text = _sections()["verify"]
    first_cells = re.findall(r"^\| (`\w.*?) \|", text, re.MULTILINE)
    documented = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert documented == {str(kind) for kind in verification_finding.Kind}
    finding = verification_finding.Finding(
        verification_finding.Kind.FILE_DAMAGED, verification_finding.Level.DAMAGE, "subject", "text"
    )
    repair = progress_json(MendingProgress(failed=(("subject", "reason"),)))
    found = verification_json([finding], verification_finding.Checked(), repair)
    (first,) = found["findings"]  # type: ignore[misc]
    words = [*found, *first, *found["checked"], *repair, *repair["failed"][0]]  # type: ignore[misc]
    words += [str(level) for level in verification_finding.Level]
    assert [word for word in words if f"`{word}`" not in text] == []


def test_the_kinds_of_conflict_are_documented() -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith("| `kind` |"))
    assert set(re.findall(r"`(\w+)` \(", row)) == {kind.value for kind in ConflictKind}


def _status() -> Status:
    return Status(
        volume="v",
        site="a",
        mode="multi-master",
        root="/r",
        actor="00",
        taken_at_ms=0,
        entries=1,
        conflicts=0,
        to_publish=ToPublish(0, 0, 0, 0),
        sites=(OtherSite("b", "01", 0, 0, 0, ""),),
        problems=(StatusProblem("store", 0, "gone"),),
        problem_count=1,
        daemon=DaemonStatus(
            process_id=1,
            is_settled=True,
            waiting=(WaitingPath("p", "r"),),
            waiting_count=1,
            watcher=WatcherHealth(
                watching=True,
                root_lost=False,
                watch_count=1,
                unwatched=(),
                unwatched_count=0,
                overflow_count=0,
                problem="",
            ),
            store=StoreCounters(),
            protocol=DiskCapabilities(exchange=True, leases=True, reflink=True, handles=True),
        ),
    )
