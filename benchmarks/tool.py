"""What a tool of the comparison has to be able to do, whichever it is."""

from __future__ import annotations

import re
import subprocess
import time
from abc import ABC, abstractmethod

from benchmarks.processes import SiteProcesses
from benchmarks.world import BenchSite, World

START_TIMEOUT_S = 30.0


class Tool(ABC):
    """One tool at its best settings, at the first two sites of a world.

    Attributes:
        name: for tables.
        is_two_way: changes of the second site arrive at the first.
        is_by_hand: nothing happens unless `bring` is called.
        changes_max: so many small changes of a kind are worth waiting for.
    """

    name = ""
    is_two_way = True
    is_by_hand = False
    changes_max = 1000

    def __init__(self, world: World) -> None:
        self.world = world
        self.processes = SiteProcesses(world)

    def prepare(self) -> None:  # noqa: B027 - most tools have nothing to prepare
        """Starts what is no part of the tool, such as a store."""

    @abstractmethod
    def start(self) -> None:
        """Starts what runs all the time. The first site's tree may be full, the second's empty."""

    def bring(self) -> None:  # noqa: B027 - a tool that watches has nothing to do
        """Lets a tool that works by hand bring all changes to the other site, and waits for it."""

    def await_port(self, site: BenchSite, port: int) -> None:
        """Waits until something listens on a TCP port at a site."""
        listening = f":{port:04X} 00000000:0000 0A"
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while listening not in self._sockets_at(site):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"nothing listens on port {port}; see {site.beside}/output.log")
            time.sleep(0.05)

    def _sockets_at(self, site: BenchSite) -> str:
        command = ["cat", "/proc/net/tcp", "/proc/net/tcp6"]
        done = subprocess.run(
            self.world.network.command_in(site.name, command),
            capture_output=True,
            text=True,
            check=False,
        )
        return re.sub(r"0{32}", "00000000", done.stdout)

    def stop(self) -> None:
        """Ends everything."""
        self.processes.stop()

    @staticmethod
    @abstractmethod
    def version() -> str:
        """The version, as the tool or its package tells it."""
