"""Merge runs: an operator's program makes one of several versions, in a thread of its own."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from geosync.configuration.merge_program_rules import MergeProgram
from geosync.program_run import ProgramFailed, give_up_capabilities, run_program

OUTPUT_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
_OUTPUT: Final = b"output"
_ANCESTOR: Final = b"ancestor"


@dataclass(frozen=True, slots=True)
class MergeInput:
    """What a program is to make one.

    Attributes:
        path: below the root, for the program to know what it is about.
        ancestor: what the versions come from; None when there is no such thing.
        versions: those of earlier stamps first, at least two.
    """

    path: bytes
    ancestor: bytes | None
    versions: Sequence[bytes]


class MergeFailed(Exception):
    """There is no merge; the text says why, for an operator."""


def run_merge(program: MergeProgram, given: MergeInput, directory: bytes) -> bytes:
    """Runs a program in a directory of its own, and returns what it wrote.

    It is called with the names of the output, of the ancestor, and of each version. It has nothing
    of our environment but what is harmless, and none of the daemon's capabilities.

    Raises:
        MergeFailed: it could not be started, took too long, ended with another code than 0, or
            wrote nothing that can be taken.
    """
    try:
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory, mode=0o700)
        names = [b"version-%d" % number for number in range(1, len(given.versions) + 1)]
        files = {_ANCESTOR: given.ancestor or b"", **dict(zip(names, given.versions, strict=True))}
        for name, content in files.items():
            with open(os.path.join(directory, name), "xb") as file:
                file.write(content)
        arguments = [os.fsdecode(os.path.join(directory, name)) for name in (_OUTPUT, *files)]
        variables = {
            "GEOSYNC_PATH": os.fsdecode(given.path),
            "GEOSYNC_HAS_ANCESTOR": "0" if given.ancestor is None else "1",
            "HOME": os.fsdecode(directory),
        }
        run_program((*program.command, *arguments), b"", variables, program.timeout_s, directory)
        return _output(os.path.join(directory, _OUTPUT))
    except ProgramFailed as error:
        raise MergeFailed(f"the program {program.command[0]} did not merge it: {error}") from error
    except OSError as error:
        raise MergeFailed(
            f"the program {program.command[0]} can't be given its files: {error}"
        ) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _output(path: bytes) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ProgramFailed(f"it wrote no output: {error.strerror}") from error
    with open(descriptor, "rb") as file:
        content = file.read(OUTPUT_SIZE_BYTES_MAX + 1)
    if len(content) > OUTPUT_SIZE_BYTES_MAX:
        raise ProgramFailed(f"it wrote more than {OUTPUT_SIZE_BYTES_MAX} bytes")
    return content


class MergeRuns:
    """Runs one program at a time; the control thread asks for the result in a later cycle."""

    def __init__(self, directory: bytes) -> None:
        """Takes a directory that is nobody else's; what an earlier run left there goes."""
        self._directory = directory
        self._current: bytes | None = None
        self._outcome: Callable[[], bytes] | None = None
        with suppress(OSError):
            shutil.rmtree(directory)

    @property
    def is_idle(self) -> bool:
        """Tells whether a program may be started."""
        return self._current is None

    def start(self, contention: bytes, program: MergeProgram, given: MergeInput) -> None:
        """Starts a program for what a contention's identity names."""
        self._current = contention
        # RACE: only this thread's end sets the outcome, and only `take` clears it, after that.
        work = threading.Thread(target=self._run, args=(program, given), name="merge", daemon=True)
        work.start()

    def take(self, contention: bytes) -> bytes | None:
        """Returns what was merged, once; None while that is under way. Raises MergeFailed."""
        if self._current != contention or self._outcome is None:
            return None
        outcome, self._outcome, self._current = self._outcome, None, None
        return outcome()

    def forget_all_but(self, wanted: set[bytes]) -> None:
        """Drops a result that nobody wants any more, once it is there."""
        if self._current is not None and self._current not in wanted and self._outcome is not None:
            self._outcome = self._current = None

    def _run(self, program: MergeProgram, given: MergeInput) -> None:
        give_up_capabilities()
        try:
            content = run_merge(program, given, self._directory)
        except MergeFailed as error:
            reason = error

            def fail() -> bytes:
                raise reason

            self._outcome = fail
        else:
            self._outcome = lambda: content
