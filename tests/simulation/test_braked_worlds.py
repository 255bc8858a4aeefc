"""Worlds whose sites have brakes that engage for little, and operators who decide as it comes."""

from __future__ import annotations

from functools import partial

from conflict.brakes import NO_BRAKES, BrakeLimits, Limit, OnEncryption
from conflict.errors import GeosyncError
from tests.simulation.mortality import Killed
from tests.simulation.simulated_site import SimulatedSite
from tests.simulation.world import World, alive
from transport.brake_record import Verdict

SEEDS = (4, 5, 7, 9, 13, 14)
_FEW = Limit(count=1, percent=5, size_mib=0, per_hour=0)
_LOW = BrakeLimits(
    window_s=300,
    deletions=_FEW,
    changes=_FEW,
    on_encryption=OnEncryption.BRAKE,
)
_DECIDED_SHARE = 0.3  # of an operator's looks, while things happen


class BrakedWorld(World):
    """Counts the decisions, by verdict."""

    def __init__(self, seed: int, directory: bytes) -> None:
        self.verdicts: list[Verdict] = []
        super().__init__(seed, directory)
        self._deciders = self._stream("deciders")

    def add_site(self, name: str, site_name: str = "") -> SimulatedSite:
        """Every third site has no brakes, so that the others need those of the receiving side."""
        site = super().add_site(name, site_name)
        site.brake_limits = NO_BRAKES if len(self.sites) % 3 == 2 else _LOW
        return site

    def _operate(self, site: SimulatedSite) -> None:
        super()._operate(site)
        if self._deciders.random() < _DECIDED_SHARE:
            self._decide(site)

    def _round(self, pause_s: float) -> bool:
        has_decided = [self._decide(site) for site in self.sites]
        return super()._round(pause_s) or any(has_decided)

    def _decide(self, site: SimulatedSite) -> bool:
        """Decides about some brake that is known at a site; returns whether there was one."""
        if site.engine is None:
            return False
        undecided = [brake for brake in site.engine.brakes() if brake.verdict is None]
        if not undecided:
            return False
        brake, verdict = self._deciders.choice(undecided), self._deciders.choice(list(Verdict))
        self.trace.add(site.name, "brake", brake.name, brake.kind, verdict.name)
        try:
            site.engine.decisions.decide_brake(brake.name, verdict)
        except (Killed, GeosyncError) as error:
            self.trace.add(site.name, "not decided", error)
            return True
        self.verdicts.append(verdict)
        return True


def run_braked(seed: int) -> list[Verdict]:
    """Runs a seed, with all invariants at its end; returns what was decided."""
    with alive(partial(BrakedWorld, seed)) as world:
        world.run()
        assert all(site.engine is None or not site.engine.brakes() for site in world.sites)
        return world.verdicts


def test_brakes_and_decisions_lose_nothing_and_all_sites_converge() -> None:
    verdicts = [verdict for seed in SEEDS for verdict in run_braked(seed)]
    assert set(verdicts) == set(Verdict)
