"""All crash tests: `python -m tests.crash.run`. Tells how many crashes there were and which failed.

Engines are killed at every system call that changes something, once and then once more while they
recover; and the power is cut at every flush of the device below ext4, xfs and btrfs.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from tests.crash.crash_scenarios import SCENARIOS, Scenario
from tests.crash.power_cuts import cut_everywhere, missing_devices
from tests.crash.system_call_crashes import kill_everywhere, missing_tracing
from tests.crash.tally import Tally
from tests.support.loop_file_system import KINDS

KILLS, KILLS_TWICE = "kills", "kills-twice"
PARTS = (KILLS, KILLS_TWICE, *KINDS)
Story = tuple[str, Callable[[], Tally]]  # its name, and what plays it with all its crashes


def main() -> int:
    """Runs what the arguments ask for; returns 0 only if there were crashes and none failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="1 for all crashes, n for each n-th")
    parser.add_argument("--only", default="", help="the scenarios whose name holds this")
    parser.add_argument("--part", choices=PARTS, action="append", help="all by default")
    asked = parser.parse_args()
    logging.disable()
    totals = [_run_part(part, asked.only, asked.every) for part in asked.part or PARTS]
    return 0 if all(total.crashes and not total.failures for total in totals) else 1


def _run_part(part: str, only: str, every: int) -> Tally:
    total = Tally()
    reason = missing_devices(part) if part in KINDS else missing_tracing()
    if reason is not None:
        print(f"{part}: nothing was tried: {reason}", flush=True)
        return total
    scenarios = [scenario for scenario in SCENARIOS if only in scenario.name]
    if part in KINDS:
        stories = _cuts(part, scenarios, every)
    else:
        stories = _kills(scenarios, every, again=part == KILLS_TWICE)
    for name, play in stories:
        began_s = time.monotonic()
        tally = play()
        took_s = time.monotonic() - began_s
        failed = len(tally.failures)
        print(f"{part}: {name}: {tally.crashes} crashes, {failed} failed, {took_s:.0f} s")
        for where, why in tally.failures.items():
            print(f"    {where}: {why}")
        sys.stdout.flush()
        total.crashes += tally.crashes
        total.failures |= {f"{name}, {where}": why for where, why in tally.failures.items()}
    print(f"{part}: {total.crashes} crashes in all, {len(total.failures)} failed", flush=True)
    return total


def _kills(scenarios: list[Scenario], every: int, *, again: bool) -> Iterator[Story]:
    for scenario in scenarios:
        yield scenario.name, partial(kill_everywhere, scenario, every, again=again)


def _cuts(kind: str, scenarios: list[Scenario], every: int) -> Iterator[Story]:
    for scenario in scenarios:
        for syncs in (True, False):
            if not scenario.is_alone or (scenario.here is None and not syncs):
                continue  # there is no program whose writes could be synced or not
            name = scenario.name if syncs else f"{scenario.name}, not synced by programs"
            yield name, partial(cut_everywhere, kind, scenario, syncs=syncs, every=every)


if __name__ == "__main__":
    sys.exit(main())
