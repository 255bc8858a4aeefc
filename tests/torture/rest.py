"""Whether all is quiet: every daemon has nothing to do, nothing is published, no disk changes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.torture.final_state import see_conflict_files, see_tree, stamps_of
from tests.torture.tortured_site import TorturedSite
from transport.object_store import AREAS, ObjectStore

LOOK_EVERY_S = 1.0
WATCHED_FOR_S = 5.0
WRONG_CLOCK = "clock of "


class Quiet:
    """Looks at all sites and the store, after the programs have ended."""

    def __init__(self, sites: Sequence[TorturedSite], store: ObjectStore) -> None:
        self._sites = sites
        self._store = store
        self._objects: set[str] = set()

    def await_rest(self, timeout_s: float) -> list[str]:
        """Waits until all is at rest, as long as ever less is left to do.

        Returns:
            What is not at rest when there has been nothing less for `timeout_s`. So a machine may
            take its time, and going round in circles is found out.
        """
        least, deadline_s = math.inf, time.monotonic() + timeout_s
        while True:
            rests = [_rest_of(site) for site in self._sites]
            reasons = self._unrest([reason for rest in rests for reason in rest.reasons])
            left = sum(rest.left for rest in rests)
            if left < least:
                least, deadline_s = left, time.monotonic() + timeout_s
            if not reasons or time.monotonic() > deadline_s:
                return [f"no progress for {timeout_s:g} s: {reason}" for reason in reasons]
            time.sleep(LOOK_EVERY_S)

    def watch(self) -> list[str]:
        """Returns what changes while nobody writes: there should be nothing."""
        objects, stamps = self._names(), [stamps_of(bytes(site.root)) for site in self._sites]
        time.sleep(WATCHED_FOR_S)
        found = [f"published at rest: {name}" for name in sorted(self._names() - objects)]
        for site, before in zip(self._sites, stamps, strict=True):
            now = stamps_of(bytes(site.root))
            changed = sorted(p for p in now.keys() | before.keys() if now.get(p) != before.get(p))
            if changed:
                found.append(f"changed on {site.name} at rest: {changed[:10]}")
        return found

    def _names(self) -> set[str]:
        return {name for area in AREAS for name in self._store.list_names(f"{area}/")}

    def _unrest(self, reasons: list[str]) -> list[str]:
        """Returns why not all is at rest: what the sites say, or what is seen from outside."""
        objects = self._names()
        if objects != self._objects:
            reasons.append(f"{len(objects - self._objects)} objects were published")
        self._objects = objects
        return reasons or self._differences()

    def _differences(self) -> list[str]:
        for see in (see_tree, see_conflict_files):
            try:
                first, *others = (see(bytes(site.root)) for site in self._sites)
            except OSError as error:
                return [f"a tree changes: {error}"]
            if any(other != first for other in others):
                return ["the sites differ, with nothing left to do"]
        return []


@dataclass(frozen=True, slots=True)
class _Rest:
    """Why a site is not at rest, and how much it has left to do, of whatever kind."""

    reasons: list[str]
    left: float = math.inf


def _rest_of(site: TorturedSite) -> _Rest:
    if site.daemon.poll() is not None:
        return _Rest([f"the daemon of {site.name} ended: {site.log_text()[-2000:]}"])
    asked = site.run("status", "--json")
    if asked.returncode != 0:
        return _Rest([f"{site.name} does not answer: {asked.stderr}"])
    status = json.loads(asked.stdout)
    daemon = status["daemon"]
    if daemon is None:
        return _Rest([f"the daemon of {site.name} is only starting"])
    to_publish = status["to_publish"]["operations"]
    lacking = [
        other
        for other in status["sites"]
        if other["operations_it_lacks"] or other["operations_we_lack"] or other["problem"]
    ]
    facts = {
        "waits for": daemon["waiting"],
        "has to publish": to_publish,
        "lacks or is lacked": lacking,
        "reports": problems_of(status),
    }
    reasons = [f"{site.name} {words} {fact}" for words, fact in facts.items() if fact]
    lacks = sum(other["operations_we_lack"] for other in lacking)
    left = daemon["waiting_count"] + to_publish + lacks
    return _Rest(reasons or ([] if status["is_settled"] else [f"{site.name} has work"]), left)


def problems_of(status: dict[str, object]) -> list[str]:
    """Returns what a status reports, but for clocks that we have set wrong ourselves."""
    problems: list[dict[str, str]] = status["problems"]  # type: ignore[assignment]
    return [p["text"] for p in problems if not p["subject"].startswith(WRONG_CLOCK)]
