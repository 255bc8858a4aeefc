"""The mutation gate: whoever breaks a merge rule is told so by a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mutation.mutants import MUTANTS, Patch

PROJECT = Path(__file__).parents[2]
BASELINE = "baseline"
WORKERS = 2
TIME_LIMIT_S = 100


@dataclass(frozen=True)
class Verdict:
    """What the checkers said."""

    exit_code: int
    output: str


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Verdict]]]:
    """Runs the checkers on each mutant, several at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield {
            name: pool.submit(checked, tmp_path_factory.mktemp("mutant"), patches)
            for name, patches in {BASELINE: (), **MUTANTS}.items()
        }


def checked(directory: Path, patches: tuple[Patch, ...]) -> Verdict:
    """Runs the checkers in a fresh interpreter, on a patched copy of the package."""
    copy = directory / "conflict"
    shutil.copytree(PROJECT / "conflict", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for patch in patches:
        patched(copy / patch.module, patch)
    environment = dict(os.environ, PYTHONPATH=f"{directory}:{PROJECT}")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tests.mutation.checkers"],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    return Verdict(done.returncode, done.stdout + done.stderr)


def patched(module: Path, patch: Patch) -> None:
    """Changes a module. A mutant that fits the code no longer has to be written anew."""
    text = module.read_text()
    assert text.count(patch.old) == 1, f"{patch.old!r} is not once in {module.name}"
    module.write_text(text.replace(patch.old, patch.new))


def test_checkers_pass_on_the_real_rules(verdicts: dict[str, Future[Verdict]]) -> None:
    """The unchanged package passes, or else killing mutants would mean nothing."""
    verdict = verdicts[BASELINE].result()
    assert verdict.output == "all checks passed\n"
    assert verdict.exit_code == 0


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, verdicts: dict[str, Future[Verdict]]) -> None:
    """A check fails on the broken rules, or they no longer come to an end."""
    verdict = verdicts[name].result()
    assert verdict.exit_code != 0, f"nothing noticed: {verdict.output}"
    assert "SyntaxError" not in verdict.output, verdict.output
