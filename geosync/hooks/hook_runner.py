"""Runs the programs of hooks beside the daemon's work: one thread for each, tries again, tells."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Final

from geosync.configuration.hook_rules import HookRule
from geosync.event_log import event_logger
from geosync.hooks.hook_queue import HookRun
from geosync.program_run import ProgramFailed, give_up_capabilities

PAUSE_S: Final = 1.0  # before the second attempt; twice as long before each further one
PAUSE_S_MAX: Final = 60.0
_log = event_logger(__name__)

Program = Callable[[HookRun], None]  # raises ProgramFailed


class HookRunner:
    """A slow or hanging program delays no other, and never the daemon."""

    def __init__(self, hooks: Iterable[HookRule], run_program: Program) -> None:
        """Starts a thread for each hook.

        Args:
            hooks: in the order of the configuration.
            run_program: runs one program to its end, in the hook's thread.
        """
        self._run_program = run_program
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._failures: dict[int, str | None] = {}
        self._busy: set[int] = set()
        self._queues: list[SimpleQueue[HookRun | None]] = []
        for number, _ in enumerate(hooks):
            queue: SimpleQueue[HookRun | None] = SimpleQueue()
            self._queues.append(queue)
            # Threads of their own end with the daemon: a program that hangs never keeps it alive.
            thread = threading.Thread(
                target=self._work, args=(queue,), name=f"hook {number + 1}", daemon=True
            )
            thread.start()

    def start(self, run: HookRun) -> None:
        """Has a program run; the hook is busy until it is over."""
        with self._lock:
            self._busy.add(run.number)
        self._queues[run.number].put(run)

    def busy(self) -> set[int]:
        """Returns the numbers of the hooks whose programs run, or are tried again."""
        with self._lock:
            return set(self._busy)

    def take_results(self) -> dict[int, str | None]:
        """Returns what became of hooks since the last call, by number: a failure; None: success."""
        with self._lock:
            results, self._failures = self._failures, {}
            return results

    def stop(self) -> None:
        """Starts no further attempt."""
        self._stopping.set()
        for queue in self._queues:
            queue.put(None)

    def _work(self, queue: SimpleQueue[HookRun | None]) -> None:
        give_up_capabilities()
        while (run := queue.get()) is not None:
            failure = self._attempt(run)
            with self._lock:
                self._failures[run.number] = failure
                self._busy.discard(run.number)

    def _attempt(self, run: HookRun) -> str | None:
        program = run.hook.command[0]
        pause_s = PAUSE_S
        failure = ""
        for attempt in range(1, run.hook.attempts + 1):
            try:
                self._run_program(run)
            except ProgramFailed as error:
                failure = str(error)
                _log.warning("hook_failed", program=program, attempt=attempt, reason=failure)
            else:
                _log.info("hook_ran", program=program, occasion=run.occasion.value)
                return None
            if attempt < run.hook.attempts and self._stopping.wait(pause_s):
                break
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
        return (
            f"{program} was run {run.hook.attempts} times for {len(run.occurrences)} x"
            f" {run.occasion.value}, and failed: {failure}. Mend it; it is run again when something"
            " happens next."
        )
