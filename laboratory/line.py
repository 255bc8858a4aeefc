"""One direction of the way between two sites: when a packet arrives, if it does. No I/O, no clock.

A line is a queue in front of a sender of limited speed, and then a way of constant length: a
packet waits until those before it are sent, takes its size divided by the bandwidth to be sent,
and arrives after the delay. A packet that would wait longer than the queue is long is dropped, as
routers do; that is how TCP finds out about the bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from conflict.errors import GeosyncError

BYTES_OF_MEGABIT = 125_000


class LineSettingsError(GeosyncError):
    """Settings that no line can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """How one direction behaves.

    Attributes:
        one_way_delay_ms: from the end of sending to the arrival.
        loss_share: of the packets, 0.0 to 1.0, lost at random after they were sent.
        bandwidth_mbit_per_s: 0 for as fast as this machine can.
        queue_ms: how long a packet may wait for its turn; means nothing without a bandwidth.
        is_cut: nothing passes; what is under way still arrives.
    """

    one_way_delay_ms: float = 0.0
    loss_share: float = 0.0
    bandwidth_mbit_per_s: float = 0.0
    queue_ms: float = 25.0
    is_cut: bool = False

    def __post_init__(self) -> None:
        """Raises LineSettingsError, naming the values, when one of them is out of range."""
        times_ms = (self.one_way_delay_ms, self.queue_ms, self.bandwidth_mbit_per_s)
        if min(times_ms) < 0 or not 0.0 <= self.loss_share <= 1.0:
            raise LineSettingsError(
                f"tried to set up a line with {asdict(self)}: "
                "a loss is a share from 0.0 to 1.0, and nothing else may be negative"
            )


@dataclass(frozen=True, slots=True)
class LineCounts:
    """What was sent on one direction since the network began, headers of IP and TCP included.

    Attributes:
        packets: how many, in pieces of the size that the wire carries.
        size_bytes: of them all. What the queue or a cut dropped was not sent and does not count;
            what got lost afterwards does.
        dropped_packets: by the queue or by a cut.
        lost_packets: at random, after they were sent.
    """

    packets: int = 0
    size_bytes: int = 0
    dropped_packets: int = 0
    lost_packets: int = 0


@dataclass(slots=True)
class Line:
    """One direction with its queue. Times are seconds of one monotonic clock of the caller's."""

    settings: LineSettings
    counts: LineCounts = field(default_factory=LineCounts)
    _is_free_at_s: float = 0.0
    _last_arrival_s: float = 0.0

    def send(
        self, now_s: float, packets: int, size_bytes: int, dice: Callable[[], float]
    ) -> float | None:
        """Takes packets that belong together and tells when they arrive, never out of order.

        Args:
            now_s: the time of the call; never earlier than in the call before.
            packets: 1, or more for one large packet that the kernel would have cut for a wire.
            size_bytes: on the wire, of all of them.
            dice: a number from 0.0 up to but not including 1.0, another one at each call.

        Returns:
            The time of arrival, or None when they do not arrive.
        """
        settings = self.settings
        starts_at_s = max(now_s, self._is_free_at_s)
        if settings.is_cut or self._is_too_long(starts_at_s - now_s):
            self._count(dropped_packets=packets)
            return None
        bytes_per_s = settings.bandwidth_mbit_per_s * BYTES_OF_MEGABIT
        self._is_free_at_s = starts_at_s + (size_bytes / bytes_per_s if bytes_per_s else 0.0)
        is_lost = settings.loss_share > 0.0 and dice() < settings.loss_share
        self._count(packets=packets, size_bytes=size_bytes, lost_packets=packets * is_lost)
        if is_lost:
            return None
        arrival_s = self._is_free_at_s + settings.one_way_delay_ms / 1000.0
        self._last_arrival_s = max(arrival_s, self._last_arrival_s)
        return self._last_arrival_s

    def _is_too_long(self, wait_s: float) -> bool:
        return self.settings.bandwidth_mbit_per_s > 0.0 and wait_s > self.settings.queue_ms / 1000.0

    def _count(
        self, packets: int = 0, size_bytes: int = 0, dropped_packets: int = 0, lost_packets: int = 0
    ) -> None:
        self.counts = replace(
            self.counts,
            packets=self.counts.packets + packets,
            size_bytes=self.counts.size_bytes + size_bytes,
            dropped_packets=self.counts.dropped_packets + dropped_packets,
            lost_packets=self.counts.lost_packets + lost_packets,
        )
