"""A short run of all that checks the merge rules, on whichever `conflict` package is imported.

Run as a program: it says which check failed, if any, and then exits with 1.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial

from tests.support.history_checks import (
    assert_conflicts_are_bounded,
    assert_converged,
    assert_nothing_is_lost,
    assert_stamps_are_causal,
    assert_times_belong_to_contents,
    assert_tree_is_sound,
    assert_tree_is_the_defined_one,
)
from tests.support.random_users import RandomHistory
from tests.unit import test_conflict_table, test_merge_corners

HISTORIES = range(150)
HISTORIES_FIRST = 50
STEPS = 50
TIME_LIMIT_S = 40  # without the cycle check, some histories never end


def check_history(seed: int) -> None:
    """Plays one history and asserts all that holds of every history."""
    history = RandomHistory(seed, site_count=2 + seed % 3)
    for _ in range(STEPS):
        assert_tree_is_the_defined_one(history.step())
    history.heal()
    site = history.sites[0]
    assert_converged(history.sites, history.rng)
    assert_nothing_is_lost(history.sites)
    assert_tree_is_sound(site.disk)
    assert_conflicts_are_bounded(site)
    assert_times_belong_to_contents(site.disk)
    assert_stamps_are_causal(site)


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yields each check with its name: some histories first, since they know no rule by heart."""
    for seed in HISTORIES[:HISTORIES_FIRST]:
        yield f"history {seed}", partial(check_history, seed)
    for row in test_conflict_table.BY_ROW:
        for last in (False, True):
            yield f"row {row}", partial(test_conflict_table.test_row, row, first_is_last=last)
    for name, corner in vars(test_merge_corners).items():
        if name.startswith("test_") and not hasattr(corner, "pytestmark"):
            yield name, corner
    for seed in HISTORIES[HISTORIES_FIRST:]:
        yield f"history {seed}", partial(check_history, seed)


def main() -> int:
    """Runs the checks until one fails."""
    signal.alarm(TIME_LIMIT_S)
    for name, check in checks():
        try:
            check()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the check has failed
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"{name}: {type(error).__name__} in {where.name}: {str(error)[:200]}")
            return 1
    print("all checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
