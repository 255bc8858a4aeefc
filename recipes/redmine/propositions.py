"""Runs propositions one after the other, and tells for each what was seen and whether it held."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence

Proposition = Callable[[], str]  # returns what was seen; raises when it does not hold


def run_propositions(propositions: Sequence[Proposition], chosen: Sequence[str], path: str) -> int:
    """Runs those whose function's name is chosen, or all; returns how many did not hold.

    Args:
        propositions: functions whose docstring's first line is what they claim.
        chosen: names of functions; nothing means all.
        path: of a file that gets the results as JSON.
    """
    results = []
    for proposition in propositions:
        name = proposition.__name__
        if chosen and name not in chosen:
            continue
        claim = (proposition.__doc__ or name).splitlines()[0]
        start_s = time.monotonic()
        try:
            seen, holds = proposition(), True
        except Exception as error:  # noqa: BLE001 (whatever went wrong, the next one is tried)
            traceback.print_exc(file=sys.stderr)
            seen, holds = f"{type(error).__name__}: {error}", False
        took_s = time.monotonic() - start_s
        print(
            f"{'holds' if holds else 'FAILS':6} {claim}\n       {seen}  ({took_s:.1f} s)",
            flush=True,
        )
        results.append({"name": name, "claim": claim, "holds": holds, "seen": seen, "s": took_s})
    with open(path, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    failed = sum(not each["holds"] for each in results)
    print(f"{len(results) - failed} of {len(results)} hold; {path}")
    return failed


def spread(samples_s: Sequence[float]) -> str:
    """Returns median, 95th percentile and maximum of some seconds, for people."""
    ordered = sorted(samples_s)
    middle, late = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.95))
    return f"median {middle:.2f} s, 95 % {late:.2f} s, max {ordered[-1]:.2f} s of {len(ordered)}"
