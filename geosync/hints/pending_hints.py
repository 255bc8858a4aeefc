"""What hints told of and was not read yet, and when to look for it. Pure: the time is an argument.

A store may show a segment later than its writer was told that it is stored. So it is looked for a
few times, ever less often, and then left to the polls, which find it in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from conflict.version import ActorId
from geosync.hints.packet import Hint

ACTORS_MAX: Final = 1000
LOOKS_MAX: Final = 6
FIRST_PAUSE_S: Final = 0.02  # doubled each time: 0.6 s in all


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

    def note(self, hint: Hint, now_s: float) -> bool:
        """Takes a hint; returns whether it tells anything that no hint before did."""
        if hint.sequence <= self._newest.get(hint.actor, -1):
            return False
        if hint.actor not in self._newest and len(self._newest) >= ACTORS_MAX:
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

    def next_due_s(self) -> float | None:
        """Returns when to look next; None when nothing is pending."""
        return min((each.due_s for each in self._pending.values()), default=None)
