"""Waiting for what other processes do: a condition with a deadline, instead of a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_S = 0.02


def await_condition(
    condition: Callable[[], object], what: str = "", *, timeout_s: float = 60.0
) -> None:
    """Returns as soon as the condition holds; fails the test when it never does.

    Args:
        condition: is asked again and again; what it raises fails the test.
        what: what is waited for, or a callable's worth of detail, for the message.
        timeout_s: long enough for the slowest machine.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {timeout_s} s in vain: {what}"
        time.sleep(STEP_S)
