"""Users who upload attachments all the time, where the name server or the balancer sends them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

from recipes.redmine.browser import new_name
from recipes.redmine.dns_client import addresses_of
from recipes.redmine.redmine_client import ADDRESSES, RedmineClient, RedmineError, Upload

PAUSE_S = 0.2
PATIENCE_S = 10.0
DNS_TTL_S = 5.0
Way = Callable[[], tuple[str, int]]  # host and port for the next request


@dataclass
class Record:
    """What the users were told.

    Attributes:
        uploads: that were answered with success.
        failures: what came instead, with the moment (monotonic seconds).
        successes_s: moments of all successes.
    """

    uploads: list[Upload] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)
    successes_s: list[float] = field(default_factory=list)

    def longest_gap_s(self) -> float:
        """Returns the longest time without a success."""
        moments = sorted(self.successes_s)
        return max((after - before for before, after in pairwise(moments)), default=0.0)


class Users:
    """One user in a thread for each way in. A context manager."""

    def __init__(self, ways: dict[str, Way]) -> None:
        self.records = {name: Record() for name in ways}
        self._ways = ways
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for name, way in self._ways.items():
            self._threads.append(threading.Thread(target=self._upload, args=(name, way)))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    @property
    def uploads(self) -> list[Upload]:
        """All that was answered with success."""
        return [each for record in self.records.values() for each in record.uploads]

    def _upload(self, name: str, way: Way) -> None:
        record = self.records[name]
        while not self._is_over.wait(PAUSE_S):
            try:
                host, port = way()
                client = RedmineClient(host, port, timeout_s=PATIENCE_S)
                upload = client.upload(f"{new_name(name)}.bin", os.urandom(8000))
            except (RedmineError, OSError) as error:
                record.failures.append((time.monotonic(), str(error)))
            else:
                record.uploads.append(upload)
                record.successes_s.append(time.monotonic())


def by_name(name: str) -> Way:
    """The first address of a name, as a browser takes it that keeps answers for five seconds."""
    known: tuple[float, str] = (0.0, "")

    def way() -> tuple[str, int]:
        nonlocal known
        if time.monotonic() > known[0] + DNS_TTL_S:
            known = time.monotonic(), addresses_of(f"{name}.lab.example", ADDRESSES["roma"])[0]
        return known[1], 3000

    return way


def by_balancer(port: int) -> Way:
    """HAProxy, which decides for each request."""
    return lambda: (ADDRESSES["roma"], port)
