"""Looks for seeds at which a broken engine is noticed: `python -m tests.simulation.bite "NAME"`."""

from __future__ import annotations

import argparse
import logging
import sys

import pytest

from tests.simulation.engine_mutants import BREAKS
from tests.simulation.run import run_seed


def notices(name: str, seed: int, *, has_incidents: bool) -> str:
    """Returns what the checkers say of an engine that is broken in this way; empty: nothing."""
    with pytest.MonkeyPatch.context() as patch:
        BREAKS[name](patch)
        return run_seed(seed, has_incidents=has_incidents).failure


def main() -> int:
    """Names the seeds that notice a mutant and that the engine as it is passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(BREAKS), help="of mutants; all by default")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--runs", type=int, default=30, help="how many seeds")
    parser.add_argument("--enough", type=int, default=3, help="how many seeds to find")
    parser.add_argument(
        "--without-incidents", action="store_true", help="nothing befalls whole machines"
    )
    options = parser.parse_args()
    has_incidents = not options.without_incidents
    logging.getLogger("geosync").setLevel(logging.CRITICAL)
    for name in options.names:
        found: list[int] = []
        for seed in range(options.seed, options.seed + options.runs):
            said = notices(name, seed, has_incidents=has_incidents)
            if said and not run_seed(seed, has_incidents=has_incidents).failure:
                found.append(seed)
                print(f"  {seed}: {said.strip().splitlines()[-1][:150]}", flush=True)
            if len(found) == options.enough:
                break
        print(f"{name}: {found}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
