"""Runs workloads with tools side by side: `python -m benchmarks.run [--only W3,W4] [--write]`.

Everything happens in the network laboratory (`laboratory`), so it needs root. A tool that does not
finish a workload in time, or leaves trees that differ, gets a row that says so. With `--write` the
tables and the plot go to docs/performance.md and docs/performance.svg.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.geosync_tool import GeosyncByPolls, GeosyncTool
from benchmarks.large_changes import (
    both_at_once,
    burst,
    first_sync,
    large_file,
    renamed_directory,
)
from benchmarks.many_sites import many_sites
from benchmarks.measuring import Measurement
from benchmarks.rclone_tool import RcloneTool
from benchmarks.report import markdown_table, svg_plot
from benchmarks.rest import at_rest
from benchmarks.rsync_tools import LsyncdTool, RsyncTool
from benchmarks.small_changes import small_changes
from benchmarks.surroundings import surroundings
from benchmarks.syncthing_tool import SyncthingTool
from benchmarks.tool import Tool
from benchmarks.trees import TreesDiffer
from benchmarks.unison_tool import UnisonTool
from benchmarks.world import SITE_NAMES, bench_world
from laboratory.namespaces import missing_for_a_network
from tests.support.loop_file_system import loop_file_system, missing_requirement

TOOLS: tuple[type[Tool], ...] = (
    GeosyncTool, GeosyncByPolls, RsyncTool, LsyncdTool, UnisonTool, SyncthingTool, RcloneTool,
)  # fmt: skip
WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6", "W7", "W9")
SITE_COUNTS = (2, 4, 8)
# A fresh one each time: where many files were removed a moment ago, ext4 is slow to make new ones,
# by a millisecond for each, and every tool would pay for what the one before has left.
FILE_SYSTEM = "ext4"
DISK_SIZE_BYTES = 24 * 2**30  # an image with holes; only what is written takes room
DOCUMENT = "docs/performance.md"
PLOT = "docs/performance.svg"
BEGIN, END = "<!-- figures of make bench: begin -->", "<!-- figures of make bench: end -->"

Workload = Callable[[Tool], Iterator[Measurement]]


def main() -> None:
    """Runs what was asked for, prints the table, and writes it if that was asked for."""
    options = _options()
    lack = missing_for_a_network() or missing_requirement(FILE_SYSTEM)
    if lack:
        sys.exit(f"the benchmarks need the network laboratory: {lack}")
    wanted = options.only.split(",") if options.only else list(WORKLOADS)
    named = options.tools.split(",") if options.tools else []
    tools = [tool for tool in TOOLS if not named or any(n in tool.name for n in named)]
    print(surroundings(), flush=True)
    rows: list[Measurement] = []
    for name in wanted:
        for row in _rows_of(name, tools, options):
            rows.append(row)
            print(json.dumps(dataclasses.asdict(row)), flush=True)
    print("\n" + markdown_table(rows))
    if options.write:
        _write(rows, tools)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="workloads, such as W3,W4")
    parser.add_argument("--tools", default="", help="parts of the names of tools")
    parser.add_argument("--files", type=int, default=20_000, help="of W1 and W6")
    parser.add_argument("--changes", type=int, default=50, help="of W3")
    parser.add_argument("--size-mib", type=int, default=512, help="of the file of W2")
    parser.add_argument("--rest-s", type=float, default=60.0, help="of W6")
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT}")
    return parser.parse_args()


def _rows_of(
    name: str, tools: list[type[Tool]], options: argparse.Namespace
) -> Iterator[Measurement]:
    if name == "W9":
        for count in SITE_COUNTS:
            yield from _measured(name, GeosyncTool, partial(many_sites), _names(count))
        return
    workloads: dict[str, Workload] = {
        "W1": partial(first_sync, files=options.files),
        "W2": partial(large_file, size_mib=options.size_mib),
        "W3": partial(small_changes, count=options.changes),
        "W4": burst,
        "W5": renamed_directory,
        "W6": partial(at_rest, files=options.files, rest_s=options.rest_s),
        "W7": both_at_once,
    }
    for tool in tools:
        yield from _measured(name, tool, workloads[name], SITE_NAMES)


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"site{number}" for number in range(count))


def _measured(
    name: str, make: Callable[..., Tool], workload: Callable[..., Iterator[Measurement]],
    sites: tuple[str, ...],
) -> Iterator[Measurement]:  # fmt: skip
    """Yields the rows of one workload with one tool, in a world of their own."""
    with (
        tempfile.TemporaryDirectory(prefix="geosync-benchmark-") as directory,
        loop_file_system(Path(directory), FILE_SYSTEM, size_bytes=DISK_SIZE_BYTES) as disk,
        bench_world(str(disk.root), sites) as world,
    ):
        tool = make(world)
        try:
            yield from workload(tool)
        except (TreesDiffer, TimeoutError) as error:
            yield Measurement(name, "not done", tool.name, note=str(error))
        finally:
            tool.stop()


def _write(rows: list[Measurement], tools: list[type[Tool]]) -> None:
    versions = "\n".join(f"- {tool.name}: {tool.version()}" for tool in tools)
    figures = (
        f"{BEGIN}\n\n```\n{surroundings()}\n```\n\n{versions}\n\n{markdown_table(rows)}\n"
        f"![times](performance.svg)\n\n{END}"
    )
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(before + figures + after)
    with open(PLOT, "w", encoding="utf-8") as file:
        file.write(svg_plot(rows))
    with suppress(KeyError):
        os.chown(PLOT, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))


if __name__ == "__main__":
    main()
