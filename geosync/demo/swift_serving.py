"""Serves some of a Swift's servers in this process: `python -m geosync.demo.swift_serving`.

`geosync.demo.swift_server` starts it as a child with, as arguments, the directory and one
`server:descriptor` for each server to serve, the descriptor of its listening socket. The child
writes a byte to its standard output when it is ready, and ends when its standard input ends: a
parent that was killed leaves no server behind.

The servers are Swift's own WSGI applications, loaded by Swift's own loader from paste files and
spoken to through Swift's own HTTP protocol class. Only the process around them is ours: what
Swift's executables do for themselves needs /etc/swift and a process for each server.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
from types import FrameType

import eventlet
import eventlet.hubs
import eventlet.wsgi
from eventlet.green import socket
from swift.common import constraints, storage_policy, utils
from swift.common.http_protocol import SwiftHttpProtocol
from swift.common.ring import RingBuilder
from swift.common.utils import logs
from swift.common.wsgi import RestrictedGreenPool, loadapp

from geosync.demo.swift_configuration import (
    DEVICE_NAME,
    SERVER_KINDS,
    SwiftLayout,
    configuration_directory,
    configuration_path,
)

COPIES_MAX = 3
PARTITION_POWER = 3
CONNECTIONS_MAX = 1024
CLIENT_TIMEOUT_S = 60.0
READY = b"!"
STANDARD_INPUT, STANDARD_OUTPUT = 0, 1


def main(arguments: list[str]) -> None:
    """Serves until the standard input ends or SIGTERM comes."""
    directory, *servers = arguments
    signal.signal(signal.SIGTERM, _exit_at_once)
    _prepare_swift(directory)
    _build_rings_once(directory)
    for server in servers:
        name, descriptor = server.split(":")
        _serve(configuration_path(directory, name), name, int(descriptor))
    os.write(STANDARD_OUTPUT, READY)
    eventlet.hubs.trampoline(STANDARD_INPUT, read=True)


def _exit_at_once(_signal: int, _frame: FrameType | None) -> None:
    """Leaves without unwinding. CRASH: the same as a power cut, which Swift's storage survives."""
    os._exit(0)


def _prepare_swift(directory: str) -> None:
    """Does what Swift's executables do before they load an application."""
    utils.monkey_patch()
    eventlet.hubs.use_hub(utils.get_hub())
    eventlet.debug.hub_exceptions(state=False)
    eventlet.wsgi.MAX_HEADER_LINE = constraints.MAX_HEADER_SIZE
    if utils.set_swift_dir(configuration_directory(directory)):
        constraints.reload_constraints()
        storage_policy.reload_storage_policies()
    utils.disable_fallocate()
    utils.FALLOCATE_RESERVE = 0
    logs.ThreadSafeSysLogHandler = _standard_error_handler


def _standard_error_handler(**_syslog: object) -> logging.Handler:
    """Stands in for the syslog handler that Swift gives each logger, whatever is configured."""
    return logging.StreamHandler(sys.stderr)


def _build_rings_once(directory: str) -> None:
    """Builds the rings unless another server process of the same directory did."""
    etc = configuration_directory(directory)
    with open(os.path.join(etc, "rings.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        layout = SwiftLayout.load(directory)
        for kind in SERVER_KINDS[:-1]:
            path = os.path.join(etc, f"{kind}.ring.gz")
            if not os.path.exists(path):
                _build_ring(kind, layout, path)


def _build_ring(kind: str, layout: SwiftLayout, path: str) -> None:
    builder = RingBuilder(PARTITION_POWER, min(COPIES_MAX, layout.region_count), 0)
    for region in range(1, layout.region_count + 1):
        address = {"ip": "127.0.0.1", "port": layout.ports[f"{kind}-{region}"]}
        replication = {f"replication_{name}": value for name, value in address.items()}
        place = {"region": region, "zone": 1, "device": DEVICE_NAME, "weight": 1.0, "meta": ""}
        builder.add_dev(place | address | replication)
    builder.rebalance(seed=1)
    builder.get_ring().save(path)


def _serve(configuration: str, name: str, descriptor: int) -> None:
    """Starts one server in a green thread of its own."""
    eventlet.spawn(
        eventlet.wsgi.server,
        socket.socket(fileno=descriptor),
        loadapp(configuration, global_conf={"log_name": name}),
        utils.NullLogger(),
        custom_pool=RestrictedGreenPool(CONNECTIONS_MAX),
        protocol=SwiftHttpProtocol,
        socket_timeout=CLIENT_TIMEOUT_S,
        capitalize_response_headers=False,
        url_length_limit=constraints.MAX_REQUEST_LINE,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
