"""A region of one real Swift is lost for good, with what had not been copied to the other one.

Whole engines in this process, so that the minutes pass in which an object may only be late.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from geosync.demo.swift_server import SwiftServer
from geosync.engine.restocking import OTHERS_LATER_BY_S
from tests.simulation.simulated_clock import SimulatedClock, SimulatedTime
from tests.support.local_sites import VOLUME, LocalSite, run, settle
from transport.failover_store import FailoverStore
from transport.object_store import ObjectStore
from transport.swift_credentials import resolve_credentials
from transport.swift_store import open_swift_store

FIRST_REGION_OF = {"bari": 1, "paris": 2, "rome": 1}
LARGE = 40_000  # more than travels in a segment


@pytest.fixture
def swift(tmp_path: Path) -> Iterator[SwiftServer]:
    with SwiftServer(str(tmp_path / "swift"), region_count=2, processes="region") as server:
        yield server


@pytest.fixture
def sites(tmp_path: Path, swift: SwiftServer) -> Iterator[dict[str, LocalSite]]:
    time = SimulatedTime()
    with ExitStack() as stack:
        made = {}
        for name, first in FIRST_REGION_OF.items():
            store = failover_store(swift, time, first)
            stack.callback(store.close)
            made[name] = LocalSite(os.fsencode(tmp_path), name, store, time)
            stack.callback(made[name].close)
        yield {name: site.open() for name, site in made.items()}


def failover_store(swift: SwiftServer, time: SimulatedTime, first: int) -> FailoverStore:
    return FailoverStore(
        [(f"region {region}", endpoint(swift, region)) for region in (first, 3 - first)],
        monotonic=SimulatedClock(time).monotonic_s,
        in_background=lambda work: work(),
        on_change=lambda *_: None,
    )


def endpoint(swift: SwiftServer, region: int) -> ObjectStore:
    table = {"auth_url": swift.auth_url_of(region), "user": swift.user, "key": swift.key}
    return open_swift_store(resolve_credentials(table, {}), VOLUME, timeout_s=10)


def wait(*sites: LocalSite, for_s: float) -> None:
    """Lets the sites run for so long, with a cycle of each only now and then."""
    for _ in range(8):
        run(*sites, rounds=1)
        sites[0].time.advance(for_s / 8)


def test_what_only_the_lost_region_had_comes_back_from_a_site_that_has_it(
    tmp_path: Path, swift: SwiftServer, sites: dict[str, LocalSite]
) -> None:
    bari, paris, rome = (sites[name] for name in ("bari", "paris", "rome"))
    expected = {b"before": os.urandom(LARGE)}
    paris.write(b"before", expected[b"before"])
    settle(bari, paris, rome)
    rome.close()

    swift.kill("region-1")
    for site in (bari, paris):
        for size_bytes in (LARGE, 10):
            name = b"%s %d" % (site.name.encode(), size_bytes)
            expected[name] = os.urandom(size_bytes)
            site.write(name, expected[name])
            settle(bari, paris)

    paris.close()  # is lost together with its region
    swift.start()
    swift.kill("region-2")
    shutil.rmtree(tmp_path / "swift" / "region-2")
    rome.open()
    wait(bari, rome, for_s=OTHERS_LATER_BY_S * 4)
    settle(bari, rome)
    assert {name: rome.read(name) for name in expected} == expected
    assert bari.problems() == rome.problems() == {}

    rome.write(b"after", b"goes on")
    settle(bari, rome)
    assert bari.read(b"after") == b"goes on"
