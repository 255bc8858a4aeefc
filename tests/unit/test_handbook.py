"""docs/handbook.md has an entry for every alarm, brake, problem and event that there is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conflict.brakes import BrakeKind
from geosync.event_remedies import REMEDIES

PROJECT = Path(__file__).parents[2]
TEXT = (PROJECT / "docs" / "handbook.md").read_text()
SOURCES = sorted((PROJECT / "geosync").rglob("*.py")) + sorted(
    (PROJECT / "transport").rglob("*.py")
)

# Events whose names are put together: the expression in the code -> the names that it takes.
COMPOSED = {
    "f'{subject.decode()}_failed'": {"store_failed", "disk_failed", "spool_failed"},
    "f'membership_{kind}'": {"membership_fence", "membership_suspect"},
    "event": {"root_not_usable", "state_not_usable"},
}


def _modules() -> Iterator[ast.Module]:
    for path in SOURCES:
        text = path.read_text()
        if "event_logger(" in text or "report(" in text or "set_problem(" in text:
            yield ast.parse(text)


def _calls(module: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(module) if isinstance(node, ast.Call))


def _logs_a_warning(call: ast.Call) -> bool:
    written = ast.unparse(call.func)
    is_call = re.fullmatch(r"_?log(\.(warning|error|exception))?", written) is not None
    return is_call and bool(call.args)


def _events() -> set[str]:
    found: set[str] = set()
    for module in _modules():
        if "event_logger" not in ast.unparse(module):
            continue
        for call in filter(_logs_a_warning, _calls(module)):
            name = call.args[0]
            if isinstance(name, ast.Constant):
                found.add(str(name.value))
            else:
                assert ast.unparse(name) in COMPOSED, f"what is {ast.unparse(name)}?"
                found |= COMPOSED[ast.unparse(name)]
    return found


def test_every_warning_and_error_of_the_log_says_what_to_do() -> None:
    assert _events() == REMEDIES.keys()


def test_the_events_and_what_to_do_are_those_of_the_handbook() -> None:
    table = TEXT.split("## Events of the log")[1]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE)
    assert dict(rows) == dict(REMEDIES)
    assert len(rows) == len(REMEDIES)


def _first_bytes(expression: ast.expr, module: ast.Module) -> str:
    """Returns the constant with which a subject begins, through names and functions of a module."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            return node.value.decode()
        if isinstance(node, ast.Name):
            for statement in ast.walk(module):
                value = _value_of(node.id, statement)
                if value is not None:
                    return _first_bytes(value, module)
    raise AssertionError(f"what problem is {ast.unparse(expression)}?")


def _value_of(name: str, statement: ast.AST) -> ast.expr | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
            return value
        case ast.AnnAssign(target=ast.Name(id=found), value=value) if found == name:
            return value
        case ast.FunctionDef(name=found, body=[*_, ast.Return(value=value)]) if found == name:
            return value
    return None


def _problems() -> set[str]:
    """Returns the first words of the subjects of all problems that the code reports."""
    found = {"daemon"}  # which is shown without the journal
    for module in _modules():
        for call in _calls(module):
            receiver = ast.unparse(call.func)
            is_reported = re.search(r"(^|[._])site\.report$|\.set_problem$", receiver) is not None
            is_told = is_reported or (receiver == "report" and len(call.args) == 2)
            if not is_told or "problem.subject" in ast.unparse(call):
                continue
            if ast.unparse(call.args[0]) == "subject" and "decode" not in ast.unparse(call):
                found |= _passed_on(module, call)
                continue
            found.add(_first_bytes(call.args[0], module))
    return found


def _passed_on(module: ast.Module, call: ast.Call) -> set[str]:
    """Returns the subjects where they are a variable of the function around."""
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef) and call in ast.walk(function):
            parameters = {each.arg for each in function.args.args}
            if "subject" not in parameters:
                return {_first_bytes(call.args[0], module)}
    return set()  # those who call that function name it


def _documented_problems() -> set[str]:
    table = TEXT.split("## Problems")[1].split("## Events")[0]
    return {
        re.sub(r"( of)? ?([A-Z…].*)?$", "", subject).rstrip(":").strip()
        for subject in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    }


def _plain(subject: str) -> str:
    return re.sub(r"( of| %d|, )? ?$", "", subject).rstrip(": ").strip()


def test_every_kind_of_problem_is_in_the_handbook() -> None:
    assert {_plain(subject) for subject in _problems()} == _documented_problems()


def test_every_kind_of_brake_is_in_the_handbook() -> None:
    table = TEXT.split("## Brakes")[1].split("## Problems")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {
        kind.value for kind in BrakeKind
    }


def test_every_alarm_leads_to_its_entry() -> None:
    rules = (PROJECT / "recipes" / "monitoring" / "alerts.yml").read_text()
    alarms = re.findall(r"- alert: (\w+)", rules)
    assert alarms == re.findall(r"^### (Geosync\w+)$", TEXT, re.MULTILINE)
    assert re.findall(r"runbook: handbook\.md#(\w+)", rules) == [name.lower() for name in alarms]


@pytest.mark.parametrize("event", REMEDIES)
def test_what_to_do_is_one_short_line(event: str) -> None:
    assert len(REMEDIES[event]) <= 100
    assert REMEDIES[event].isprintable()
