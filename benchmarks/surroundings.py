"""What a figure was measured with: the command, the machine and the versions."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from importlib.metadata import version

from geosync.terminal import plain_table

_LIBRARIES = ("python-swiftclient", "swift", "zstandard", "blake3", "watchdog")


def surroundings() -> str:
    """Returns what the reader of a figure has to know."""
    load, *_ = os.getloadavg()
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    rows = [
        ("command", " ".join(["python -m", _module(), *sys.argv[1:]])),
        ("machine", f"{os.cpu_count()} cores ({_processor()}), {_memory()} of memory"),
        ("load", f"{load:.1f} processes wanted to run when this began (0.0: a quiet machine)"),
        ("kernel", platform.release()),
        ("python", f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}"),
        ("libraries", libraries),
    ]
    return plain_table(("", ""), rows).lstrip("\n")


def _module() -> str:
    specification = sys.modules["__main__"].__spec__
    return "?" if specification is None else specification.name


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> str:
    total_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{total_bytes / 2**30:.0f} GiB"
