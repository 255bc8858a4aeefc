"""W9: what one change, and a minute of rest, cost when the sites are more than two."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from benchmarks.geosync_tool import GeosyncTool
from benchmarks.measuring import Measurement, measure_change
from benchmarks.trees import seconds_until_equal, write_small_files

FILES = 100
CHANGES = 10
TIMEOUT_S = 240.0
SETTLE_S = 40.0
REST_S = 60.0


def many_sites(tool: GeosyncTool) -> Iterator[Measurement]:
    """Counts requests to the store as Swift's own log tells them."""
    world = tool.world
    count = len(world.sites)
    write_small_files(world.first.root, FILES, seed=9)
    tool.prepare()
    tool.start()
    roots = tuple(site.root for site in world.sites)
    seconds_until_equal(time.monotonic(), roots, TIMEOUT_S)
    time.sleep(SETTLE_S)
    requests, wire_bytes = tool.requests(), world.wire_bytes()
    time.sleep(REST_S)
    per_minute = (tool.requests() - requests) / count * 60 / REST_S
    yield Measurement(
        "W9",
        f"{count} sites at rest, each site and minute",
        tool.name,
        wire_bytes=int((world.wire_bytes() - wire_bytes) / count * 60 / REST_S),
        note=f"{per_minute:.0f} requests",
    )
    requests = tool.requests()
    path = os.path.join(world.first.root, b"0000/changed")

    def change() -> None:
        with open(path, "ab") as file:
            file.write(b"another line\n")

    for _ in range(CHANGES):
        measured = measure_change(tool, "W9", f"{count} sites, one change", change, TIMEOUT_S)
    time.sleep(2.0)
    requests = tool.requests() - requests
    yield Measurement(
        measured.workload,
        measured.what,
        tool.name,
        measured.seconds,
        wire_bytes=measured.wire_bytes,
        note=f"{requests / CHANGES:.0f} requests of all sites, polls and acknowledgements included",
    )
