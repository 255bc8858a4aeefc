"""Stamps: the total order that breaks ties between concurrent operations, and nothing else.

A hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014) never runs behind what it
has seen, so a later operation has a later stamp whatever the physical clocks say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from conflict.errors import MalformedValueError
from conflict.version import ActorId

LOGICAL_BITS = 16
AHEAD_TOLERANCE_MS = 5 * 60 * 1000
TICKS_MAX = 2**62


class Stamp(NamedTuple):
    """Compared field by field: the epoch of a failover first, the actor as the last tie-break."""

    epoch: int
    ticks: int  # milliseconds since 1970 shifted left by LOGICAL_BITS, plus a logical counter
    actor: ActorId

    @property
    def time_ms(self) -> int:
        """The physical part, in milliseconds since 1970 by the author's clock."""
        return self.ticks >> LOGICAL_BITS


def checked_stamp(epoch: int, ticks: int, actor: ActorId) -> Stamp:
    """Makes a stamp of values from outside. Raises MalformedValueError."""
    if not 0 <= epoch <= TICKS_MAX or not 0 <= ticks <= TICKS_MAX:
        raise MalformedValueError(f"not a stamp: epoch {epoch}, ticks {ticks}")
    return Stamp(epoch, ticks, actor)


@dataclass(frozen=True, slots=True)
class HybridClock:
    """The clock of one actor, as a value: each step returns the next one.

    A remote stamp more than AHEAD_TOLERANCE_MS ahead of our physical clock is not followed, so a
    site with a broken clock cannot drag the others into its future. An operation that replaces
    one of its versions still gets a later stamp, since `stamp` looks at what is replaced.

    Nor is a higher epoch followed: who writes in an old one does not win by having heard of a
    newer one.
    """

    actor: ActorId
    epoch: int = 0
    ticks: int = 0

    def stamp(self, now_ms: int, after: Iterable[Stamp]) -> tuple[HybridClock, Stamp]:
        """Stamps one operation.

        Args:
            now_ms: the physical clock, milliseconds since 1970.
            after: stamps of all that the operation refers to; the new one is later than each
                that is not of a higher epoch.
        """
        ticks = max(self.ticks + 1, now_ms << LOGICAL_BITS)
        following = HybridClock(self.actor, self.epoch, ticks)
        highest = max((stamp for stamp in after if stamp.epoch <= self.epoch), default=None)
        if highest is not None and (self.epoch, ticks) <= highest[:2]:
            return following, Stamp(highest.epoch, highest.ticks + 1, self.actor)
        return following, Stamp(self.epoch, ticks, self.actor)

    def observe(self, now_ms: int, seen: Stamp) -> HybridClock:
        """Follows a remote stamp, unless it lies too far ahead of the physical clock."""
        limit = (now_ms + AHEAD_TOLERANCE_MS) << LOGICAL_BITS
        if seen.ticks > limit:
            return self
        return HybridClock(self.actor, self.epoch, max(self.ticks, seen.ticks))


def is_far_ahead(stamp: Stamp, now_ms: int) -> bool:
    """Tells whether the author's clock is so far ahead of ours that an operator should look."""
    return stamp.time_ms > now_ms + AHEAD_TOLERANCE_MS
