"""Measuring one change: seconds until the trees are equal, bytes on the wire, processor time."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.tool import Tool
from benchmarks.trees import require_equal, seconds_until_equal


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of one tool, as the table shows it.

    Attributes:
        workload: W1 to W9.
        what: which part of it.
        tool: which tool.
        seconds: until the trees were equal, or the median of several; None: not in time.
        seconds_99: the 99th percentile of several, by nearest rank; None for one.
        wire_bytes: sent on all lines, in both directions; None where that is not measured.
        processor_s: of the tool at both sites, without the store.
        memory_bytes: proportional share of the larger of the two sites.
        note: what else there is to say.
    """

    workload: str
    what: str
    tool: str
    seconds: float | None = None
    seconds_99: float | None = None
    wire_bytes: int | None = None
    processor_s: float | None = None
    memory_bytes: int | None = None
    note: str = ""


def measure_change(
    tool: Tool, workload: str, what: str, change: Callable[[], object], timeout_s: float
) -> Measurement:
    """Makes a change, waits until both trees are equal, and then compares every byte.

    Args:
        tool: that runs.
        workload: for the table.
        what: for the table.
        change: is made at the start; for a tool that works by hand, the clock starts after it.
        timeout_s: how long it may take.

    Raises:
        TreesDiffer: it took longer, or the trees only look equal.
    """
    world = tool.world
    wire_bytes, processor_s = world.wire_bytes(), tool.processes.processor_s()
    start_s = time.monotonic()
    change()
    if tool.is_by_hand:
        start_s = time.monotonic()
        tool.bring()
    roots = tuple(site.root for site in world.sites)
    seconds = seconds_until_equal(start_s, roots, timeout_s)
    processor_s = tool.processes.processor_s() - processor_s
    wire_bytes = world.wire_bytes() - wire_bytes
    require_equal(roots)
    memory_bytes = max(tool.processes.usage_at(site).proportional_bytes for site in world.sites)
    return Measurement(
        workload,
        what,
        tool.name,
        seconds,
        wire_bytes=wire_bytes,
        processor_s=processor_s,
        memory_bytes=memory_bytes,
    )


def summarised(
    tool: Tool, workload: str, what: str, times_s: Sequence[float], wire_bytes: int
) -> Measurement:
    """One row of many small changes: the median, the slowest of a hundred, bytes for each."""
    return Measurement(
        workload,
        what,
        tool.name,
        statistics.median(times_s),
        percentile_99(times_s),
        wire_bytes=wire_bytes // len(times_s),
        note=f"{len(times_s)} times; bytes are for one",
    )


def percentile_99(times_s: Sequence[float]) -> float:
    """The nearest rank: of fewer than a hundred samples, the slowest."""
    return sorted(times_s)[math.ceil(0.99 * len(times_s)) - 1]
