"""Carries packets between TUN devices: the process `python -m laboratory.wan_emulator`.

Its arguments are one `device:address` for each site, `device` the name of a TUN device that it
makes and `address` the site's IPv4 address. It then obeys lines of JSON on its standard input, each
answered by one on its standard output, and ends when its input ends:

    {"lines": [[0, 1]], "settings": {...}}   settings of lines, by the places of their two ends
    {"counts": true}                         counts of all lines

One process and one thread: what it takes of a processor is not counted to any program measured.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import count, permutations

from laboratory.line import Line, LineSettings
from laboratory.tun_device import IPV4_TARGET, TunDevice, pieces_on_the_wire

PACKETS_AT_ONCE_MAX = 64
# A packet that is delivered late because another program has the processor is a longer line.
NICENESS = -15
READ_BYTES_MAX = 65_536
Ends = tuple[int, int]  # places of the sending and of the receiving site
Order = dict[str, object]


class WanEmulator:
    """All lines between some devices, and the packets that are under way."""

    def __init__(self, devices: Sequence[TunDevice], addresses: Sequence[str]) -> None:
        """Takes devices and the address behind each; the lines lose nothing and have no length."""
        self._devices = devices
        self._place_of = {socket.inet_aton(text): place for place, text in enumerate(addresses)}
        self._lines = {ends: Line(LineSettings()) for ends in permutations(range(len(devices)), 2)}
        self._under_way: list[tuple[float, int, TunDevice, bytes]] = []
        self._numbers = count()
        self._random = random.Random(1)  # noqa: S311 - losses, not secrets

    def run(self, orders: int, answers: int) -> None:
        """Carries packets and obeys orders until there are no more orders.

        Args:
            orders: descriptor that lines of JSON are read from.
            answers: descriptor that an answer to each is written to.
        """
        places = {device.fileno(): place for place, device in enumerate(self._devices)}
        unread = b""
        while True:
            ready, _, _ = select.select([orders, *places], [], [], self._wait_s())
            self._deliver()
            for descriptor in ready:
                if descriptor in places:
                    self._take(places[descriptor])
            if orders in ready:
                part = os.read(orders, READ_BYTES_MAX)
                if not part:
                    return
                *whole, unread = (unread + part).split(b"\n")
                for line in whole:
                    os.write(answers, json.dumps(self._obey(json.loads(line))).encode() + b"\n")

    def _wait_s(self) -> float | None:
        """Until the next arrival; None while nothing is under way."""
        if not self._under_way:
            return None
        return max(0.0, self._under_way[0][0] - time.monotonic())

    def _deliver(self) -> None:
        now_s = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now_s:
            _, _, device, packet = heapq.heappop(self._under_way)
            device.write(packet)

    def _take(self, source: int) -> None:
        """Puts what one site sent on its lines; not all at once, so that all sites get a turn."""
        for _ in range(PACKETS_AT_ONCE_MAX):
            packet = self._devices[source].read()
            if packet is None:
                return
            target = self._place_of.get(packet[IPV4_TARGET])
            if target is None or target == source:
                continue
            arrival_s = self._lines[source, target].send(
                time.monotonic(), *pieces_on_the_wire(packet), self._random.random
            )
            if arrival_s is not None:
                parcel = (arrival_s, next(self._numbers), self._devices[target], packet)
                heapq.heappush(self._under_way, parcel)

    def _obey(self, order: Order) -> object:
        if "counts" in order:
            return [[*ends, asdict(line.counts)] for ends, line in self._lines.items()]
        settings = LineSettings(**order["settings"])  # type: ignore[arg-type]
        for source, target in order["lines"]:  # type: ignore[attr-defined]
            self._lines[source, target].settings = settings
        for place, device in enumerate(self._devices):
            device.take_large_packets(are_taken=not self._loses_packets_of(place))
        return True

    def _loses_packets_of(self, source: int) -> bool:
        """Loss is of packets as the wire carries them, so these have to come cut."""
        return any(
            line.settings.loss_share > 0.0
            for (start, _), line in self._lines.items()
            if start == source
        )


def main(arguments: Sequence[str]) -> None:
    """Makes the devices, says so with one line, and emulates."""
    names, addresses = zip(*(argument.split(":") for argument in arguments), strict=True)
    os.nice(NICENESS)
    devices = [TunDevice(name) for name in names]
    os.write(sys.stdout.fileno(), b"true\n")
    WanEmulator(devices, addresses).run(sys.stdin.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main(sys.argv[1:])
