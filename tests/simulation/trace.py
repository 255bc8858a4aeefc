"""The trace of a run: one line for everything that happened, and a hash to compare two runs."""

from __future__ import annotations

import hashlib
from collections import Counter, deque

from tests.simulation.simulated_clock import NS_PER_S, SimulatedTime

TAIL_LINES_MAX = 20_000


class Trace:
    """Remembers the last lines; the hash covers all.

    Attributes:
        counts: how often each kind of thing happened, to see that a run exercises anything.
    """

    def __init__(self, time: SimulatedTime) -> None:
        self.counts: Counter[str] = Counter()
        self._time = time
        self._tail: deque[str] = deque(maxlen=TAIL_LINES_MAX)
        self._hash = hashlib.sha256()

    def add(self, who: str, what: str, *details: object) -> None:
        """Adds one line."""
        self.counts[what] += 1
        said = " ".join(str(detail) for detail in details)
        line = f"{self._time.now_ns / NS_PER_S:12.3f} {who:8} {what} {said}".rstrip()
        self._hash.update(line.encode() + b"\n")
        self._tail.append(line)

    def add_bytes(self, body: bytes) -> None:
        """Adds to the hash what is too long to be read."""
        self._hash.update(hashlib.sha256(body).digest())

    def digest(self) -> str:
        """Returns the hash of all lines so far."""
        return self._hash.hexdigest()

    def tail(self, count: int) -> str:
        """Returns the last lines."""
        return "\n".join(list(self._tail)[-count:])
