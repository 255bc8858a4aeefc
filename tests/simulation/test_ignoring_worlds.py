"""Worlds in which ignore patterns come and go, and are all gone in the end: nothing is lost."""

from __future__ import annotations

from functools import partial

from conflict.errors import GeosyncError
from conflict.ignore_patterns import ignore_patterns
from conflict.operations import ROOT
from tests.simulation.mortality import Killed
from tests.simulation.simulated_site import SimulatedSite
from tests.simulation.world import World, alive

SEEDS = (4, 13)
_CHANGED_SHARE = 0.1  # of an operator's looks
_PATTERNS = (b"a", b"b", b"*.txt", b"/a/", b"d/", b"/c/a", b"!b")


class IgnoringWorld(World):
    """Counts the changes of patterns."""

    def __init__(self, seed: int, directory: bytes) -> None:
        super().__init__(seed, directory, has_incidents=False)
        self.changes = 0
        self._deciders = self._stream("deciders of patterns")

    def _operate(self, site: SimulatedSite) -> None:
        super()._operate(site)
        if site.engine is not None and self._deciders.random() < _CHANGED_SHARE:
            pattern = self._deciders.choice(_PATTERNS)
            self._change(site, pattern, is_removed=self._deciders.random() < 0.4)

    def _round(self, pause_s: float) -> bool:
        """Takes all patterns away that some site knows of, until there are none."""
        known = [(site, pattern) for site in self.sites for pattern in _patterns(site)]
        for site, pattern in known:
            self._change(site, pattern, is_removed=True)
        return super()._round(pause_s) or bool(known)

    def _change(self, site: SimulatedSite, pattern: bytes, *, is_removed: bool) -> None:
        if site.engine is None:
            return
        self.trace.add(site.name, "no pattern" if is_removed else "pattern", pattern)
        try:
            if is_removed:
                site.engine.decisions.ignore_no_more(pattern)
            else:
                site.engine.decisions.ignore(pattern)
            self.changes += 1
        except (Killed, GeosyncError) as error:
            self.trace.add(site.name, "not changed", error)


def _patterns(site: SimulatedSite) -> tuple[bytes, ...]:
    if site.engine is None:
        return ()
    return ignore_patterns(site.engine.site.journal.nodes.node(ROOT))


def run_ignoring(seed: int) -> int:
    """Runs a seed, with all invariants at its end; returns how often patterns changed."""
    with alive(partial(IgnoringWorld, seed)) as world:
        world.run()
        return world.changes


def test_patterns_that_come_and_go_lose_nothing_and_all_sites_converge() -> None:
    assert all(run_ignoring(seed) for seed in SEEDS)
