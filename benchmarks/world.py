"""Two or more sites in the network laboratory, with an empty directory each, and a store beside.

The network has a round trip of 20 ms and 500 Mbit/s between any two sites, with a queue of 25 ms.
All directories lie below one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from laboratory.line import LineSettings
from laboratory.network import Network

ONE_WAY_DELAY_MS = 10.0
BANDWIDTH_MBIT_PER_S = 500.0
QUEUE_MS = 25.0
STORE_SITE = "store"
SITE_NAMES = ("bari", "geneva")


@dataclass(frozen=True, slots=True)
class BenchSite:
    """A site: its name, its directory that is synced, and one for what a tool needs beside it."""

    name: str
    root: bytes
    beside: str


@dataclass(frozen=True, slots=True)
class World:
    """All sites of one run."""

    directory: str
    network: Network
    sites: tuple[BenchSite, ...]

    @property
    def first(self) -> BenchSite:
        """The site where changes are made."""
        return self.sites[0]

    @property
    def second(self) -> BenchSite:
        """The site where it is looked for them."""
        return self.sites[1]

    def wire_bytes(self) -> int:
        """Bytes sent so far on all lines, in all directions."""
        return sum(line.size_bytes for line in self.network.counts().values())

    def empty_directories(self) -> None:
        """Gives every site an empty directory, and nothing of an earlier tool beside it."""
        for site in self.sites:
            shutil.rmtree(os.path.dirname(site.root), ignore_errors=True)
            os.makedirs(site.root)
            os.makedirs(site.beside)


@contextmanager
def bench_world(directory: str, names: Sequence[str] = SITE_NAMES) -> Iterator[World]:
    """Makes the network and empty directories."""
    settings = LineSettings(
        one_way_delay_ms=ONE_WAY_DELAY_MS,
        bandwidth_mbit_per_s=BANDWIDTH_MBIT_PER_S,
        queue_ms=QUEUE_MS,
    )
    sites = tuple(
        BenchSite(
            name,
            os.fsencode(os.path.join(directory, name, "tree")),
            os.path.join(directory, name, "beside"),
        )
        for name in names
    )
    with Network([*names, STORE_SITE], settings) as network:
        world = World(directory, network, sites)
        world.empty_directories()
        yield world
