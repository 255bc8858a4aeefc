"""A real Swift at a site of the network, whose proxy the other sites reach by the site's address.

The servers of Swift have to be started inside of the namespace, because a socket belongs to the
namespace that it was made in. So a process of this module runs there, with the directory and the
layout of processes as its arguments; it ends, and all of Swift with it, when its input ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Literal, cast

from geosync.demo.server_process import ServerStartError
from geosync.demo.started import Started
from geosync.demo.swift_server import SwiftServer
from laboratory.network import Network

Processes = Literal["one", "region", "each"]
ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - of a namespace that only the laboratory reaches
STOP_TIMEOUT_S = 30.0


class SwiftInNetwork(Started):
    """A Swift at one site. A context manager; start it after the network. Not thread-safe."""

    def __init__(
        self, network: Network, site: str, directory: str, *, processes: Processes = "each"
    ) -> None:
        """Starts nothing yet.

        Args:
            network: that runs when this is started.
            site: where Swift is.
            directory: of its contents, configuration and logs; made if it is missing.
            processes: all servers in one process, or each in its own, which uses more processors.
        """
        self._network = network
        self._site = site
        self._directory = directory
        self._processes = processes
        self._process: subprocess.Popen[str] | None = None
        self._started: dict[str, object] = {}

    def start(self) -> None:
        """Returns when every server answers.

        Raises:
            ServerStartError: Swift did not start; its error is on the standard error.
        """
        program = [sys.executable, "-m", "laboratory.swift_in_network"]
        self._process = subprocess.Popen(
            self._network.command_in(self._site, [*program, self._directory, self._processes]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
            process_group=0,  # so that Ctrl-C reaches us alone
        )
        assert self._process.stdout is not None
        started = self._process.stdout.readline()
        if not started:
            self.stop()
            raise ServerStartError(f"tried to start Swift at site {self._site}: its error is above")
        self._started = json.loads(started)

    def stop(self) -> None:
        """Ends Swift; its contents stay. Never raises."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._process = None

    @property
    def login(self) -> dict[str, str]:
        """The table `swift` of the configuration of every site of this network."""
        address = self._network.address_of(self._site)
        return {
            "auth_url": f"http://{address}:{self._started['port']}/auth/v1.0",
            "user": cast("str", self._started["user"]),
            "key": cast("str", self._started["key"]),
        }

    @property
    def process_ids(self) -> list[int]:
        """Of the servers, to see what they take of the processor."""
        return cast("list[int]", self._started["process_ids"])


def main(arguments: Sequence[str]) -> None:
    """Runs Swift here, tells its port and processes with a line of JSON, and waits for the end."""
    directory, processes = arguments
    layout = cast("Processes", processes)
    server = SwiftServer(directory, processes=layout)
    server.proxy_host = ALL_ADDRESSES
    with server as swift:
        _, port = swift.proxy_address()
        started = {
            "port": port,
            "user": swift.user,
            "key": swift.key,
            "process_ids": list(swift.process_ids.values()),
        }
        print(json.dumps(started), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
