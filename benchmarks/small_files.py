"""What many small files cost in processor time: at the site that has them, and where they arrive.

Both engines run in this process, without a network: on a file system of this machine, with a store
in memory. `python -m benchmarks.small_files [--files N] [--real] [--profile PART]`.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import resource
import tempfile
import time
from collections.abc import Callable

from benchmarks.trees import copy_real_files, require_equal, walk, write_small_files
from geosync.disk.glances import REST_NS
from geosync.engine.haste import Haste
from geosync.object_cycles import look_for_cycles_seldom
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.local_sites import LocalSite, settle
from transport.memory_store import MemoryStore

_ONLY_OWN = Haste(frozenset(), is_prompt=True)
_PARTS = ("sender", "receiver", "full look", "rescan")
_LINES = 45
Took = tuple[float, float]  # seconds of the processor: all, and how much of it in the kernel


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3, help="the least of so many is told")
    parser.add_argument("--real", action="store_true", help="files of this machine")
    parser.add_argument("--directory", default=None, help="where the sites are")
    parser.add_argument("--profile", choices=_PARTS, help="shows where the time of a part goes")
    options = parser.parse_args()
    look_for_cycles_seldom()  # as the daemon does
    found: dict[str, list[Took]] = {}
    for _ in range(options.repeat):
        for part, took in _measured(options).items():
            found.setdefault(part, []).append(took)
    for part, each in found.items():
        all_us, kernel_us = (each_s / options.files * 1e6 for each_s in min(each))
        print(f"{part}: {all_us:.1f} us for each file, {kernel_us:.1f} of it in the kernel")


def _measured(options: argparse.Namespace) -> dict[str, Took]:
    """Returns the processor time of each part."""
    with tempfile.TemporaryDirectory(dir=options.directory) as base:
        store, clock = MemoryStore(), SimulatedTime()
        sender, receiver = (
            LocalSite(os.fsencode(base), name, store, clock).open() for name in ("bari", "cnaf")
        )
        try:
            settle(sender, receiver)
            if options.real:
                copy_real_files(sender.root, options.files)
            else:
                write_small_files(sender.root, options.files, seed=1)
            work: dict[str, Callable[[], object]] = {
                "sender": lambda: _publish(sender),
                "receiver": lambda: _bring(receiver),
                "full look": lambda: _look(sender),
                "rescan": lambda: _look(sender),
                "bare walk": lambda: walk(os.fsdecode(sender.root)),
            }
            took = {}
            for part, each in work.items():
                if part == "full look":
                    time.sleep(REST_NS / 1e9)  # from then on a glance is enough
                took[part] = _timed(each, part == options.profile)
            require_equal((sender.root, receiver.root))
            return took
        finally:
            receiver.close()
            sender.close()


def _publish(site: LocalSite) -> None:
    site.engine.cycle({(): True}, _ONLY_OWN)
    while site.engine.has_uncaptured() or site.engine.has_to_publish():
        site.engine.cycle({}, _ONLY_OWN)


def _bring(site: LocalSite) -> None:
    while True:
        cycle = site.engine.cycle({}, Haste(is_prompt=True))
        if not (cycle.has_more or cycle.received or site.engine.is_settled() is False):
            return


def _look(site: LocalSite) -> None:
    site.engine.cycle({(): True}, _ONLY_OWN)
    while site.engine.is_looking():
        site.engine.cycle({}, _ONLY_OWN)


def _timed(work: Callable[[], object], is_profiled: bool) -> Took:  # noqa: FBT001
    profile = cProfile.Profile()
    began_s, kernel_s = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
    profile.runcall(work) if is_profiled else work()
    took_s = time.process_time() - began_s
    took_kernel_s = resource.getrusage(resource.RUSAGE_SELF).ru_stime - kernel_s
    if is_profiled:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(_LINES)
        pstats.Stats(profile).sort_stats("tottime").print_stats(_LINES)
    return took_s, took_kernel_s


if __name__ == "__main__":
    main()
