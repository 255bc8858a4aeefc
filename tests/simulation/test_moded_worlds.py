"""Simulated histories of switches, forced ones in partitions too, with all invariants."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import closing

from tests.simulation.moded_world import ModedWorld
from tests.simulation.weather import small_limits

SEEDS = (2, 3, 9, 28)  # 9 notices that late writes are not written over; 28 was once held back


def run_moded(seed: int) -> Counter[str]:
    """Runs a seed, with all invariants at its end; returns what its operators did."""
    directory = tempfile.mkdtemp(prefix="geosync-moded-")
    try:
        world = ModedWorld(seed, directory.encode())
        with closing(world), small_limits(world.weather):
            world.run()
            return world.done
    finally:
        shutil.rmtree(directory)


def test_whoever_is_promoted_when_nothing_is_lost_and_one_primary_is_left() -> None:
    done = sum((run_moded(seed) for seed in SEEDS), Counter[str]())
    assert min(done["demote"], done["promote"], done["force"]) > 0, done
