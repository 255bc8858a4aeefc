"""W6: what a tool takes while nothing changes: processor time, bytes on the wire, memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.measuring import Measurement
from benchmarks.tool import Tool
from benchmarks.trees import seconds_until_equal, write_small_files

FILES = 20_000
REST_S = 60.0
# After the last change, until all has been acknowledged and the pace of looks is the slowest.
UNTIL_AT_REST_S = 45.0
TIMEOUT_S = 300.0


def at_rest(tool: Tool, files: int = FILES, rest_s: float = REST_S) -> Iterator[Measurement]:
    """Measures for a minute, with equal trees."""
    world = tool.world
    if tool.is_by_hand:
        return
    write_small_files(world.first.root, files, seed=6)
    tool.prepare()
    tool.start()
    roots = tuple(site.root for site in world.sites)
    seconds_until_equal(time.monotonic(), roots, TIMEOUT_S)
    time.sleep(UNTIL_AT_REST_S)
    wire_bytes, processor_s = world.wire_bytes(), tool.processes.processor_s()
    time.sleep(rest_s)
    sites = len(world.sites)
    minutes = rest_s / 60
    usages = [tool.processes.usage_at(site) for site in world.sites]
    yield Measurement(
        "W6",
        f"a minute of rest with {files:,} files, each site",
        tool.name,
        wire_bytes=int((world.wire_bytes() - wire_bytes) / sites / minutes),
        processor_s=(tool.processes.processor_s() - processor_s) / sites / minutes,
        memory_bytes=max(usage.proportional_bytes for usage in usages),
        note=f"resident {max(usage.resident_bytes for usage in usages) / 1e6:.0f} MB",
    )
