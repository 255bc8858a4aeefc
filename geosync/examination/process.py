"""The process that does the work: the running daemon, or this one where none runs."""

from __future__ import annotations

import os
import re
import resource
from dataclasses import dataclass

from geosync.disk.process_capabilities import has_process_capability

_EFFECTIVE_USER = re.compile(r"^Uid:\s+\d+\s+(\d+)", re.MULTILINE)
_OPEN_FILES = re.compile(r"^Max open files\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Worker:
    """A process, by what it may do.

    Attributes:
        process: its id; None for the process that asks.
        user: its effective user id.
        descriptors_max: how many files it may have open.
        is_daemon: whether it is the daemon.
    """

    process: int | None
    user: int
    descriptors_max: int
    is_daemon: bool

    def has(self, capability: int) -> bool:
        """Tells whether it has a capability in effect."""
        return has_process_capability(capability, self.process)


def find_worker(daemon_process: int | None) -> Worker:
    """Returns the daemon, if its id is given and /proc tells of it, else this process."""
    if daemon_process is not None:
        try:
            user = _number(_EFFECTIVE_USER, f"/proc/{daemon_process}/status")
            descriptors_max = _number(_OPEN_FILES, f"/proc/{daemon_process}/limits")
        except (OSError, ValueError):
            pass  # another PID namespace, or hidepid
        else:
            return Worker(daemon_process, user, descriptors_max, is_daemon=True)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Worker(None, os.geteuid(), soft, is_daemon=False)


def _number(pattern: re.Pattern[str], path: str) -> int:
    with open(path, encoding="ascii", errors="replace") as file:
        found = pattern.search(file.read())
    if found is None:
        raise ValueError(path)
    return int(found[1])
