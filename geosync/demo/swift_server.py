"""Starts and stops a real OpenStack Swift on loopback, for tests and for the demonstration.

Nothing of Swift is imported here: its servers need eventlet, which changes the standard library
of the process that it is imported into. They run in `geosync.demo.swift_serving`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Literal

from geosync.demo.loopback_port import HOST, choose_ports, listen
from geosync.demo.server_process import ServerProcess, ServerStartError, child_environment
from geosync.demo.started import Started
from geosync.demo.swift_configuration import (
    SwiftLayout,
    keystone_filters,
    operator_of,
    rate_limit_filters,
    reader_of,
    server_names,
    tempauth_filters,
    write_configuration,
)


def require_swift() -> None:
    """Raises ServerStartError, with what to do, when Swift is not installed."""
    if importlib.util.find_spec("swift") is None:
        raise ServerStartError(
            "cannot start Swift: the package `swift` is not installed for "
            f"{sys.executable}; run: pip install 'geosync[demo]'"
        )


class SwiftServer(Started):
    """A Swift with all of its contents, configuration and logs below one directory.

    A context manager. Needs no root, no /etc/swift, no memcached and no syslog. Starting again on
    the same directory, also by a later process, gives the same ports, tokens and contents.
    Every region has a storage node and a proxy; an object has a copy in up to three regions.
    Not thread-safe.

    Attributes:
        proxy_host: the address that proxies listen on from the next start; storage is on loopback.
    """

    def __init__(
        self,
        directory: str,
        *,
        region_count: int = 1,
        user: str = "demo:geosync",
        key: str = "geosync-demo-key",
        keystone_options: Mapping[str, str] | None = None,
        processes: Literal["one", "region", "each"] = "one",
    ) -> None:
        """Touches nothing until `start`.

        Args:
            directory: made if it is missing.
            region_count: the number of regions. The first start on a directory decides it.
            user: `account:user` of the one tempauth user.
            key: its password, without white space.
            keystone_options: options of Swift's authtoken filter; they replace tempauth, and
                `auth_url`, `storage_url`, `user` and `key` then mean nothing.
            processes: all servers in one process, those of each region in one, or each server in a
                process of its own.
        """
        self.rate_limits: Mapping[str, str] = {}
        self.directory = os.path.abspath(directory)
        self.user = user
        self.key = key
        self._region_count = region_count
        self._keystone_options = keystone_options
        self._processes = processes
        self.proxy_host = HOST
        self._layout: SwiftLayout | None = None
        self._running: dict[str, ServerProcess] = {}

    def start(self) -> None:
        """Starts what does not run, and returns when every server answers.

        Raises:
            ServerStartError: Swift is not installed, or a server did not come up; its last log
                lines are quoted, and no server of this object runs.
            PortTakenError: another process took one of the ports.
        """
        require_swift()
        self._layout = self._prepare_directory()
        try:
            self._forget_dead()
            missing = {
                name: servers for name, servers in self._groups() if name not in self._running
            }
            for name, servers in missing.items():
                self._running[name] = self._spawn(name, servers)
            for name in missing:
                self._running[name].await_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every server process; does nothing for those that do not run. Never raises."""
        for process in self._running.values():
            process.ask_to_end()
        while self._running:
            self._running.popitem()[1].stop()

    def kill(self, name: str | None = None) -> None:
        """Ends one process of `process_ids`, or all, by SIGKILL. `start` starts it again."""
        for each in self._chosen(name):
            self._running.pop(each).kill()

    def pause(self, name: str | None = None) -> None:
        """Stops one process, or all, by SIGSTOP: connections stay open and nothing answers."""
        for each in self._chosen(name):
            self._running[each].pause()

    def resume(self, name: str | None = None) -> None:
        """Lets one paused process, or all, run on."""
        for each in self._chosen(name):
            self._running[each].resume()

    @property
    def process_ids(self) -> dict[str, int]:
        """Process id of each running process: of `swift`, `region-1`, ... or `object-1`, ..."""
        self._forget_dead()
        return {name: process.process_id for name, process in self._running.items()}

    def proxy_address(self, region: int = 1) -> tuple[str, int]:
        """Host and port of the proxy of a region, for a client or a relay. Regions start at 1."""
        return HOST, self._started_layout().ports[f"proxy-{region}"]

    def auth_url_of(self, region: int) -> str:
        """The v1 authentication URL at the proxy of a region."""
        return f"{self.url_of(region)}/auth/v1.0"

    def url_of(self, region: int) -> str:
        """Scheme, host and port of the proxy of a region."""
        host, port = self.proxy_address(region)
        return f"http://{host}:{port}"

    @property
    def auth_url(self) -> str:
        """The v1 authentication URL at the first region's proxy."""
        return self.auth_url_of(1)

    @property
    def reader(self) -> str:
        """Another tempauth user of the same account, who may do what containers allow."""
        return reader_of(self.user)

    @property
    def operator(self) -> str:
        """Another tempauth user of the same account, who may set the quotas of accounts."""
        return operator_of(self.user)

    @property
    def storage_url(self) -> str:
        """The user's account at the first region's proxy."""
        return f"{self.url_of(1)}/v1/AUTH_{self.user.split(':')[0]}"

    def log_path(self, name: str) -> str:
        """Where the process of that name logs."""
        return os.path.join(self.directory, "log", f"{name}.log")

    def _started_layout(self) -> SwiftLayout:
        if self._layout is None:
            raise ServerStartError(f"Swift in {self.directory} has no address before its start")
        return self._layout

    def _prepare_directory(self) -> SwiftLayout:
        os.makedirs(os.path.join(self.directory, "log"), exist_ok=True)
        try:
            layout = SwiftLayout.load(self.directory)
        except FileNotFoundError:
            servers = server_names(self._region_count)
            ports = dict(zip(servers, choose_ports(len(servers)), strict=True))
            layout = SwiftLayout.new(self._region_count, ports)
            layout.save(self.directory)
        if self._keystone_options is None:
            auth_filters = tempauth_filters(self.user, self.key, layout.fernet_key)
        else:
            auth_filters = keystone_filters(self._keystone_options)
        filters = {**rate_limit_filters(self.rate_limits), **auth_filters}
        write_configuration(self.directory, layout, filters)
        return layout

    def _groups(self) -> list[tuple[str, list[str]]]:
        """The processes: name, and the servers in it."""
        servers = server_names(self._started_layout().region_count)
        if self._processes == "one":
            return [("swift", servers)]
        if self._processes == "region":
            regions = range(1, self._started_layout().region_count + 1)
            return [
                (f"region-{region}", [each for each in servers if each.endswith(f"-{region}")])
                for region in regions
            ]
        return [(server, [server]) for server in servers]

    def _chosen(self, name: str | None) -> list[str]:
        return list(self._running) if name is None else [name]

    def _host_of(self, server: str) -> str:
        return self.proxy_host if server.startswith("proxy-") else HOST

    def _forget_dead(self) -> None:
        for name, process in list(self._running.items()):
            if not process.is_running():
                self._running.pop(name).kill()

    def _spawn(self, name: str, servers: Iterable[str]) -> ServerProcess:
        ports = self._started_layout().ports
        with ExitStack() as stack:
            listeners = {
                server: stack.enter_context(listen(ports[server], self._host_of(server)))
                for server in servers
            }
            return ServerProcess(
                [sys.executable, "-m", f"{__package__}.swift_serving", self.directory],
                listeners=listeners,
                log_path=self.log_path(name),
                environment=child_environment(TZ="UTC+0"),  # the time zone of Swift's own start
            )
