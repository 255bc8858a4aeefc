"""docs/scenarios.md numbers its scenarios, and names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[^`]+)`")
SCENARIO_COUNT = 70

ROWS = ROW.findall((PROJECT / "docs" / "scenarios.md").read_text())


def _tests_in(path: Path) -> set[str]:
    """Returns the tests of a file as pytest names them, without parameters."""
    found: set[str] = set()
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.ClassDef):
            inside = (each for each in statement.body if isinstance(each, ast.FunctionDef))
            found.update(f"{statement.name}::{each.name}" for each in inside)
        elif isinstance(statement, ast.FunctionDef):
            found.add(statement.name)
    return {name for name in found if name.rpartition("::")[2].startswith("test_")}


def test_every_scenario_has_one_row() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, SCENARIO_COUNT + 1))


def test_every_test_that_is_named_exists() -> None:
    named = {test for *_, tests in ROWS for test in TEST.findall(tests)}
    assert named
    missing = []
    for test in sorted(named):
        path, _, name = test.partition("::")
        file = PROJECT / path
        if not file.is_file() or name not in _tests_in(file):
            missing.append(test)
    assert not missing


def test_a_scenario_without_a_test_says_why() -> None:
    for number, _, does, tests in ROWS:
        assert TEST.findall(tests) or "Not in this version" in does, f"scenario {number}"


def test_the_guarantees_lead_there() -> None:
    assert "(scenarios.md)" in (PROJECT / "docs" / "guarantees.md").read_text()
