"""Waiting for what other processes do: a condition with a deadline, instead of a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_S = 0.02
STEP_S_MAX = 0.5
PATIENCE = 2.0  # how many times as long as an answer takes the next question waits


def await_condition(
    condition: Callable[[], object], what: str = "", *, timeout_s: float = 60.0
) -> None:
    """Returns as soon as the condition holds; fails the test when it never does.

    Args:
        condition: is asked again and again; what it raises fails the test.
        what: what is waited for, or a callable's worth of detail, for the message.
        timeout_s: long enough for the slowest machine.
    """
    asked_s = time.monotonic()
    deadline_s = asked_s + timeout_s
    while not condition():
        answered_s = time.monotonic()
        assert answered_s < deadline_s, f"waited {timeout_s} s in vain: {what}"
        time.sleep(min(STEP_S_MAX, max(STEP_S, PATIENCE * (answered_s - asked_s))))
        asked_s = time.monotonic()
