"""Large files that arrive: in the background, without holding anything else up, and only once."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from geosync.configuration.volume_configuration import Mode
from geosync.engine import ahead, downloading, fetching, ranges
from tests.support.kill_points import KillPoints, kill_before_each_step, run_to_death
from tests.support.local_sites import LocalSite, local_sites, run, settle
from tests.support.recording_store import RecordingStore
from tests.support.stepped_pool import SteppedPool
from transport.memory_store import MemoryStore

MIB = 1024 * 1024
LARGE = random.Random(4).randbytes(3 * MIB)
NAME = b"large"
Sites = tuple[LocalSite, LocalSite]


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LARGE_SIZE_BYTES", MIB)
    monkeypatch.setattr(fetching, "SLICE_S", 0.0)
    monkeypatch.setattr(downloading, "WINDOW_SIZE_BYTES", MIB)
    monkeypatch.setattr(downloading, "PIECE_SIZE_BYTES", MIB)
    monkeypatch.setattr(downloading, "_ITEMS_LEFT_MIN", 1)
    monkeypatch.setattr(ranges, "RANGE_SIZE_BYTES_MAX", MIB)
    monkeypatch.setattr(ahead, "PACK_SIZE_BYTES_MIN", 1000)


@pytest.fixture
def sites() -> Iterator[Sites]:
    with local_sites(RecordingStore(MemoryStore()), "away", "here") as (away, here):
        settle(away, here)
        yield away, here


def _stepped(site: LocalSite) -> SteppedPool:
    site.engine.site.pool = pool = SteppedPool()
    return pool


def _ranges_asked_for(site: LocalSite) -> int:
    return len(site.link.names("get_range"))


def _begin(away: LocalSite, here: LocalSite, content: bytes = LARGE) -> SteppedPool:
    """Has a part of a large file come."""
    pool = _stepped(here)
    away.write(NAME, content)
    away.cycle()
    here.cycle()
    pool.work(1)
    return pool


def _finish(pool: SteppedPool, here: LocalSite) -> None:
    for _ in range(20):
        pool.work()
        here.cycle()


def test_a_small_change_appears_while_a_large_file_is_on_its_way(sites: Sites) -> None:
    away, here = sites
    pool = _begin(away, here)
    away.write(b"small", b"small")
    away.cycle()
    cycle = here.cycle()
    assert here.read(b"small") == b"small"
    assert not os.path.exists(here.path(NAME))
    assert cycle.has_more, "the next cycle goes on with it at once"
    assert "of 3.0 MiB are here" in here.engine.waiting()[(NAME,)]
    _finish(pool, here)
    assert here.read(NAME) == LARGE


def test_at_a_replica_what_was_written_after_a_large_file_waits_for_it() -> None:
    with local_sites(MemoryStore(), "away", "here") as (away, here):
        here.close()
        here.mode = Mode.REPLICA
        here.open()
        settle(away, here)
        pool = _begin(away, here)
        for name in (b"after", b"d/after"):
            away.write(name, b"small")
            away.cycle()
        run(here, rounds=3)
        assert not os.path.exists(here.path(b"after"))
        assert "was written before" in here.engine.waiting()[(b"after",)]
        _finish(pool, here)
        assert here.read(NAME) == LARGE
        assert here.read(b"after") == here.read(b"d/after") == b"small"


def test_a_site_does_not_claim_what_is_still_coming(sites: Sites) -> None:
    away, here = sites
    pool = _begin(away, here)
    received = here.journal.log.received()
    here.cycle()
    assert here.engine.site.applied() != received
    assert not here.engine.is_current()
    _finish(pool, here)
    assert here.engine.site.applied() == here.journal.log.received()


def test_a_large_file_is_asked_for_once_however_many_rounds_it_takes(sites: Sites) -> None:
    away, here = sites
    pool = _begin(away, here)
    for _ in range(30):
        here.cycle()
        pool.work(1)
    _finish(pool, here)
    assert here.read(NAME) == LARGE
    assert here.link.counters().download_bytes < 2 * len(LARGE)
    asked = [call for call in here.link.calls if call[0] == "get_range"]
    assert len(asked) <= 6, "a range is a MiB; chunks end where they end"


def test_what_a_program_keeps_from_its_place_is_not_brought_again(sites: Sites) -> None:
    away, here = sites
    away.write(NAME, LARGE)
    settle(away, here)
    with open(here.path(NAME), "r+b"):
        away.write(NAME, LARGE[::-1])
        away.cycle()
        here.cycle()
        asked = _ranges_asked_for(here)
        run(here, rounds=4)
        assert here.read(NAME) == LARGE
        assert _ranges_asked_for(here) == asked
    settle(away, here)
    assert here.read(NAME) == LARGE[::-1]
    assert _ranges_asked_for(here) == asked


def test_the_same_bytes_in_two_files_travel_once(sites: Sites) -> None:
    away, here = sites
    away.write(b"one", LARGE)
    away.write(b"two", LARGE)
    away.cycle()
    before_bytes = here.link.counters().download_bytes
    settle(here, away)
    assert here.read(b"one") == here.read(b"two") == LARGE
    assert here.link.counters().download_bytes - before_bytes < len(LARGE) * 3 // 2


def test_a_version_that_is_replaced_on_the_way_is_given_up(sites: Sites) -> None:
    away, here = sites
    pool = _begin(away, here)
    away.write(NAME, LARGE[::-1])
    away.cycle()
    _finish(pool, here)
    assert here.read(NAME) == LARGE[::-1]
    assert os.listdir(here.path(b".geosync/stage")) == []


def test_zeros_and_holes_arrive_as_they_are_also_over_remains(sites: Sites) -> None:
    away, here = sites
    content = LARGE[:MIB] + bytes(3 * MIB) + LARGE[MIB:]
    away.write(NAME, content)
    away.cycle()
    here.engine.site.pool = SteppedPool()
    here.cycle()
    (name,) = os.listdir(here.path(b".geosync/stage"))
    with open(here.path(b".geosync/stage/" + name), "r+b") as file:
        file.write(b"x" * len(content))
    here.reopen()
    settle(here, away)
    assert here.read(NAME) == content


def test_a_file_of_holes_needs_room_only_for_what_is_in_it(sites: Sites) -> None:
    away, here = sites
    enormous = os.statvfs(here.root).f_blocks * os.statvfs(here.root).f_frsize * 4
    with open(away.path(NAME), "wb") as file:
        file.truncate(enormous)
        file.write(LARGE)
    settle(away, here)
    assert os.path.getsize(here.path(NAME)) == enormous
    with open(here.path(NAME), "rb") as file:
        assert file.read(len(LARGE)) == LARGE
    assert os.lstat(here.path(NAME)).st_blocks * 512 < 2 * len(LARGE)


def _killed_once(points: KillPoints) -> bool:
    """Kills a site that brings a large file in place of another one; then lets it end its work."""
    old = LARGE[: 2 * MIB]
    with local_sites(MemoryStore(), "away", "here") as (away, here):
        away.write(NAME, old)
        settle(away, here)
        changed = b"x" + old[:MIB] + LARGE[: MIB // 2]
        away.write(NAME, changed)
        away.cycle()
        was_killed = run_to_death(here, points, lambda site: run(site, rounds=2))
        here.open()
        assert here.read(NAME) in (old, changed), points.why
        settle(here, away)
        assert here.read(NAME) == away.read(NAME) == changed, points.why
        assert os.listdir(here.path(b".geosync/stage")) == [], points.why
        return was_killed


def test_a_kill_at_any_step_of_a_large_file_leaves_the_old_one_or_the_new_one() -> None:
    killed_at = kill_before_each_step(_killed_once, first=9, every=2)
    assert any("write_at" in where for where in killed_at)
    assert any("finish" in where for where in killed_at)
