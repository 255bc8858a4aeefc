"""Simulated histories of switches, forced ones in partitions too, with all invariants."""

from __future__ import annotations

from collections import Counter
from functools import partial

from tests.simulation.moded_world import ModedWorld
from tests.simulation.world import alive

SEEDS = (2, 3, 9, 28)  # 9 notices that late writes are not written over; 28 was once held back


def run_moded(seed: int) -> Counter[str]:
    """Runs a seed, with all invariants at its end; returns what its operators did."""
    with alive(partial(ModedWorld, seed)) as world:
        world.run()
        return world.done


def test_whoever_is_promoted_when_nothing_is_lost_and_one_primary_is_left() -> None:
    done = sum((run_moded(seed) for seed in SEEDS), Counter[str]())
    assert min(done["demote"], done["promote"], done["force"]) > 0, done
