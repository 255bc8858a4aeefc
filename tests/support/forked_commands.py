"""Commands as processes that have read the program before: forks of one that has.

To read it takes half a second of a processor, each time, and the tests give thousands of commands.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from typing import IO, NoReturn

import geosync.commands
from geosync.cli import main

INPUT, OUTPUT, ERRORS = range(3)


def run_forked(arguments: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end, in this directory and environment, as `python -m geosync` does.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        files = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (output, errors)]
        process = _forking().Process(target=_become, args=(arguments, dict(os.environ), *files))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout_s)
        said = [_text(file) for file in (output, errors)]
        return subprocess.CompletedProcess(list(arguments), process.exitcode, *said)


@cache
def _forking() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    path = geosync.commands.__path__
    commands = [f"geosync.commands.{each.name}" for each in pkgutil.iter_modules(path)]
    context.set_forkserver_preload(["__main__", __name__, *commands])
    return context


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _become(
    arguments: Sequence[str], environment: Mapping[str, str], output: str, errors: str
) -> NoReturn:
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for descriptor, path in ((INPUT, os.devnull), (OUTPUT, output), (ERRORS, errors)):
        file = os.open(path, os.O_RDWR)
        os.dup2(file, descriptor)
        os.close(file)
    sys.argv = ["geosync", *arguments]
    sys.exit(main())
