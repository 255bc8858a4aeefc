"""A site that is killed while it reads, or sends, a large file goes on where it was."""

from __future__ import annotations

import random

from geosync.configuration.large_files import LargeFiles
from tests.support.disk_tree import disk_tree
from tests.support.kill_points import KillPoints, kill_before_each_step, run_to_death
from tests.support.local_sites import local_sites, run, settle
from transport.memory_store import MemoryStore

LARGE = random.Random(1).randbytes(2_000_000)  # some chunks
SLICES = LargeFiles(
    size_bytes_min=1_000_000, slice_size_bytes=1, slice_s=60.0, announced_size_bytes_min=1_000_000
)


def _killed_once(points: KillPoints) -> bool:
    with local_sites(MemoryStore(), "away", "here", large_files=SLICES) as (away, here):
        settle(away, here)
        here.close()
        here.write(b"large", LARGE)
        here.write(b"small", b"a small file")
        was_killed = run_to_death(here, points, lambda site: run(site, rounds=16))
        here.open()
        settle(here, away)
        why = points.why
        assert disk_tree(here.root) == disk_tree(away.root), why
        assert away.read(b"large") == LARGE, why
        assert not here.problems(), why
        chunks = here.journal.chunks
        stored = [at for name in chunks.packs() for at in chunks.locations_in(name).values()]
        assert sum(at.size_bytes for at in stored) == len(LARGE), why  # and nothing twice
        return was_killed


def test_a_kill_before_a_step_loses_nothing_and_nothing_is_stored_twice() -> None:
    assert len(kill_before_each_step(_killed_once, every=2)) > 10
