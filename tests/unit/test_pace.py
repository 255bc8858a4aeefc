"""The daemon looks often while there is work, and ever less often afterwards."""

from __future__ import annotations

import pytest

from geosync.daemon.pace import ACTIVE_FOR_S, Pace


def _intervals(pace: Pace, now_s: float, work: list[bool]) -> list[float]:
    found = []
    for had_work in work:
        pace.note_look(now_s, had_work=had_work)
        found.append(pace.due_s - now_s)
    return found


def test_the_first_look_is_due_at_once() -> None:
    assert Pace(active_s=0.2, idle_s=2.0, now_s=7.0).due_s == 7.0


def test_after_work_it_stays_active_for_a_while() -> None:
    pace = Pace(active_s=0.2, idle_s=2.0, now_s=0.0)
    assert _intervals(pace, 50.0, [True, False, False]) == pytest.approx([0.2] * 3)
    assert _intervals(pace, 50.0 + ACTIVE_FOR_S - 0.1, [False]) == pytest.approx([0.2])


def test_without_work_the_interval_doubles_up_to_the_longest() -> None:
    pace = Pace(active_s=0.2, idle_s=2.0, now_s=0.0)
    found = _intervals(pace, ACTIVE_FOR_S, [False] * 6)
    assert found == pytest.approx([0.4, 0.8, 1.6, 2.0, 2.0, 2.0])
    assert _intervals(pace, 99.0, [True]) == pytest.approx([0.2])


def test_in_a_hurry_the_next_look_is_due_at_once() -> None:
    pace = Pace(active_s=0.2, idle_s=2.0, now_s=0.0)
    pace.note_look(99.0, had_work=False)
    pace.hurry(99.1)
    assert pace.due_s == 99.1
