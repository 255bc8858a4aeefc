"""Child processes that are killed: forked, so that one starts in a moment and shares no state."""

from __future__ import annotations

import os
import selectors
import signal
import traceback
from collections.abc import Callable

Work = Callable[[Callable[[bytes], None]], None]  # is given a function that tells the parent


class DoomedChild:
    """A child process that does some work; it ends by itself, or by SIGKILL.

    What it tells arrives even if it is killed right afterwards: a pipe outlives its writer.
    """

    def __init__(self, work: Work) -> None:
        self._reading, writing = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            os.close(self._reading)
            _run_and_exit(work, writing)
        os.close(writing)

    def wait(self, timeout_s: float) -> bool:
        """Waits until it ends by itself, but not longer; returns whether it did."""
        process = os.pidfd_open(self._process)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process, selectors.EVENT_READ)
                return bool(selector.select(timeout_s))
        finally:
            os.close(process)

    def kill(self) -> bytes:
        """Kills it, if it still runs; returns all that it told.

        Raises:
            AssertionError: the work ended in an exception.
        """
        os.kill(self._process, signal.SIGKILL)
        _, status = os.waitpid(self._process, 0)
        with os.fdopen(self._reading, "rb") as file:
            told = file.read()
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, told.decode()
        return told


def _run_and_exit(work: Work, writing: int) -> None:
    code = 1
    try:
        work(lambda told: _tell(writing, told))
        code = 0
    except BaseException:  # noqa: BLE001 - the parent raises it
        _tell(writing, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _tell(writing: int, told: bytes) -> None:
    while told:
        told = told[os.write(writing, told) :]
