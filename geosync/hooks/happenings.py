"""What has happened since one looked last: conflicts that came and went, sites gone silent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conflict.report import Conflict
from geosync.configuration.hook_rules import Occasion
from geosync.engine.brake_verdicts import KnownBrake
from geosync.hooks.hook_queue import Occurrence
from geosync.reporting.status import OtherSite


class ConflictChanges:
    """Compares the open conflicts with those of the last time. The first look finds nothing new."""

    def __init__(self) -> None:
        self._open: dict[str, Conflict] | None = None

    def since(self, conflicts: Iterable[Conflict]) -> Iterator[Occurrence]:
        """Yields conflicts that appeared, and conflicts that are over."""
        now = {conflict.identity: conflict for conflict in conflicts}
        before, self._open = self._open, now
        if before is None:
            return
        for identity in sorted(now.keys() - before.keys()):
            yield _occurrence(Occasion.CONFLICT, now[identity])
        for identity in sorted(before.keys() - now.keys()):
            yield _occurrence(Occasion.SETTLED, before[identity])


def _occurrence(occasion: Occasion, conflict: Conflict) -> Occurrence:
    return Occurrence(
        occasion, conflict.path, {"conflict": conflict.identity, "kind": conflict.kind.value}
    )


class NewBrakes:
    """Compares brakes with those of the last time. Those that hold at the first look are told."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def since(self, brakes: Iterable[KnownBrake]) -> Iterator[Occurrence]:
        """Yields brakes that have engaged, at this site or at another one."""
        now = {brake.name: brake for brake in brakes}
        for name in sorted(now.keys() - self._known):
            brake = now[name]
            facts: dict[str, str | int] = {
                "brake": name,
                "site": brake.site,
                "kind": brake.kind.value,
                "reason": brake.reason,
            }
            yield Occurrence(Occasion.BRAKE, None, facts)
        self._known = set(now)


class SilentSites:
    """Remembers which sites do not answer: they lack something, and nothing is heard of them.

    A site to which there is nothing to say owes no answer, so its silence says nothing.
    """

    def __init__(self, silent_after_s: int) -> None:
        self._silent_after_ms = silent_after_s * 1000
        self._unanswered: dict[str, tuple[int, int]] = {}  # when it was heard; since when it lacks
        self._silent: set[str] = set()

    def since(self, sites: Iterable[OtherSite], now_ms: int) -> Iterator[Occurrence]:
        """Yields sites that fell silent, and sites that are heard again."""
        for site in sites:
            heard_at_ms, since_ms = self._unanswered.get(site.actor, (-1, now_ms))
            if not site.operations_it_lacks or site.last_heard_at_ms != heard_at_ms:
                self._unanswered[site.actor] = (site.last_heard_at_ms, now_ms)
                if site.actor in self._silent:
                    self._silent.discard(site.actor)
                    yield Occurrence(Occasion.HEARD, None, {"site": site.site})
            elif now_ms - since_ms >= self._silent_after_ms and site.actor not in self._silent:
                self._silent.add(site.actor)
                facts: dict[str, str | int] = {
                    "site": site.site,
                    "operations_it_lacks": site.operations_it_lacks,
                    "silent_s": (now_ms - since_ms) // 1000,
                }
                yield Occurrence(Occasion.SILENT, None, facts)
