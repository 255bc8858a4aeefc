"""A process that writes until it is asked to end: python -m tests.torture.writer SETTINGS

SETTINGS is JSON, see `Settings`. SIGTERM ends it after the action that is under way; it then tells
its log what has to be in the directories that are its own.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
import threading
from dataclasses import asdict, dataclass

from tests.torture.action_log import ActionLog
from tests.torture.owned_work import OwnedWork
from tests.torture.save_tools import installed_tools
from tests.torture.serial_numbers import SerialNumbers
from tests.torture.shared_work import Places, SharedWork
from tests.torture.tool_work import ToolWork

WEIGHTS = (5, 5, 1)  # of shared files, of the writer's own, of whole programs


@dataclass(frozen=True, slots=True)
class Settings:
    """What a writer has to know."""

    seed: str
    site: str
    writer: str
    root: str
    locks: str  # directory, one for all writers of a site
    removed: str  # directory, one for all writers of a site
    outside: str  # directory of this writer's own
    log: str  # of the site and writer
    families: int
    pause_ms_mean: float
    has_tools: bool  # it also lets whole programs work

    def as_argument(self) -> str:
        """Returns what the process takes."""
        return json.dumps(asdict(self))


def write_until(
    stop: threading.Event, settings: Settings, *, actions_max: int | None = None
) -> None:
    """Acts until asked to stop, or so often."""
    dice = random.Random(f"{settings.seed}/{settings.site}/{settings.writer}")
    serials = SerialNumbers(settings.site, settings.writer, os.fsencode(settings.outside))
    tools, root = installed_tools(), os.fsencode(settings.root)
    name = f"{settings.site}-{settings.writer}"
    with ActionLog(settings.log) as log:
        shared = SharedWork(
            Places(root, os.fsencode(settings.locks), os.fsencode(settings.removed)),
            log,
            serials,
            tools,
            settings.families,
        )
        exclusive: list[OwnedWork | ToolWork] = [
            OwnedWork(root, f"owned/{name}", log, serials, tools)
        ]
        if settings.has_tools:
            exclusive.append(ToolWork(root, f"tools/{name}", log, serials))
        for _ in itertools.count() if actions_max is None else range(actions_max):
            if stop.is_set():
                break
            [work] = dice.choices([shared, *exclusive], WEIGHTS[: 1 + len(exclusive)])
            try:
                work.act(dice)
            except OSError:
                if work is shared:
                    continue  # the daemon, or another site, was there before
                raise  # nobody else writes there; the log tells the checker what failed
            stop.wait(dice.expovariate(1000 / settings.pause_ms_mean))
        for work in exclusive:
            work.tell_model()


def main() -> None:
    """Runs until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    write_until(stop, Settings(**json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
