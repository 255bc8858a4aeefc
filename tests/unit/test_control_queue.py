"""Calls reach the control thread, with their results and errors, or are refused in the end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from geosync.daemon.control_queue import ControlQueue
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode


def _serving(queue: ControlQueue[str], woken: threading.Semaphore, calls: int) -> threading.Thread:
    def serve() -> None:
        for _ in range(calls):
            assert woken.acquire(timeout=60)
            queue.serve("subject")

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_the_control_thread_calls_the_function_and_its_result_comes_back() -> None:
    woken = threading.Semaphore(0)
    queue: ControlQueue[str] = ControlQueue(woken.release)
    thread = _serving(queue, woken, 1)
    found = queue.call(lambda subject: (subject, threading.get_ident()), 60)
    assert found == ("subject", thread.ident)
    thread.join()


def test_an_error_comes_back_to_whoever_asked_and_the_next_call_works() -> None:
    woken = threading.Semaphore(0)
    queue: ControlQueue[str] = ControlQueue(woken.release)
    thread = _serving(queue, woken, 2)
    with pytest.raises(ZeroDivisionError):
        queue.call(lambda _: 1 // 0, 60)
    assert queue.call(len, 60) == 7
    thread.join()


def test_a_call_that_was_given_up_is_never_made() -> None:
    queue: ControlQueue[list[int]] = ControlQueue(lambda: None)
    with pytest.raises(TimeoutError):
        queue.call(lambda made: made.append(1), 0.01)
    made: list[int] = []
    queue.serve(made)
    assert made == []


def test_after_its_close_calls_are_refused_also_those_that_wait() -> None:
    waiting = threading.Event()
    queue: ControlQueue[str] = ControlQueue(waiting.set)
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(queue.call, len, 60)
        assert waiting.wait(60)
        queue.close()
        with pytest.raises(OperatorError) as refused:
            future.result(60)
    assert refused.value.exit_code is ExitCode.DAEMON_NOT_RUNNING
    with pytest.raises(OperatorError):
        queue.call(len, 60)
