"""Progress: what is done of what is known, how fast, and how long it still takes."""

from __future__ import annotations

import pytest

from geosync.engine.progress import Advance, Progress, Stage
from geosync.reporting.progress_text import progress_json, progress_text


def test_the_rate_counts_only_what_was_done_since_the_stage_began() -> None:
    progress = Progress()
    progress.note_reading(5_000, 20_000, now_s=100.0)
    progress.note_reading(7_000, 20_000, now_s=104.0)
    assert progress.now is not None
    assert progress.now.rate == pytest.approx(500)
    assert progress.now.left_s == pytest.approx(26)


def test_what_is_slower_decides_how_long_it_still_takes() -> None:
    progress = Progress()
    progress.note_planned(100, 1_000_000, now_s=0.0)
    progress.note_brought(90, 100_000, now_s=10.0)
    assert progress.now is not None
    assert progress.now.left_s == pytest.approx(90)


def test_a_further_plan_adds_to_what_was_brought_before() -> None:
    progress = Progress()
    progress.note_planned(2, 20, now_s=0.0)
    progress.note_brought(2, 20, now_s=1.0)
    progress.note_planned(3, 30, now_s=2.0)
    assert progress.now is not None
    assert (progress.now.done, progress.now.total) == (2, 5)
    assert (progress.now.bytes_done, progress.now.bytes_total) == (20, 50)


def test_what_is_brought_beside_a_plan_is_no_progress() -> None:
    """A conflict copy, for instance, which nobody waits for."""
    progress = Progress()
    progress.note_brought(1, 100, now_s=0.0)
    assert progress.now is None


def test_only_the_stage_that_is_under_way_ends() -> None:
    progress = Progress()
    progress.note_comparing(10, lambda: 0, now_s=0.0)
    progress.end(Stage.READING)
    assert progress.now is not None
    progress.end(Stage.COMPARING)
    assert progress.now is None


def test_a_person_reads_how_far_how_fast_and_how_long() -> None:
    mebibyte = 1024 * 1024
    advance = Advance(Stage.BRINGING, 12, 50, 100 * mebibyte, 400 * mebibyte, lasts_s=10.0)
    assert progress_text(advance) == (
        "bringing files: 12 of 50 files, 100.0 MiB of 400.0 MiB, 10.0 MiB/s, about 32 s left"
    )


def test_a_total_that_is_not_known_gives_no_estimate() -> None:
    advance = Advance(Stage.COMPARING, 3000, lasts_s=10.0)
    assert progress_text(advance) == "comparing the disk: 3000 names, 300 names/s"
    found = progress_json(advance)
    assert found is not None
    assert found["total"] is None
    assert found["left_s"] is None


def test_comparing_a_disk_expects_what_the_volume_has_until_the_disk_has_more() -> None:
    progress = Progress()
    progress.note_comparing(100, lambda: 1000, now_s=0.0)
    progress.note_comparing(400, lambda: 7, now_s=10.0)
    assert progress.now is not None
    assert progress_text(progress.now).startswith("comparing the disk: 500 of 1000 names")
    assert progress.now.left_s is not None
    progress.note_comparing(600, lambda: 7, now_s=20.0)
    assert progress.now.total is None
    assert progress.now.left_s is None
    empty = Progress()
    empty.note_comparing(3, lambda: 0, now_s=0.0)
    assert empty.now is not None
    assert empty.now.total is None, "a new volume tells nothing of how much there is"


def test_a_plan_without_files_is_no_progress() -> None:
    progress = Progress()
    progress.note_planned(0, 0, now_s=0.0)
    assert progress.now is None
