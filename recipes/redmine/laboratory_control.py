"""What programs of this recipe do to its machines, through the same scripts as a person."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from recipes.redmine.redmine_client import LABORATORY

RECIPE = os.path.dirname(os.path.abspath(__file__))
PYTHON = os.path.join(os.path.dirname(os.path.dirname(RECIPE)), ".venv", "bin", "python")
COMMAND_TIMEOUT_S = 180.0
AWAIT_TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.2


def run(script: str, *arguments: str) -> str:
    """Runs one of the scripts; returns what it printed.

    Raises:
        CalledProcessError: it failed.
    """
    command = [os.path.join(RECIPE, script), *arguments]
    # Not through pipes: what the script starts would hold them open.
    with open(os.path.join(LABORATORY, "control.log"), "ab") as log:
        done = subprocess.run(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            timeout=COMMAND_TIMEOUT_S, check=True,
        )  # fmt: skip
    return str(done.returncode)


def at(machine: str, *command: str, is_checked: bool = True) -> str:
    """Runs a command on a machine, as root; returns what it printed."""
    done = subprocess.run(
        [os.path.join(RECIPE, "machine"), "run", machine, *command],
        capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
    )  # fmt: skip
    if is_checked and done.returncode:
        raise AssertionError(f"{command} at {machine}: {done.stdout}{done.stderr}")
    return done.stdout


def wan(*order: str) -> None:
    """Changes the WAN; see recipes.redmine.wan."""
    command = [PYTHON, "-m", "recipes.redmine.wan", "ask", f"{LABORATORY}/wan.socket", *order]
    subprocess.run(command, timeout=COMMAND_TIMEOUT_S, check=True)


def geosync(site: str, *arguments: str, is_checked: bool = True) -> str:
    """Runs a command of geosync at a site; returns what it printed."""
    environment = f"PYTHONPATH={os.path.dirname(os.path.dirname(RECIPE))}"
    return at(
        site, "env", environment, PYTHON, "-m", "geosync", *arguments,
        "--config", "/etc/geosync/redmine.toml", is_checked=is_checked,
    )  # fmt: skip


def findings(site: str) -> list[dict[str, Any]]:
    """Returns what the audit of a site finds; it reads every file."""
    shown = at(site, "python3", f"{RECIPE}/audit.py", "--deep", "--json", is_checked=False)
    found: list[dict[str, Any]] = json.loads(shown)
    return found


def conflicts(site: str) -> list[dict[str, Any]]:
    """Returns the open conflicts that a site knows."""
    shown = geosync(site, "conflicts", "list", "--json", is_checked=False)
    found: list[dict[str, Any]] = json.loads(shown)
    return found


def files_of(site: str) -> dict[str, int]:
    """Returns sizes of the files of a site by path."""
    root = f"{LABORATORY}/{site}/root/var/lib/redmine/default/files"
    found = {}
    for parent, directories, names in os.walk(root):
        if parent == root and ".geosync" in directories:
            directories.remove(".geosync")
        for name in names:
            path = os.path.join(parent, name)
            with suppress(FileNotFoundError):  # it goes while we look
                found[os.path.relpath(path, root)] = os.lstat(path).st_size
    return found


def await_that(what: str, holds: Callable[[], bool], timeout_s: float = AWAIT_TIMEOUT_S) -> float:
    """Asks until something holds; returns after how many seconds it did.

    Raises:
        AssertionError: it did not hold in time.
    """
    start_s = time.monotonic()
    while time.monotonic() < start_s + timeout_s:
        if holds():
            return time.monotonic() - start_s
        time.sleep(LOOK_EVERY_S)
    raise AssertionError(f"{what}: not so after {timeout_s:g} s")


def await_same_files() -> float:
    """Waits until both sites have the same files and every row has its bytes; returns seconds."""
    return await_that(
        "both sites have the same files, and every row has its bytes",
        lambda: files_of("bari") == files_of("cnaf") and not _rows_without_bytes(),
    )


def _rows_without_bytes() -> list[dict[str, Any]]:
    return [
        each for site in ("bari", "cnaf") for each in findings(site) if each["kind"] != "orphan"
    ]
