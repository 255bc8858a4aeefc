"""`geosync demo`: real sites on this machine, real data, and what happened, in plain words."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from conflict.errors import GeosyncError
from geosync.demo import demo_steps
from geosync.demo.demo_world import ONE_WAY_DELAY_S, DemoWorld, running_world
from geosync.demo.narration import Narrator
from geosync.demo.sample_tree import standard_library
from geosync.demo.swift_server import require_swift
from geosync.exit_codes import ExitCode
from geosync.terminal import human_duration

SITE_NAMES: Final = ("bari", "geneva", "lyon", "hamburg", "vienna")
INTERRUPTED: Final = 128 + signal.SIGINT  # what a shell expects after Ctrl-C

_STEPS: Final[Sequence[Callable[[DemoWorld], None]]] = (
    demo_steps.an_edit,
    demo_steps.a_rename,
    demo_steps.a_partition,
    demo_steps.a_kill,
    demo_steps.a_conflict,
    demo_steps.the_verdict,
)


def main(arguments: Sequence[str]) -> int:
    """Runs the demonstration; returns 0 only if everything was as it should be.

    All lies in a fresh directory, which is removed in the end, unless something failed or the
    caller wants to keep it. Every process that was started is ended, also after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    tell = Narrator(sys.stdout)
    try:
        require_swift()
        os.makedirs(options.directory, exist_ok=True)
        directory = tempfile.mkdtemp(prefix="geosync-demo-", dir=options.directory)
    except (GeosyncError, OSError) as error:
        tell.conclude(f"FAILED: {error}")
        return ExitCode.FAILED
    try:
        with _sigterm_like_interrupt():
            _run(tell, directory, options.tree, SITE_NAMES[: options.sites])
    except KeyboardInterrupt:
        tell.conclude("Interrupted: everything that was started has ended.")
        _leave(tell, directory, is_kept=options.keep)
        return INTERRUPTED
    except (GeosyncError, OSError) as error:
        tell.conclude(f"FAILED: {error}")
        _leave(tell, directory, is_kept=True)
        return ExitCode.FAILED
    _leave(tell, directory, is_kept=options.keep)
    return ExitCode.DONE


def _run(tell: Narrator, directory: str, tree: str, site_names: Sequence[str]) -> None:
    start_s = time.monotonic()
    round_trip = human_duration(2 * ONE_WAY_DELAY_S)
    tell.conclude(
        f"geosync demo: {len(site_names)} sites on this machine meet in a real OpenStack Swift,"
        f" which runs here too.\nBetween each site and Swift is a line of its own, with a round"
        f" trip of {round_trip}.\nEverything lies in {directory}."
    )
    with running_world(directory, site_names, tell) as world:
        demo_steps.first_copies(world, tree)
        for step in _STEPS:
            step(world)
    tell.table("What was measured; bytes are those of all lines, with all that HTTP adds:")
    took = human_duration(time.monotonic() - start_s)
    tell.conclude(f"Everything was as it should be. The demonstration took {took}.")


def _leave(tell: Narrator, directory: str, *, is_kept: bool) -> None:
    if is_kept:
        tell.conclude(
            f"The trees (SITE/tree) and logs (SITE/daemon.log, swift/log) are kept in {directory}."
        )
    else:
        shutil.rmtree(directory)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="geosync demo",
        description="Runs sites on this machine and shows what happens, in about a minute.",
    )
    parser.add_argument(
        "--directory",
        default=tempfile.gettempdir(),
        metavar="DIR",
        help="where a directory for everything is made (default: %(default)s)",
    )
    parser.add_argument(
        "--sites",
        type=int,
        choices=range(2, len(SITE_NAMES) + 1),
        default=3,
        help="how many sites (default: %(default)s)",
    )
    parser.add_argument(
        "--tree",
        type=_directory,
        default=standard_library(),
        metavar="DIR",
        help="what is copied and synced (default: %(default)s, Python's own library)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the directory afterwards")
    return parser


def _directory(path: str) -> str:
    if not os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{path} is no directory")
    return path


@contextmanager
def _sigterm_like_interrupt() -> Iterator[None]:
    """While the block runs, SIGTERM does what Ctrl-C does, so that all is ended and removed."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
