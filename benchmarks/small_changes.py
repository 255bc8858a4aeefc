"""W3: how long after one small change another site shows it: created, modified, deleted.

One change after the other, with random pauses, so that they do not keep in step with any clock of
a tool. It is looked for by opening the file every millisecond.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

from benchmarks.measuring import Measurement, summarised
from benchmarks.tool import Tool
from benchmarks.trees import TreesDiffer, require_equal, seconds_until_equal, write_small_files

WORKLOAD = "W3"
FILES = 200
PAUSE_S_MAX = 0.7
LOOK_EVERY_S = 0.001
TIMEOUT_S = 30.0
SETTLE_S = 2.0
KINDS = ("create", "modify", "delete")


def small_changes(tool: Tool, count: int) -> Iterator[Measurement]:
    """Measures `count` files, each created, modified and deleted; the tool is started here."""
    world = tool.world
    count = min(count, tool.changes_max)
    write_small_files(world.first.root, FILES, seed=2)
    tool.prepare()
    tool.start()
    tool.bring()
    seconds_until_equal(time.monotonic(), (world.first.root, world.second.root), TIMEOUT_S)
    time.sleep(SETTLE_S)
    times_s: dict[str, list[float]] = {kind: [] for kind in KINDS}
    wire_bytes = dict.fromkeys(KINDS, 0)
    dice = random.Random(2)
    for number in range(count):
        for kind in KINDS:
            before_bytes = world.wire_bytes()
            times_s[kind].append(_timed(tool, kind, b"0000/change-%03d" % number))
            wire_bytes[kind] += world.wire_bytes() - before_bytes
            time.sleep(dice.uniform(0, PAUSE_S_MAX))
    require_equal((world.first.root, world.second.root))
    for kind in KINDS:
        yield summarised(tool, WORKLOAD, kind, times_s[kind], wire_bytes[kind])


def _timed(tool: Tool, kind: str, name: bytes) -> float:
    source = os.path.join(tool.world.first.root, name)
    target = os.path.join(tool.world.second.root, name)
    # Of another size: who compares sizes and times in seconds would not see the change.
    said = kind * (1 + KINDS.index(kind))
    content = None if kind == "delete" else b"%s %s" % (said.encode(), name)
    start_s = time.monotonic()
    _change(source, content)
    tool.bring()
    _await(lambda: _read(target) == content, start_s)
    return time.monotonic() - start_s


def _change(path: bytes, content: bytes | None) -> None:
    if content is None:
        os.unlink(path)
        return
    with open(path, "wb") as file:
        file.write(content)


def _read(path: bytes) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _await(is_seen: Callable[[], bool], start_s: float) -> None:
    while not is_seen():
        time.sleep(LOOK_EVERY_S)
        if time.monotonic() - start_s > TIMEOUT_S:
            raise TreesDiffer(f"the change does not arrive within {TIMEOUT_S:.0f} s")
