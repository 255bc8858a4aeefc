"""Runs a geosync command with a clock that is wrong by what a file says, and ends with its parent.

python -m tests.torture.daemon_under_test OFFSET_FILE ARGUMENT...

The file holds the offset in seconds, which may change while the daemon runs. Only the wall clock is
wrong, as on a machine whose date was set; no clock that measures is.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from geosync.cli import main
from geosync.clock import SystemClock

ENDED_WITH_PARENT = 70
STANDARD_INPUT = 0


def skew(offset_file: str) -> None:
    """Makes every SystemClock of this process read the wrong date."""

    def wall_ns(_clock: SystemClock) -> int:
        with open(offset_file, encoding="ascii") as file:
            return time.time_ns() + int(float(file.read()) * 1e9)

    SystemClock.wall_ns = wall_ns  # type: ignore[method-assign]


def end_with_parent() -> None:
    """Ends this process at once when the other end of its standard input is closed."""
    while os.read(STANDARD_INPUT, 1):
        continue
    os._exit(ENDED_WITH_PARENT)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    skew(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
