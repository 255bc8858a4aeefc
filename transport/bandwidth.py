"""Bandwidth: how fast contents may go to the store, or come from it. The time is an argument."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PASSES_SIZE_BYTES_MAX: Final = 64 * 1024
"""What is not larger never waits: a small change is not held up by a large file."""


class Bandwidth(Protocol):
    """Lets bytes of one direction pass. Every method may be called from any thread."""

    def take(self, size_bytes: int, *, may_wait: bool) -> None:
        """Waits until so many bytes may pass; without waiting, they count all the same."""
        ...


class Unlimited:
    """Lets everything pass at once."""

    def take(self, size_bytes: int, *, may_wait: bool) -> None:
        """Does nothing."""


@dataclass(frozen=True, slots=True)
class Bandwidths:
    """Both directions of the way to a store, of all its connections together."""

    outgoing: Bandwidth = field(default_factory=Unlimited)
    incoming: Bandwidth = field(default_factory=Unlimited)


class Limited:
    """Lets bytes pass at a rate, which may change, over all transfers together."""

    def __init__(
        self,
        bytes_per_s: Callable[[], float],
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> None:
        """Takes the rate, and a clock.

        Args:
            bytes_per_s: the rate now; 0: there is no limit now.
            monotonic: the time in seconds, from any origin.
            sleep: waits for so many seconds.
        """
        self._bytes_per_s = bytes_per_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._is_free_at_s = 0.0

    def take(self, size_bytes: int, *, may_wait: bool) -> None:
        """See `Bandwidth`."""
        rate = self._bytes_per_s()
        with self._lock:
            now_s = self._monotonic()
            if rate <= 0:
                self._is_free_at_s = now_s
                return
            wait_s = max(0.0, self._is_free_at_s - now_s)
            self._is_free_at_s = now_s + wait_s + size_bytes / rate
        if may_wait and wait_s:
            self._sleep(wait_s)


class PacedReader(io.BytesIO):
    """Bytes that are read no faster than they may pass."""

    def __init__(self, body: ReadableBuffer, bandwidth: Bandwidth) -> None:
        super().__init__(body)
        self._bandwidth = bandwidth
        self._may_wait = len(self.getbuffer()) > PASSES_SIZE_BYTES_MAX

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns the next bytes, once they may pass."""
        part = super().read(size)
        self._bandwidth.take(len(part), may_wait=self._may_wait)
        return part
