"""Runs simulations: `python -m tests.simulation.run --seed S --runs N`."""

from __future__ import annotations

import argparse
import logging
import secrets
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.world import world_of

PROGRESS_EVERY_S = 10.0
SEED_LASTS_S_MAX = 120  # many times what any takes: beyond it, something goes round in circles
SEEDS = 10**9


class RunTooLong(Exception):
    """A seed does not end. No OSError, which an engine would take for one of its disk's."""


@dataclass(slots=True)
class Outcome:
    """What became of one seed."""

    digest: str
    counts: Counter[str] = field(default_factory=Counter)
    failure: str = ""  # empty: every invariant held
    tail: str = ""


def run_seed(
    seed: int, tail_lines: int = 80, *, has_incidents: bool = True, has_checkpoints: bool = False
) -> Outcome:
    """Runs one seed; any exception is a failure, and so is a run without end."""
    with world_of(seed, has_incidents=has_incidents, has_checkpoints=has_checkpoints) as world:
        try:
            signal.signal(signal.SIGALRM, _stop)
            signal.alarm(SEED_LASTS_S_MAX)
            world.run()
        except Exception as error:  # noqa: BLE001 - whatever an engine raises is what we look for
            where = "".join(traceback.format_exception(error)[-12:])
            return Outcome(
                world.trace.digest(), world.trace.counts, where, world.trace.tail(tail_lines)
            )
        finally:
            signal.alarm(0)
        tail = world.trace.tail(tail_lines)
        return Outcome(world.trace.digest(), world.trace.counts, tail=tail)


def _stop(_signal: int, _frame: object) -> None:
    raise RunTooLong(f"not over after {SEED_LASTS_S_MAX} s")


def describe(seed: int, outcome: Outcome, *, has_incidents: bool = True) -> str:
    """Tells what failed, and how to see it again."""
    option = "" if has_incidents else " --without-incidents"
    return (
        f"{outcome.tail}\n\nseed {seed} failed: {outcome.failure}\n"
        f"again: python -m tests.simulation.run --seed {seed} --runs 1{option}"
    )


def main() -> int:
    """Runs the seeds that the command line asks for; returns how many failed, at most 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="the first seed; a random one by default")
    parser.add_argument("--runs", type=int, default=100, help="how many seeds, one after another")
    parser.add_argument("--keep-going", action="store_true", help="also after a failure")
    parser.add_argument("--tail", type=int, default=80, help="lines of the trace to show")
    parser.add_argument("--digest", action="store_true", help="print the hash of each trace")
    parser.add_argument("--trace", action="store_true", help="print each trace's last lines")
    parser.add_argument(
        "--without-incidents", action="store_true", help="nothing befalls whole machines"
    )
    parser.add_argument(
        "--checkpoints", action="store_true", help="checkpoints are due every few operations"
    )
    options = parser.parse_args()
    has_incidents = not options.without_incidents
    logging.getLogger("geosync").setLevel(logging.CRITICAL)
    first = secrets.randbelow(SEEDS) if options.seed is None else options.seed
    began_s = shown_s = time.monotonic()
    counts: Counter[str] = Counter()
    failed: list[int] = []
    for done, seed in enumerate(range(first, first + options.runs), start=1):
        outcome = run_seed(
            seed,
            options.tail,
            has_incidents=has_incidents,
            has_checkpoints=options.checkpoints,
        )
        counts += outcome.counts
        if options.digest:
            print(seed, outcome.digest)
        if options.trace:
            print(outcome.tail)
        if outcome.failure:
            failed.append(seed)
            print(describe(seed, outcome, has_incidents=has_incidents), flush=True)
            if not options.keep_going:
                break
        now_s = time.monotonic()
        if now_s - shown_s >= PROGRESS_EVERY_S:
            shown_s = now_s
            rate = done / (now_s - began_s) * 60
            print(
                f"{done} of {options.runs}, {len(failed)} failed, {rate:.0f} a minute", flush=True
            )
    took_s = time.monotonic() - began_s
    print(", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
    print(f"seeds {first} to {seed}: {len(failed)} failed {failed}, {took_s:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
