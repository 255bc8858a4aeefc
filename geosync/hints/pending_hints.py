"""What hints told of and was not read yet, and when to look for it. Pure: the time is an argument.

A store may show a segment later than its writer was told that it is stored. So it is looked for a
few times, ever less often, and then left to the polls, which find it in any case.

A site says its newest hint again every two seconds. While it does, and that segment is read, its
log need not be looked at: it is vouched for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from conflict.version import ActorId
from geosync.hints.packet import Hint

ACTORS_MAX: Final = 1000
LOOKS_MAX: Final = 6
FIRST_PAUSE_S: Final = 0.02  # doubled each time: 0.6 s in all
REPEAT_EVERY_S: Final = 2.0
VOUCHED_FOR_S: Final = 3 * REPEAT_EVERY_S  # two of them may be lost


@dataclass(slots=True)
class _Pending:
    sequence: int
    due_s: float
    looks: int = 0


class PendingHints:
    """Not thread-safe."""

    def __init__(self) -> None:
        self._pending: dict[ActorId, _Pending] = {}
        self._newest: dict[ActorId, int] = {}
        self._heard_s: dict[ActorId, float] = {}

    def note(self, hint: Hint, now_s: float) -> bool:
        """Takes a hint; returns whether it tells anything that no hint before did."""
        newest = self._newest.get(hint.actor, -1)
        if hint.sequence < newest:
            return False
        if hint.actor not in self._newest and len(self._newest) >= ACTORS_MAX:
            return False
        self._heard_s[hint.actor] = now_s
        if hint.sequence == newest:
            return False
        self._newest[hint.actor] = hint.sequence
        self._pending[hint.actor] = _Pending(hint.sequence, now_s)
        return True

    def due(self, now_s: float, next_of: Callable[[ActorId], int | None]) -> frozenset[ActorId]:
        """Returns whose logs to look at now.

        Args:
            now_s: monotonic.
            next_of: the sequence of the next segment to read of a log, 0 for one that nobody has
                told of yet; None for an actor that this site does not read.
        """
        for actor, pending in list(self._pending.items()):
            following = next_of(actor)
            if following is None or following > pending.sequence or pending.looks >= LOOKS_MAX:
                del self._pending[actor]
        return frozenset(actor for actor, each in self._pending.items() if each.due_s <= now_s)

    def note_look(self, actors: frozenset[ActorId], now_s: float) -> None:
        """Says that these logs were looked at just now."""
        for actor in actors & self._pending.keys():
            pending = self._pending[actor]
            pending.due_s = now_s + FIRST_PAUSE_S * 2**pending.looks
            pending.looks += 1

    def vouched_for_since_s(
        self, next_sequences: Mapping[ActorId, int], now_s: float
    ) -> float | None:
        """Returns since when nothing of some logs can be unread, but for what is on its way.

        Args:
            next_sequences: for each log, which segment of it is read next.
            now_s: monotonic.

        Returns:
            When the one was heard that was heard longest ago; None where a log is not vouched for,
            or there is none.
        """
        if not next_sequences or self.not_heard(next_sequences, now_s):
            return None
        if any(self._newest[actor] >= following for actor, following in next_sequences.items()):
            return None
        return min(self._heard_s[actor] for actor in next_sequences)

    def not_heard(self, actors: Iterable[ActorId], now_s: float) -> set[ActorId]:
        """Returns of which actors no hint came of late."""
        begin_s = now_s - VOUCHED_FOR_S
        return {actor for actor in actors if self._heard_s.get(actor, -math.inf) < begin_s}

    def next_due_s(self) -> float | None:
        """Returns when to look next; None when nothing is pending."""
        return min((each.due_s for each in self._pending.values()), default=None)
