"""A server in a child process, which listens on our sockets and does not outlive us."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from conflict.errors import GeosyncError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
LOG_LINES_QUOTED = 20


class ServerStartError(GeosyncError):
    """A real server of the tests or the demonstration could not be started."""


class ServerProcess:
    """One running child. It writes a byte to its standard output when it is ready.

    The child has to end when its standard input ends, which happens when this process ends, in
    whatever way. Not thread-safe.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        listeners: Mapping[str, socket.socket],
        log_path: str,
        environment: Mapping[str, str],
    ) -> None:
        """Starts the child without waiting for it.

        Args:
            command: to which `name:descriptor` is appended for each listener.
            listeners: listening sockets. Close them afterwards: only the child may hold them,
                or clients would wait for an answer after its end.
            log_path: where the child's standard error is appended.
            environment: all of the child's environment.
        """
        self._log_path = log_path
        descriptors = {name: listener.fileno() for name, listener in listeners.items()}
        with open(log_path, "ab") as log:
            self._child = subprocess.Popen(
                [*command, *(f"{name}:{number}" for name, number in descriptors.items())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=list(descriptors.values()),
                env=environment,
                # Of its own, so that Ctrl-C reaches us alone. Not a session of its own: in ours,
                # the kernel wakes and ends even a paused child when we are killed.
                process_group=0,
            )

    @property
    def process_id(self) -> int:
        """The child's process id."""
        return self._child.pid

    def is_running(self) -> bool:
        """Whether the child has not ended; a paused one counts as running."""
        return self._child.poll() is None

    def await_ready(self) -> None:
        """Returns when the child is ready.

        Raises:
            ServerStartError: it ended or took too long; the end of its log is quoted. A child
                that took too long still runs.
        """
        assert self._child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            readable = selector.select(START_TIMEOUT_S)
        if readable and self._child.stdout.read(1):
            return
        found = "it ended" if readable else f"it was not ready within {START_TIMEOUT_S:g} s"
        with open(self._log_path, encoding="utf-8", errors="replace") as log:
            log_end = "".join(log.readlines()[-LOG_LINES_QUOTED:])
        raise ServerStartError(
            f"tried to start a server; {found}. The end of {self._log_path}:\n{log_end}"
        )

    def pause(self) -> None:
        """Stops the child, as a hung machine would; returns when it has stopped or ended."""
        self._child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Lets a paused child run on."""
        self._child.send_signal(signal.SIGCONT)

    def ask_to_end(self) -> None:
        """Sends SIGTERM, also to a paused child, and does not wait."""
        self._child.terminate()
        self._child.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the child, by force if it does not end by itself. Never raises."""
        self.ask_to_end()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """Ends the child by SIGKILL, if it runs, and closes what belongs to it."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()


def child_environment(**changes: str) -> dict[str, str]:
    """Ours, but quiet, and with compiled modules kept: without them each start is slow."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", **changes}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment
