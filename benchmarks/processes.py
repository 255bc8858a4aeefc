"""Processes of a tool at a site: started there, ended with us, and what they take."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from benchmarks.world import BenchSite, World

STOP_TIMEOUT_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# The kernel ends the process when we end, in whatever way (PR_SET_PDEATHSIG of prctl(2), SIGTERM).
_WITH_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes took, with those that they started.

    Attributes:
        processor_s: user and system time.
        resident_bytes: memory now, with what they share with others.
        proportional_bytes: memory now, where what is shared is divided among the sharers.
    """

    processor_s: float
    resident_bytes: int
    proportional_bytes: int


class SiteProcesses:
    """The processes of one tool at all sites. Ended processes keep counting."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._running: list[tuple[BenchSite, subprocess.Popen[bytes]]] = []
        self._ended_s = 0.0

    def start(
        self, site: BenchSite, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a process at a site; its output goes to `output.log` beside the site."""
        with open(os.path.join(site.beside, "output.log"), "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _WITH_PARENT, *self._at(site, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                process_group=0,
            )
        self._running.append((site, process))
        return process

    def run(
        self, site: BenchSite, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> int:
        """Runs a command at a site to its end; returns its exit code."""
        process = self.start(site, command, environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._running.remove((site, process))
        self._ended_s += usage.ru_utime + usage.ru_stime
        return process.returncode

    def usage_at(self, site: BenchSite) -> Usage:
        """What the running processes of a site take now."""
        ids = [
            each
            for at, process in self._running
            if at == site
            for each in _with_descendants(process.pid)
        ]
        return Usage(
            sum(map(processor_s, ids)),
            sum(memory_bytes(each, "status", "VmRSS") for each in ids),
            sum(memory_bytes(each, "smaps_rollup", "Pss") for each in ids),
        )

    def processor_s(self) -> float:
        """Processor time of all processes at all sites so far."""
        return self._ended_s + sum(self.usage_at(site).processor_s for site in self._world.sites)

    def stop(self) -> None:
        """Ends all of them."""
        for _, process in self._running:
            process.terminate()
        for _, process in self._running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
            process.kill()
            process.wait()
        self._running.clear()

    def _at(self, site: BenchSite, command: Sequence[str]) -> list[str]:
        return self._world.network.command_in(site.name, command)


def first_line(command: Sequence[str]) -> str:
    """The first line that a command prints, such as its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def _with_descendants(process_id: int) -> list[int]:
    found = [process_id]
    for each in found:
        with (
            suppress(OSError),
            open(f"/proc/{each}/task/{each}/children", encoding="ascii") as file,
        ):
            found += [int(child) for child in file.read().split()]
    return found


def processor_s(process_id: int) -> float:
    """Of a process and those of its children that have ended and been waited for."""
    with suppress(OSError), open(f"/proc/{process_id}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS_PER_S
    return 0.0


def memory_bytes(process_id: int, file_name: str, field: str) -> int:
    """A field of a file of /proc that is in kB; 0 when the process is gone."""
    with suppress(OSError), open(f"/proc/{process_id}/{file_name}", encoding="utf-8") as file:
        values = [line.split() for line in file if line.startswith(f"{field}:")]
        return int(values[0][1]) * 1024 if values else 0
    return 0
