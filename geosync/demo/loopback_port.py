"""Listening sockets on loopback whose port can be had again after a stop."""

from __future__ import annotations

import secrets
import socket

from conflict.errors import GeosyncError

HOST = "127.0.0.1"
LISTEN_BACKLOG = 1024
# Below the range from which Linux takes the ports of outgoing connections: while a server is
# stopped, no connection, not even one to the stopped server itself, can take its port.
PORTS = range(20_000, 32_000)


class PortTakenError(GeosyncError):
    """Another process listens where one of our servers has to."""


def listen(port: int, host: str = HOST) -> socket.socket:
    """Listens on a port of an address, also right after another server on it ended.

    Raises:
        PortTakenError: the port is in use.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTakenError(
            f"tried to listen on {host} port {port}: {error}; "
            "end the process that uses the port, or start in a new directory"
        ) from error
    return listener


def choose_ports(count: int) -> list[int]:
    """Finds different free ports.

    RACE: another process may take one before `listen` does; `listen` then fails and says so.

    Raises:
        PortTakenError: there are not so many free ports.
    """
    probes: list[socket.socket] = []
    try:
        while len(probes) < count:
            probes.append(_bind_any())
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
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
    raise PortTakenError(f"tried ports {PORTS.start} to {PORTS.stop} of {HOST}: none is free")
