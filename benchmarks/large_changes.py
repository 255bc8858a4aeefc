"""W1, W2, W4, W5 and W7: how long a large change takes, and what it costs."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

from benchmarks.measuring import Measurement, measure_change
from benchmarks.tool import Tool
from benchmarks.trees import copy_real_files, seconds_until_equal, write_small_files

MIB = 1024 * 1024
LARGE_FILE_MIB = 512
RENAMED_FILES = 2000
BURST_FILES = 1000
BOTH_FILES = 500
FIRST_FILES = 200
FIRST_SYNC_TIMEOUT_S = 400.0
TIMEOUT_S = 90.0  # the slowest that ever ends takes a quarter of it
SETTLE_S = 5.0


def first_sync(tool: Tool, files: int) -> Iterator[Measurement]:
    """W1: a full directory here, an empty one there; measured from the start of the tool."""
    size_bytes = copy_real_files(tool.world.first.root, files)
    what = f"first sync of {files:,} real files, {size_bytes / 1e6:.0f} MB"
    tool.prepare()
    yield measure_change(tool, "W1", what, tool.start, FIRST_SYNC_TIMEOUT_S)


def large_file(tool: Tool, size_mib: int = LARGE_FILE_MIB) -> Iterator[Measurement]:
    """W2: a large file; then one byte more at its start; then 4 KiB of it overwritten."""
    path = os.path.join(tool.world.first.root, b"large")
    _run(tool)
    steps: list[tuple[str, Callable[[], object]]] = [
        (f"first sync of {size_mib} MiB", lambda: _write_random(path, size_mib)),
        ("one byte inserted at its start", lambda: _insert_at_start(path)),
        ("4 KiB overwritten in the middle", lambda: _overwrite(path, size_mib * MIB // 2)),
    ]
    for what, change in steps:
        yield measure_change(tool, "W2", what, change, TIMEOUT_S)
        time.sleep(SETTLE_S)


def burst(tool: Tool, files: int = BURST_FILES) -> Iterator[Measurement]:
    """W4: many small files at once."""
    _run(tool)
    target = os.path.join(tool.world.first.root, b"burst")
    what = f"{files:,} small files at once"
    yield measure_change(tool, "W4", what, lambda: write_small_files(target, files, 4), TIMEOUT_S)


def renamed_directory(tool: Tool, files: int = RENAMED_FILES) -> Iterator[Measurement]:
    """W5: a directory with many files gets another name."""
    root = tool.world.first.root
    before, after = os.path.join(root, b"before"), os.path.join(root, b"after")
    write_small_files(before, files, 5)
    _run(tool)
    what = f"rename of a directory with {files:,} files"
    yield measure_change(tool, "W5", what, lambda: os.rename(before, after), TIMEOUT_S)


def both_at_once(tool: Tool, files: int = BOTH_FILES) -> Iterator[Measurement]:
    """W7: both sites write other files at the same time."""
    if not tool.is_two_way:
        return
    _run(tool)

    def write_at_both() -> None:
        for number, site in enumerate(tool.world.sites[:2]):
            below = os.path.join(site.root, b"at-%d" % number)
            write_small_files(below, files, number)

    what = f"{files:,} files written at each of two sites"
    yield measure_change(tool, "W7", what, write_at_both, TIMEOUT_S)


def _run(tool: Tool) -> None:
    """Starts a tool with some files, and waits until the trees are equal, and a while longer.

    So the sites know each other, and what a tool does at its start is over.
    """
    write_small_files(os.path.join(tool.world.first.root, b"first"), FIRST_FILES, 1)
    tool.prepare()
    tool.start()
    tool.bring()
    roots = tuple(site.root for site in tool.world.sites)
    seconds_until_equal(time.monotonic(), roots, TIMEOUT_S)
    time.sleep(SETTLE_S)


def _write_random(path: bytes, size_mib: int) -> None:
    dice = random.Random(6)
    with open(path, "wb") as file:
        file.writelines(dice.randbytes(MIB) for _ in range(size_mib))


def _insert_at_start(path: bytes) -> None:
    """As an editor does: another file, renamed over it."""
    with open(path, "rb") as source, open(path + b".new", "wb") as file:
        file.write(b"x")
        while block := source.read(MIB):
            file.write(block)
    os.rename(path + b".new", path)


def _overwrite(path: bytes, offset_bytes: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset_bytes)
        file.write(random.Random(7).randbytes(4096))
