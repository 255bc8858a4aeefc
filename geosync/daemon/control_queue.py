"""The queue through which other threads let the control thread do something."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar, cast

from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode

_Subject = TypeVar("_Subject")
_Result = TypeVar("_Result")


class ControlQueue(Generic[_Subject]):
    """Calls that wait for the control thread, which alone may use engine and journal.

    The functions get what the control thread works on, which may be another one each time.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        """Takes the function that makes the control thread look here soon."""
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[object], Callable[[_Subject], object]]] = deque()
        self._is_closed = False

    def call(self, function: Callable[[_Subject], _Result], timeout_s: float | None) -> _Result:
        """Lets the control thread call a function and returns its result.

        Raises:
            TimeoutError: it was busy for so long; the function is not called any more, unless it
                was just begun.
            OperatorError: the daemon is ending.
        """
        future: Future[object] = Future()
        with self._lock:
            if self._is_closed:
                raise _ending()
            self._waiting.append((future, function))
        self._wake()
        try:
            return cast("_Result", future.result(timeout_s))
        except TimeoutError:
            future.cancel()
            raise

    def serve(self, subject: _Subject) -> None:
        """Calls what waits with the subject. Only the control thread calls this."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                future, function = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(subject))
            except Exception as error:  # noqa: BLE001 - whoever asked raises it
                future.set_exception(error)

    def close(self) -> None:
        """Refuses what waits, and all that follows."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(_ending())


def _ending() -> OperatorError:
    return OperatorError(
        "the daemon is ending; ask again once it runs", ExitCode.DAEMON_NOT_RUNNING
    )
