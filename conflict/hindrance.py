"""Hindrances: which site can't bring what it received to its disk, and what keeps it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from conflict.version import ActorId, Dot


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What its author has received, and not applied for a while.

    Attributes:
        since_ms: by its author's clock.
        count: how many paths wait; 0: it is over.
        path: one of them, below the root.
        reason: why that one waits, for the operator.
    """

    since_ms: int
    count: int
    path: bytes
    reason: str


OVER = Hindrance(0, 0, b"", "")


class Hindrances:
    """What follows from all declarations: of each actor the latest one counts.

    Attributes:
        of: the hindrances that are not over.
        superseded: declarations from which nothing follows any more.
    """

    def __init__(self, stated: Iterable[tuple[Dot, Hindrance]]) -> None:
        latest: dict[ActorId, tuple[int, Hindrance]] = {}
        self.superseded: list[Dot] = []
        for dot, hindrance in sorted(stated, key=lambda each: each[0]):
            if dot.actor in latest:
                self.superseded.append(Dot(dot.actor, latest[dot.actor][0]))
            latest[dot.actor] = (dot.counter, hindrance)
        self.of = {actor: each for actor, (_, each) in latest.items() if each.count}
