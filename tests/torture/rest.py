"""Whether all is quiet: every daemon has nothing to do, nothing is published, no disk changes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

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
        """Waits until all is at rest; returns what is not when the time is over."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            reasons = self._unrest()
            if not reasons or time.monotonic() > deadline_s:
                return [f"no rest after {timeout_s:g} s: {reason}" for reason in reasons]
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

    def _unrest(self) -> list[str]:
        reasons = [text for site in self._sites for text in _unrest_of(site)]
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


def _unrest_of(site: TorturedSite) -> list[str]:
    if site.daemon.poll() is not None:
        return [f"the daemon of {site.name} ended: {site.log_text()[-2000:]}"]
    asked = site.run("status", "--json")
    if asked.returncode != 0:
        return [f"{site.name} does not answer: {asked.stderr}"]
    status = json.loads(asked.stdout)
    if status["daemon"] is None:
        return [f"the daemon of {site.name} is only starting"]
    facts: dict[str, Callable[[], object]] = {
        "waits for": lambda: status["daemon"]["waiting"],
        "has to publish": lambda: status["to_publish"]["operations"],
        "lacks or is lacked": lambda: [
            other
            for other in status["sites"]
            if other["operations_it_lacks"] or other["operations_we_lack"] or other["problem"]
        ],
        "reports": lambda: problems_of(status),
    }
    reasons = [f"{site.name} {words} {fact()}" for words, fact in facts.items() if fact()]
    return reasons or ([] if status["is_settled"] else [f"{site.name} has work"])


def problems_of(status: dict[str, object]) -> list[str]:
    """Returns what a status reports, but for clocks that we have set wrong ourselves."""
    problems: list[dict[str, str]] = status["problems"]  # type: ignore[assignment]
    return [p["text"] for p in problems if not p["subject"].startswith(WRONG_CLOCK)]
