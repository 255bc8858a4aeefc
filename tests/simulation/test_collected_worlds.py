"""Worlds that collect garbage: nothing dangles, and what nobody needs goes."""

from __future__ import annotations

import pytest

from tests.simulation.collected import run_collected

SEEDS = (4, 9)
SEEDS_WITH_INCIDENTS = (5,)
DENSE_SEEDS = (8,)  # a pack was written anew for ever, with chunks that were in a better place


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_dangles_and_what_nobody_needs_goes(seed: int) -> None:
    assert run_collected(seed, has_incidents=False).deletions > 0


@pytest.mark.parametrize("seed", SEEDS_WITH_INCIDENTS)
def test_nothing_dangles_where_machines_are_lost_set_back_and_cloned(seed: int) -> None:
    """Their earlier incarnations are retired; whoever fenced them collects their packs."""
    assert run_collected(seed, has_incidents=True).deletions > 0


@pytest.mark.parametrize("seed", DENSE_SEEDS)
def test_collecting_comes_to_an_end_in_a_world_of_garbage(seed: int) -> None:
    assert run_collected(seed, has_incidents=False, is_dense=True).forgotten > 0
