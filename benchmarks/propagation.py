"""How long after a change of a small file on one site another site shows it.

Two daemons, loopback Swift, 20 ms round trip between each site and Swift, and no hints between
the sites: they only look at the store. Beside it, measured in the same run through the same lines,
what no such system can beat: one PUT by the first site and one GET by the other. Run it with
`python -m benchmarks.propagation [--changes N] [--after-rest N]`.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.many_files import sync_at_first, two_sites, write_many_files
from benchmarks.surroundings import print_surroundings
from conflict.version import ACTOR_SIZE_BYTES, actor_id
from geosync.daemon.pace import ACTIVE_FOR_S
from geosync.demo.demo_site import DemoSite
from geosync.demo.demo_world import DemoWorld
from geosync.terminal import plain_table
from transport.object_names import pack_name
from transport.swift_credentials import resolve_credentials
from transport.swift_store import SwiftStore, open_swift_store

FILES = 200
PAUSE_S_MAX = 0.7  # random, so that changes do not keep in step with the sites' looks at the store
LOOK_EVERY_S = 0.001
REST_S = ACTIVE_FOR_S + 10.0

Samples = dict[str, list[float]]  # what -> seconds, one for each time


def main() -> None:
    """Measures and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--after-rest", type=int, default=3)
    options = parser.parse_args()
    print_surroundings()
    with two_sites() as world:
        write_many_files(world.first.root, FILES)
        sync_at_first(world)
        samples = _changes(world, options.changes)
        samples["create, after a rest"] = list(_after_rest(world, options.after_rest))
        floor = list(_put_and_get(world, options.changes))
    _print(samples, floor)


def _changes(world: DemoWorld, count: int) -> Samples:
    """Creates, modifies and deletes the same files, one change after the other."""
    source, target = world.sites
    dice = random.Random(2)
    samples: Samples = {"create": [], "modify": [], "delete": []}
    for number in range(count):
        name = b"0000/change-%03d" % number
        first, second = b"created %d" % number, b"modified %d" % number
        steps: list[tuple[str, Callable[[], None], Callable[[], bool]]] = [
            ("create", _writing(source, name, first), _showing(target, name, first)),
            ("modify", _writing(source, name, second), _showing(target, name, second)),
            ("delete", _deleting(source, name), _showing(target, name, None)),
        ]
        for what, change, is_seen in steps:
            samples[what].append(_timed(world, change, is_seen))
            time.sleep(dice.uniform(0, PAUSE_S_MAX))
    return samples


def _after_rest(world: DemoWorld, count: int) -> Iterator[float]:
    """The first change after so long a rest that the sites look at the store less often."""
    source, target = world.sites
    for number in range(count):
        time.sleep(REST_S)
        name, content = b"0000/after-rest-%d" % number, b"created"
        yield _timed(world, _writing(source, name, content), _showing(target, name, content))


def _put_and_get(world: DemoWorld, count: int) -> Iterator[float]:
    """The floor: an object stored by one site, and fetched by the other when that is done."""
    source, target = map(_store, world.sites)
    source.prepare()
    actor = actor_id(os.urandom(ACTOR_SIZE_BYTES))
    for number in range(count + 1):
        body, name = os.urandom(1000), pack_name(actor, number)
        start_s = time.monotonic()
        source.put_once(name, body)
        assert target.get(name, size_bytes_max=len(body)) == body
        if number:  # the first one logs in and connects
            yield time.monotonic() - start_s
    source.close()
    target.close()


def _store(site: DemoSite) -> SwiftStore:
    return open_swift_store(resolve_credentials(site.login, {}), "floor", timeout_s=20.0)


def _timed(world: DemoWorld, change: Callable[[], None], is_seen: Callable[[], bool]) -> float:
    change()
    start_s = time.monotonic()
    while not is_seen():
        time.sleep(LOOK_EVERY_S)
        if time.monotonic() - start_s > world.wait_timeout_s:
            raise TimeoutError("the change does not arrive")
    return time.monotonic() - start_s


def _writing(site: DemoSite, name: bytes, content: bytes) -> Callable[[], None]:
    def write() -> None:
        with open(site.path(name), "wb") as file:
            file.write(content)

    return write


def _deleting(site: DemoSite, name: bytes) -> Callable[[], None]:
    return lambda: os.unlink(site.path(name))


def _showing(site: DemoSite, name: bytes, content: bytes | None) -> Callable[[], bool]:
    """Tells whether the file has this content; None: whether there is no such file."""

    def is_showing() -> bool:
        try:
            with open(site.path(name), "rb") as file:
                return file.read() == content
        except FileNotFoundError:
            return content is None

    return is_showing


def _print(samples: Samples, floor: Sequence[float]) -> None:
    floor_s = statistics.median(floor)
    rows = [
        (
            what,
            str(len(times)),
            _milliseconds(statistics.median(times)),
            _milliseconds(_percentile_99(times)),
            f"{statistics.median(times) / floor_s:.1f}",
        )
        for what, times in {**samples, "floor: one PUT, one GET": list(floor)}.items()
        if times
    ]
    headers = ("change", "times", "median", "99 %", "median / floor")
    print("\n" + plain_table(headers, rows, right_aligned=headers[1:]))


def _percentile_99(times: Sequence[float]) -> float:
    """The nearest rank: of fewer than a hundred samples, the slowest."""
    return sorted(times)[math.ceil(0.99 * len(times)) - 1]


def _milliseconds(duration_s: float) -> str:
    return f"{duration_s * 1000:.0f} ms"


if __name__ == "__main__":
    main()
