"""Runs one region of a real Swift that is spread over the sites: the object store of the recipe.

    python -m recipes.redmine.swift_region prepare DIRECTORY KEY
    python -m recipes.redmine.swift_region serve DIRECTORY REGION

Each site has one region: a proxy, and a storage node with a copy of everything. The regions reach
each other over the WAN, as their rings say. In production this is your Swift, installed as ever.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys

from swift.common.ring import RingBuilder

from geosync.demo.swift_configuration import (
    DEVICE_NAME,
    SwiftLayout,
    configuration_directory,
    configuration_path,
    server_names,
    tempauth_filters,
    write_configuration,
)

USER = "redmine:geosync"
ADDRESSES = {1: "10.77.0.1", 2: "10.77.0.2"}
PORTS = {"proxy": 8080, "object": 6200, "container": 6201, "account": 6202}
PARTITION_POWER = 3


def prepare(directory: str, key: str) -> None:
    """Writes rings and configuration of all regions, once."""
    ports = {name: PORTS[name.split("-")[0]] for name in server_names(len(ADDRESSES))}
    os.makedirs(os.path.join(directory, "log"), exist_ok=True)
    layout = SwiftLayout.new(len(ADDRESSES), ports)
    layout.save(directory)
    write_configuration(directory, layout, tempauth_filters(USER, key, layout.fernet_key))
    for region in ADDRESSES:
        _prefer_own_region(configuration_path(directory, f"proxy-{region}"), region)
    for kind in ("object", "container", "account"):
        _build_ring(kind, os.path.join(configuration_directory(directory), f"{kind}.ring.gz"))


def serve(directory: str, region: int) -> None:
    """Becomes Swift's servers of one region, on the addresses of this machine."""
    arguments = []
    for server in server_names(len(ADDRESSES)):
        kind, number = server.split("-")
        if int(number) == region:
            arguments.append(f"{server}:{_listen(ADDRESSES[region], PORTS[kind])}")
    _keep_standard_input_open()
    module = "geosync.demo.swift_serving"
    os.execv(sys.executable, [sys.executable, "-m", module, directory, *arguments])


def _prefer_own_region(path: str, region: int) -> None:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    affinity = f"sorting_method = affinity\nread_affinity = r{region}=100\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("[app:proxy-server]\n", f"[app:proxy-server]\n{affinity}"))


def _build_ring(kind: str, path: str) -> None:
    builder = RingBuilder(PARTITION_POWER, len(ADDRESSES), 0)
    for region, ip in ADDRESSES.items():
        address = {"ip": ip, "port": PORTS[kind]}
        replication = {f"replication_{name}": value for name, value in address.items()}
        place = {"region": region, "zone": 1, "device": DEVICE_NAME, "weight": 1.0, "meta": ""}
        builder.add_dev(place | address | replication)
    builder.rebalance(seed=1)
    builder.get_ring().save(path)


def _listen(host: str, port: int) -> int:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((host, port))
    listener.listen(1024)
    fcntl.fcntl(listener, fcntl.F_SETFD, 0)
    return listener.detach()


def _keep_standard_input_open() -> None:
    """Gives the servers, which end with their standard input, one that never ends."""
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    fcntl.fcntl(writing, fcntl.F_SETFD, 0)


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(sys.argv[2], sys.argv[3])
    else:
        serve(sys.argv[2], int(sys.argv[3]))
