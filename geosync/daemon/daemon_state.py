"""What the threads of the daemon share: the control thread, signal handlers, and commands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from geosync.configuration.volume_configuration import Configuration, Tuning
from geosync.daemon.control_queue import ControlQueue
from geosync.engine.progress import Progress
from geosync.reporting.status import Status, StatusProblem
from geosync.watching.dirty_directories import DirtyDirectories

if TYPE_CHECKING:
    from geosync.daemon.control_loop import ControlLoop

SETTLE_S_MAX = 1.0
_TROUBLE = "daemon"


@dataclass(frozen=True, slots=True)
class HttpState:
    """How the HTTP server is doing: where it listens, or why it does not."""

    address: str = ""
    problem: str = ""


class DaemonState:
    """Every method may be called from any thread, and `stop` and `hurry` from a signal handler.

    Attributes:
        dirty: directories to look at.
        queue: what commands want of the control thread.
        status: as it was last; None before the first cycle.
        http: the HTTP server; set before the control loop begins.
        progress: of what takes long in the present cycle, as it is right now.
        current_at_s: when all that the other sites had stored was on this disk, by the monotonic
            clock; None for never since the daemon began.
    """

    def __init__(self, tuning: Tuning) -> None:
        self.dirty = DirtyDirectories()
        self._settle(tuning)
        self.queue: ControlQueue[ControlLoop] = ControlQueue(self.dirty.wake)
        self.status: Status | None = None
        self.http = HttpState()
        self.progress = Progress()
        self.current_at_s: float | None = None
        self._next_configuration: Configuration | None = None
        self._is_stopping = False
        self._is_in_a_hurry = False
        self._changed = threading.Condition()
        self._cycles = 0
        self._waiting_clients = 0

    def tell_trouble(self, text: str, now_ms: int) -> None:
        """Shows in the status why no cycle can be made at all, until the next one."""
        status = self.status
        if status is None or any(each.subject == _TROUBLE for each in status.problems):
            return
        daemon = None if status.daemon is None else replace(status.daemon, is_settled=False)
        trouble = StatusProblem(_TROUBLE, now_ms, text)
        self.status = replace(
            status,
            daemon=daemon,
            problems=(trouble, *status.problems),
            problem_count=status.problem_count + 1,
        )

    @property
    def is_stopping(self) -> bool:
        """Whether the daemon is to end."""
        return self._is_stopping

    def stop(self) -> None:
        """Makes the daemon end after the current cycle."""
        self._is_stopping = True
        self.dirty.wake()
        self._wake_clients()

    def change_configuration(self, configuration: Configuration) -> None:
        """Makes the control thread go on with another configuration after the current cycle."""
        self._next_configuration = configuration
        self.dirty.wake()

    @property
    def is_configuration_changed(self) -> bool:
        """Whether there is another configuration to go on with."""
        return self._next_configuration is not None

    def take_configuration(self) -> Configuration | None:
        """Returns the configuration to go on with, once; only the control thread calls this."""
        taken, self._next_configuration = self._next_configuration, None
        if taken is not None:
            self._settle(taken.tuning)
        return taken

    def _settle(self, tuning: Tuning) -> None:
        settle_s = tuning.settle_ms / 1000
        self.dirty.settle(settle_s=settle_s, settle_s_max=max(SETTLE_S_MAX, settle_s))

    def hurry(self) -> None:
        """Makes the next cycle begin at once."""
        self._is_in_a_hurry = True
        self.dirty.wake()

    def take_hurry(self) -> bool:
        """Returns whether there is a hurry, once."""
        was_in_a_hurry, self._is_in_a_hurry = self._is_in_a_hurry, False
        return was_in_a_hurry

    @contextmanager
    def client_waiting(self) -> Iterator[None]:
        """Says, while the block runs, that somebody waits for changes to come and go."""
        with self._changed:
            self._waiting_clients += 1
        self.hurry()
        try:
            yield
        finally:
            with self._changed:
                self._waiting_clients -= 1

    def has_waiting_clients(self) -> bool:
        """Tells whether somebody waits."""
        with self._changed:
            return self._waiting_clients > 0

    def cycles(self) -> int:
        """Returns how many cycles have ended."""
        with self._changed:
            return self._cycles

    def _wake_clients(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def note_cycle(self) -> None:
        """Says that a cycle ended."""
        with self._changed:
            self._cycles += 1
        self._wake_clients()

    def wait_for_cycle(self, after: int, timeout_s: float | None) -> bool:
        """Waits until more than `after` cycles have ended, or the daemon is to end.

        Returns:
            Whether that is so, rather than that the time is over.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: self._cycles > after or self._is_stopping, timeout_s
            )
