"""W8: one site with very many files: start, rescan, one change, memory.

The store is a directory of this machine, and there is no other site, so it needs no root:
`python -m benchmarks.million [--files N]`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.processes import memory_bytes, processor_s
from benchmarks.surroundings import surroundings
from benchmarks.trees import walk
from geosync.configuration.checkpoint_pace import OPERATIONS
from geosync.terminal import plain_table

FILES = 1_000_000
FILES_PER_DIRECTORY = 1000
START_TIMEOUT_S = 3600.0
LOOK_EVERY_S = 2.0  # each look is a program of its own, beside the daemon


class Site:
    """One site with one daemon, below one directory."""

    def __init__(self, directory: str) -> None:
        self.root = os.path.join(directory, "tree")
        self._configuration = os.path.join(directory, "geosync.toml")
        self._log = os.path.join(directory, "daemon.log")
        os.makedirs(self.root)
        os.makedirs(os.path.join(directory, "store"))
        with open(self._configuration, "w", encoding="utf-8") as file:
            file.write(
                f'volume = "million"\nsite = "bari"\nroot = "{self.root}"\n'
                f'state_dir = "{directory}/state"\nstore = "directory"\n'
                f'[directory]\npath = "{directory}/store"\n[http]\nlisten = ""\n'
            )

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the daemon."""
        with open(self._log, "ab") as log:
            return subprocess.Popen(self._command("run"), stdout=log, stderr=log)

    def geosync(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Runs a command."""
        return subprocess.run(self._command(*arguments), capture_output=True, check=False)

    def is_watching(self) -> bool:
        """Tells whether every directory is watched."""
        return _is_watching(self._status())

    def is_settled(self, files: int) -> bool:
        """Tells whether everything is captured and published, and watched."""
        status = self._status()
        is_all = bool(status.get("is_settled")) and status["entries"] >= files
        return is_all and _is_watching(status)

    def _status(self) -> dict[str, Any]:
        """Returns what `geosync status --json` says; nothing, where it fails."""
        done = self.geosync("status", "--json")
        found: dict[str, Any] = {} if done.returncode else json.loads(done.stdout)
        return found

    def has_checkpoint(self) -> bool:
        """Tells whether the first checkpoint is written and compared: work that a start adds to."""
        with open(self._log, encoding="utf-8") as log:
            return "checkpoint_confirmed" in log.read()

    def _command(self, *arguments: str) -> list[str]:
        python = [sys.executable, "-m", "geosync"]
        return [*python, *arguments, "--config", self._configuration]


def main() -> None:
    """Measures once and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=FILES)
    count = parser.parse_args().files
    print(surroundings(), flush=True)
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory(prefix="geosync-benchmark-") as directory:
        site = Site(directory)
        _fill(site.root, count)
        walk_s = _timed(lambda: walk(site.root))
        rows.append(("a bare walk: scandir and lstat", f"{walk_s:.2f} s"))
        rows += _first_capture(site, count)
        rows += _started_again(site, count, walk_s)
    print(f"\n{count:,} files")
    print(plain_table(("", ""), rows))


def _first_capture(site: Site, count: int) -> list[tuple[str, str]]:
    daemon = site.start()
    try:
        took_s = _timed(lambda: _await(lambda: site.is_settled(count)))
        is_due = count >= OPERATIONS  # else there is none before a day has passed
        checkpoint_s = _timed(lambda: _await(lambda: not is_due or site.has_checkpoint()))
        peak_bytes = memory_bytes(daemon.pid, "status", "VmHWM")
        return [
            ("first start, until all is captured and published", f"{took_s:.0f} s"),
            ("and until its checkpoint is written and compared", f"{checkpoint_s:.0f} s"),
            ("most resident memory until then", f"{peak_bytes / 1e6:.0f} MB"),
        ]
    finally:
        daemon.terminate()
        daemon.wait()


def _started_again(site: Site, count: int, walk_s: float) -> list[tuple[str, str]]:
    daemon = site.start()
    try:
        began_s = time.monotonic()
        _await(site.is_watching)
        watching_s = time.monotonic() - began_s
        _await(lambda: site.is_settled(count))
        start_s = time.monotonic() - began_s
        before_s = processor_s(daemon.pid)
        rescan_s = _timed(lambda: site.geosync("sync"))
        rescan_cpu_s = processor_s(daemon.pid) - before_s
        before_s = processor_s(daemon.pid)
        with open(os.path.join(site.root, "000000", "changed"), "wb") as file:
            file.write(b"changed")
        _await(lambda: site.is_settled(count + 1))
        change_cpu_s = processor_s(daemon.pid) - before_s
        resident_bytes = memory_bytes(daemon.pid, "status", "VmRSS")
        return [
            ("started again, until it watches all directories", f"{watching_s:.1f} s"),
            ("the same, until it has looked at everything", f"{start_s:.1f} s"),
            ("a rescan (geosync sync), nothing changed", f"{rescan_s:.2f} s"),
            ("the same, processor time of the daemon", f"{rescan_cpu_s:.2f} s"),
            ("the same, against the bare walk", f"{rescan_s / walk_s:.1f} times"),
            ("one change, processor time of the daemon", f"{change_cpu_s:.2f} s"),
            ("resident memory", f"{resident_bytes / 1e6:.0f} MB"),
        ]
    finally:
        daemon.terminate()
        daemon.wait()


def _is_watching(status: dict[str, Any]) -> bool:
    daemon = status.get("daemon")
    return bool(daemon) and daemon["watcher"]["watching"]


def _fill(root: str, count: int) -> None:
    for number in range(count):
        directory = os.path.join(root, f"{number // FILES_PER_DIRECTORY:06}")
        if number % FILES_PER_DIRECTORY == 0:
            os.makedirs(directory)
        with open(os.path.join(directory, f"{number:07}"), "wb") as file:
            file.write(b"%d" % number)


def _timed(work: Callable[[], object]) -> float:
    start_s = time.monotonic()
    work()
    return time.monotonic() - start_s


def _await(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not done within {START_TIMEOUT_S:.0f} s")
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    main()
