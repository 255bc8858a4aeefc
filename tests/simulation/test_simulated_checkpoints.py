"""Whole clusters in which checkpoints are due every few operations, and logs are cut all the time.

`python -m tests.simulation.run --checkpoints` goes on with other seeds. At the end of each run a
new site joins, which must get everything from what is left.
"""

from __future__ import annotations

import pytest

from tests.simulation.run import describe, run_seed

CALM = {  # what was wrong with those that once failed
    2: "",
    11: "a checkpoint that was damaged on its way was never looked at again",
    14: "a site whose clock was ahead by years made the others write checkpoints without end",
}
WITH_INCIDENTS = {
    117: "of two checkpoints each went farther than the other in some log; a joiner took turns",
}


@pytest.mark.parametrize("seed", CALM)
def test_a_history_whose_logs_are_cut_short_ends_well(seed: int) -> None:
    outcome = run_seed(seed, has_incidents=False, has_checkpoints=True)
    assert not outcome.failure, describe(seed, outcome, has_incidents=False)


@pytest.mark.parametrize("seed", WITH_INCIDENTS)
def test_so_does_one_in_which_machines_are_lost_and_restored(seed: int) -> None:
    outcome = run_seed(seed, has_checkpoints=True)
    assert not outcome.failure, describe(seed, outcome)
