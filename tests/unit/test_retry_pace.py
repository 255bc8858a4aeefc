"""Retries come soon at first, then ever less often, and never stop."""

from __future__ import annotations

from geosync.engine.retry_pace import RetryPace


def _attempts(pace: RetryPace, until_s: float) -> list[float]:
    """Tries every tenth of a second, fails, and returns when it was tried."""
    tried = []
    for tenth in range(int(until_s * 10)):
        now_s = tenth / 10
        if pace.is_due(now_s):
            tried.append(now_s)
            pace.note_failure(now_s)
    return tried


def test_pauses_double_up_to_the_longest() -> None:
    pace = RetryPace(first_s=1.0, longest_s=8.0)
    assert _attempts(pace, 40.0) == [0.0, 1.0, 3.0, 7.0, 15.0, 23.0, 31.0, 39.0]


def test_progress_makes_the_next_pauses_short_again() -> None:
    pace = RetryPace(first_s=1.0, longest_s=8.0)
    _attempts(pace, 40.0)
    pace.note_progress(40.0)
    assert not pace.is_due(40.9)
    assert pace.is_due(41.0)
    pace.note_failure(41.0)
    assert pace.is_due(42.0)


def test_success_lifts_every_pause() -> None:
    pace = RetryPace(first_s=1.0, longest_s=8.0)
    _attempts(pace, 40.0)
    pace.note_success()
    assert _attempts(pace, 10.0) == [0.0, 1.0, 3.0, 7.0]
