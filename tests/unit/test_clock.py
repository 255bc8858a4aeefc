"""The clock of this machine."""

import threading
import time

from geosync.clock import Clock, SystemClock


def test_the_system_clock_tells_the_time_of_this_machine():
    clock: Clock = SystemClock()
    before_ns, before_s = time.time_ns(), time.monotonic()
    wall_ns, monotonic_s = clock.wall_ns(), clock.monotonic_s()
    assert before_ns <= wall_ns <= time.time_ns()
    assert before_s <= monotonic_s <= time.monotonic()


def test_wait_tells_a_notification_from_a_timeout():
    clock = SystemClock()
    event = threading.Event()
    assert not clock.wait(event, 0)
    event.set()
    assert clock.wait(event, None)


def test_wait_serves_a_held_condition():
    condition = threading.Condition()
    with condition:
        assert not SystemClock().wait(condition, 0)
