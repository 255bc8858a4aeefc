"""Starts and stops a real OpenStack Swift on loopback, for tests and for the demonstration.

Nothing of Swift is imported here: its servers need eventlet, which changes the standard library
of the process that it is imported into. They run in `geosync.demo.swift_serving`.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

from conflict.errors import GeosyncError
from geosync.demo.swift_configuration import (
    SwiftLayout,
    keystone_filters,
    server_names,
    tempauth_filters,
    write_configuration,
)

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
LOG_LINES_QUOTED = 20
LISTEN_BACKLOG = 1024
# Below the range from which the kernel takes ports for outgoing connections: while a server is
# stopped, no connection, not even one to the stopped server itself, can take its port.
PORTS = range(20_000, 32_000)


class SwiftServerError(GeosyncError):
    """The real Swift of the tests and the demonstration could not be started."""


class SwiftServer:
    """A Swift with all of its contents, configuration and logs below one directory.

    A context manager. Needs no root, no /etc/swift, no memcached and no syslog. Starting again on
    the same directory, also by a later process, gives the same ports, tokens and contents.
    Every region has a storage node and a proxy; an object has a copy in up to three regions.
    Not thread-safe.
    """

    def __init__(
        self,
        directory: str,
        *,
        region_count: int = 1,
        user: str = "demo:geosync",
        key: str = "geosync-demo-key",
        keystone_options: Mapping[str, str] | None = None,
        processes: Literal["one", "each"] = "one",
    ) -> None:
        """Touches nothing until `start`.

        Args:
            directory: made if it is missing.
            region_count: the number of regions. The first start on a directory decides it.
            user: `account:user` of the one tempauth user.
            key: its password, without white space.
            keystone_options: options of Swift's authtoken filter; they replace tempauth, and
                `auth_url`, `storage_url`, `user` and `key` then mean nothing.
            processes: all servers in one process, or each server in a process of its own.
        """
        self.directory = os.path.abspath(directory)
        self.user = user
        self.key = key
        self._region_count = region_count
        self._keystone_options = keystone_options
        self._processes = processes
        self._layout: SwiftLayout | None = None
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts what does not run, and returns when every server answers.

        Raises:
            SwiftServerError: Swift is not installed, a port is taken, or a server did not come
                up; then its last log lines are quoted, and no server of this object runs.
        """
        if importlib.util.find_spec("swift") is None:
            raise SwiftServerError(
                "cannot start Swift: the package `swift` is not installed for "
                f"{sys.executable}; run: pip install 'geosync[demo]'"
            )
        self._layout = self._prepare_directory()
        try:
            self._forget_dead()
            missing = {
                name: servers for name, servers in self._groups() if name not in self._running
            }
            for name, servers in missing.items():
                self._running[name] = self._spawn(name, servers)
            for name in missing:
                self._await_ready(name)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every server process; does nothing for those that do not run. Never raises."""
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
            _kill(process)
        self._running.clear()

    def kill(self, name: str | None = None) -> None:
        """Ends one process of `process_ids`, or all, by SIGKILL. `start` starts it again."""
        for each in self._chosen(name):
            _kill(self._running.pop(each))

    def pause(self, name: str | None = None) -> None:
        """Stops one process, or all, by SIGSTOP: connections stay open and nothing answers."""
        for each in self._chosen(name):
            process_id = self._running[each].pid
            os.kill(process_id, signal.SIGSTOP)
            os.waitid(os.P_PID, process_id, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self, name: str | None = None) -> None:
        """Lets one paused process, or all, run on."""
        for each in self._chosen(name):
            self._running[each].send_signal(signal.SIGCONT)

    @property
    def process_ids(self) -> dict[str, int]:
        """Process id of each running process: of `swift`, or of `object-1`, ... `proxy-1`."""
        self._forget_dead()
        return {name: process.pid for name, process in self._running.items()}

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
    def storage_url(self) -> str:
        """The user's account at the first region's proxy."""
        return f"{self.url_of(1)}/v1/AUTH_{self.user.split(':')[0]}"

    def log_path(self, name: str) -> str:
        """Where the process of that name logs."""
        return os.path.join(self.directory, "log", f"{name}.log")

    def _started_layout(self) -> SwiftLayout:
        if self._layout is None:
            raise SwiftServerError(f"Swift in {self.directory} has no address before its start")
        return self._layout

    def _prepare_directory(self) -> SwiftLayout:
        os.makedirs(os.path.join(self.directory, "log"), exist_ok=True)
        try:
            layout = SwiftLayout.load(self.directory)
        except FileNotFoundError:
            layout = SwiftLayout.new(
                self._region_count, _choose_ports(server_names(self._region_count))
            )
            layout.save(self.directory)
        if self._keystone_options is None:
            auth_filters = tempauth_filters(self.user, self.key, layout.fernet_key)
        else:
            auth_filters = keystone_filters(self._keystone_options)
        write_configuration(self.directory, layout, auth_filters)
        return layout

    def _groups(self) -> list[tuple[str, list[str]]]:
        """The processes: name, and the servers in it."""
        servers = server_names(self._started_layout().region_count)
        if self._processes == "one":
            return [("swift", servers)]
        return [(server, [server]) for server in servers]

    def _chosen(self, name: str | None) -> list[str]:
        return list(self._running) if name is None else [name]

    def _forget_dead(self) -> None:
        for name, process in list(self._running.items()):
            if process.poll() is not None:
                _kill(self._running.pop(name))

    def _spawn(self, name: str, servers: Iterable[str]) -> subprocess.Popen[bytes]:
        ports = self._started_layout().ports
        listeners = {}
        try:
            for server in servers:
                listeners[server] = _listen(ports[server])
            module = f"{__package__}.swift_serving"
            arguments = [f"{server}:{each.fileno()}" for server, each in listeners.items()]
            with open(self.log_path(name), "ab") as log:
                return subprocess.Popen(
                    [sys.executable, "-m", module, self.directory, *arguments],
                    stdin=subprocess.PIPE,  # its end tells the child that this process is gone
                    stdout=subprocess.PIPE,
                    stderr=log,
                    pass_fds=[each.fileno() for each in listeners.values()],
                    env=_environment(),
                    # Of its own, so that Ctrl-C reaches us alone. Not a session of its own: in
                    # ours, the kernel wakes and ends even a paused child when we are killed.
                    process_group=0,
                )
        finally:
            for listener in listeners.values():
                listener.close()

    def _await_ready(self, name: str) -> None:
        process = self._running[name]
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
        if readable and process.stdout.read(1):
            return
        found = "ended" if readable else f"was not ready within {START_TIMEOUT_S:g} s"
        raise SwiftServerError(
            f"tried to start Swift in {self.directory}; the process `{name}` {found}. "
            f"The end of {self.log_path(name)}:\n{self._log_end(name)}"
        )

    def _log_end(self, name: str) -> str:
        with open(self.log_path(name), encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-LOG_LINES_QUOTED:])


def _environment() -> dict[str, str]:
    """Ours, without what slows each start down; and Swift wants its times in UTC."""
    environment = {**os.environ, "TZ": "UTC+0", "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _listen(port: int) -> socket.socket:
    """Makes a listening socket here, because only here a taken port has an error of its own."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((HOST, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise SwiftServerError(
            f"tried to listen on {HOST} port {port} for Swift: {error}; "
            "end the process that uses the port, or start in a new directory"
        ) from error
    return listener


def _choose_ports(servers: Iterable[str]) -> dict[str, int]:
    """Takes a free port for each server.

    RACE: another process may take one before `_listen` does; the start then fails and says so.
    """
    probes: dict[str, socket.socket] = {}
    try:
        for server in servers:
            probes[server] = _bind_any()
        return {server: probe.getsockname()[1] for server, probe in probes.items()}
    finally:
        for probe in probes.values():
            probe.close()


def _bind_any() -> socket.socket:
    for _ in PORTS:
        probe = socket.socket()
        try:
            probe.bind((HOST, secrets.choice(PORTS)))
        except OSError:
            probe.close()
        else:
            return probe
    raise SwiftServerError(f"tried ports {PORTS.start} to {PORTS.stop} of {HOST}: none is free")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends the process if it still runs, and lets go of everything that belongs to it."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
