"""geosync in the comparison: a daemon at each site, and a real Swift at a site of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping

from benchmarks.tool import Tool
from benchmarks.world import STORE_SITE, BenchSite, World
from geosync.configuration.volume_configuration import (
    default_configuration_text,
    parse_configuration,
    write_new_configuration,
)
from laboratory.swift_in_network import SwiftInNetwork

HINTS_PORT = 8485
UP_TIMEOUT_S = 120.0


class GeosyncTool(Tool):
    """geosync with its default settings."""

    name = "geosync"
    has_hints = True

    def __init__(self, world: World, tuning: Mapping[str, int] | None = None) -> None:
        super().__init__(world)
        self._tuning = dict(tuning or {})
        self._swift = SwiftInNetwork(
            world.network, STORE_SITE, os.path.join(world.directory, "swift")
        )
        self._secret_file = os.path.join(world.directory, "hints.secret")

    def prepare(self) -> None:
        """Starts Swift."""
        self._swift.start()

    def start(self) -> None:
        """Starts all daemons, and returns when each answers."""
        with open(self._secret_file, "w", encoding="ascii", opener=_for_us_alone) as file:
            file.write(secrets.token_hex(32))
        for site in self.world.sites:
            self._write_configuration(site)
            self.start_daemon(site)
        for site in self.world.sites:
            self._await_up(site)

    def start_daemon(self, site: BenchSite) -> None:
        """Starts one daemon."""
        self.processes.start(site, self._command(site, "run"))

    def requests(self) -> int:
        """How many requests the daemons have made of the store so far."""
        total = 0
        for site in self.world.sites:
            done = subprocess.run(
                self._command(site, "status", "--json"), capture_output=True, check=False
            )
            total += json.loads(done.stdout)["daemon"]["store"]["requests"]
        return total

    def stop(self) -> None:
        """Ends the daemons, and then Swift."""
        super().stop()
        self._swift.stop()

    @staticmethod
    def version() -> str:
        """The commit, or the release where there is no repository."""
        from importlib.metadata import version  # noqa: PLC0415 - of our own package

        return version("geosync")

    def _command(self, site: BenchSite, *arguments: str) -> list[str]:
        return [
            sys.executable, "-m", "geosync", *arguments, "--config", self._configuration_path(site)
        ]  # fmt: skip

    def _configuration_path(self, site: BenchSite) -> str:
        return os.path.join(site.beside, "geosync.toml")

    def _write_configuration(self, site: BenchSite) -> None:
        network = self.world.network
        document: dict[str, object] = {
            "volume": "bench",
            "site": site.name,
            "root": os.fsdecode(site.root),
            "state_dir": os.path.join(site.beside, "state"),
            "swift": self._swift.login,
            "http": {"listen": ""},
            "tuning": self._tuning,
        }
        if self.has_hints:
            document["hints"] = {
                "listen": f"0.0.0.0:{HINTS_PORT}",
                "peers": [
                    f"{network.address_of(other.name)}:{HINTS_PORT}"
                    for other in self.world.sites
                    if other != site
                ],
                "secret_file": self._secret_file,
            }
        configuration = parse_configuration(document, "the benchmark")
        write_new_configuration(
            self._configuration_path(site), default_configuration_text(configuration)
        )

    def _await_up(self, site: BenchSite) -> None:
        socket_path = os.path.join(site.beside, "state", "control.sock")
        deadline_s = time.monotonic() + UP_TIMEOUT_S
        while not os.path.exists(socket_path):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"geosync at {site.name} does not start; see {site.beside}")
            time.sleep(0.05)


class GeosyncByPolls(GeosyncTool):
    """geosync without hints: sites only look at the store."""

    name = "geosync, polls alone"
    has_hints = False


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
