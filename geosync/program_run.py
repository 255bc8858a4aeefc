"""One run of an operator's program: what it reads, how long it may take, what becomes of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, Final

OUTPUT_KEPT_BYTES: Final = 2000
ENDING_TAKES_AT_MOST_S: Final = 5.0
_POLL_S: Final = 0.2
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")
_PR_CAP_AMBIENT: Final = 47  # prctl(2)
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4


class ProgramFailed(Exception):
    """The program did not do its work; the text says what it did instead."""


def give_up_capabilities() -> None:
    """Keeps the daemon's capabilities from programs that this thread starts (capabilities(7)).

    A kernel without ambient capabilities passes none on.
    """
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def run_program(
    command: Sequence[str],
    given: bytes,
    variables: Mapping[str, str],
    timeout_s: float,
    directory: bytes = b"/",
) -> None:
    """Runs a program to its end.

    It gets the input from a file, so that it need not read it; a few harmless variables of our
    environment, so that no credentials reach it; and a session of its own, so that all it started
    can be ended.

    Args:
        command: the program and its arguments.
        given: what it reads on its standard input.
        variables: for its environment.
        timeout_s: how long it may take.
        directory: in which it runs.

    Raises:
        ProgramFailed: it could not be started, took too long, or ended with another code than 0.
    """
    inherited = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    with tempfile.TemporaryFile() as standard_input:
        standard_input.write(given)
        standard_input.seek(0)
        try:
            process = subprocess.Popen(
                command,
                stdin=standard_input,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**inherited, **variables},
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramFailed(f"it could not be started: {error.strerror}") from error
    with process:
        assert process.stdout is not None
        said = _Tail(process.stdout)
        is_in_time = _await_end(process, said, timeout_s)
        _end_session(process)
        said.read_all()
        if not is_in_time:
            raise ProgramFailed(f"it took longer than {timeout_s:g} s and was ended{said}")
        if process.returncode != 0:
            raise ProgramFailed(f"it ended with {_ending(process.returncode)}{said}")


class _Tail:
    """The end of what a program writes, however much that is."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept = b""
        self._is_open = True
        os.set_blocking(stream.fileno(), False)

    def read_for(self, timeout_s: float) -> None:
        """Reads what comes within a time, or waits for so long when nothing can come any more."""
        if not self._is_open:
            time.sleep(timeout_s)
            return
        select.select([self._stream], [], [], timeout_s)
        self.read_all()

    def read_all(self) -> None:
        """Reads what is there."""
        while self._is_open:
            try:
                data = os.read(self._stream.fileno(), 65_536)
            except BlockingIOError:
                return
            self._is_open = bool(data)
            self._kept = (self._kept + data)[-OUTPUT_KEPT_BYTES:]

    def __str__(self) -> str:
        text = " ".join(self._kept.decode(errors="replace").split())
        return f"; it said: {text}" if text else "; it said nothing"


def _await_end(process: subprocess.Popen[bytes], said: _Tail, timeout_s: float) -> bool:
    ends_s = time.monotonic() + timeout_s
    while process.poll() is None:
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            return False
        said.read_for(min(_POLL_S, left_s))
    return True


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """Ends the program, and with it all that it started and left behind."""
    if process.poll() is None:
        _signal_session(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDING_TAKES_AT_MOST_S)
    # RACE: the session's number is ours as long as the program is not waited for, or something of
    # the session runs; after that nothing of it is left, and the kernel does not use a number again
    # so soon.
    _signal_session(process.pid, signal.SIGKILL)
    process.wait()


def _signal_session(process_id: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, number)


def _ending(code: int) -> str:
    if code >= 0:
        return f"code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
