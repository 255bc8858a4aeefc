"""Random failovers: whoever promotes, demotes or is cut off, one primary is left, with all."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from conflict.brakes import NO_BRAKES
from geosync.configuration.volume_configuration import Mode
from geosync.errors import OperatorError
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.disk_tree import contents_of, disk_tree
from tests.support.local_sites import LocalSite, quick_directory, run, settle
from transport.memory_store import MemoryStore

SHARED = [b"shared/%d" % number for number in range(4)]
ROLES = ["primary", "standby", "standby"]


@dataclass(slots=True)
class Drill:
    """Three sites on which everything happens in random order; it follows from the seed."""

    sites: list[LocalSite]
    rng: random.Random
    cut: set[str] = field(default_factory=set)
    own: list[tuple[LocalSite, bytes, bytes]] = field(default_factory=list)  # nobody overwrites it
    steps: list[str] = field(default_factory=list)

    def step(self) -> None:
        site = self.rng.choice(self.sites)
        often = (self._write, self._cycle) * 3
        rarely = (self._cut, self._heal, self._demote, self._promote, self._force, self._die)
        action = self.rng.choice((*often, *rarely))
        self.steps.append(f"{action.__name__} {site.name} as {self._role(site)}")
        action(site)

    def end(self) -> None:
        """Lets everybody hear everything, until one is the primary."""
        self.cut.clear()
        run(*self.sites, rounds=12)
        if not any(self._role(site) == "primary" for site in self.sites):
            self._force(self.sites[0])
        run(*self.sites, rounds=12)

    def _role(self, site: LocalSite) -> str:
        return site.engine.site.role.name

    def _write(self, site: LocalSite) -> None:
        content = b"content %d of %s" % (len(self.steps), site.name.encode())
        if self.rng.random() < 0.5:
            site.write(self.rng.choice(SHARED), content)
        else:
            path = b"own/%d" % len(self.steps)
            site.write(path, content)
            self.own.append((site, path, content))

    def _cycle(self, site: LocalSite) -> None:
        for _ in range(self.rng.randint(1, 3)):
            site.cycle_alone() if site.name in self.cut else site.cycle()

    def _cut(self, site: LocalSite) -> None:
        self.cut.add(site.name)

    def _heal(self, site: LocalSite) -> None:
        self.cut.discard(site.name)

    def _demote(self, site: LocalSite) -> None:
        site.engine.demote()

    def _promote(self, site: LocalSite) -> None:
        self._attempt(site, is_forced=False)

    def _force(self, site: LocalSite) -> None:
        self._attempt(site, is_forced=True)

    def _attempt(self, site: LocalSite, *, is_forced: bool) -> None:
        try:
            site.engine.promote(is_forced=is_forced)
        except OperatorError as error:
            self.steps.append(f"refused: {error}")  # it is about to hand over, or to join

    def _die(self, site: LocalSite) -> None:
        site.reopen()


@pytest.mark.parametrize("seed", range(8))
def test_one_primary_is_left_and_nothing_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    store, time = MemoryStore(), SimulatedTime()
    with quick_directory() as base:
        modes = (Mode.PRIMARY, Mode.STANDBY, Mode.STANDBY)
        sites = [
            LocalSite(base, name, store, time, mode=mode, brake_limits=NO_BRAKES)
            for name, mode in zip(("bari", "cnaf", "paris"), modes, strict=True)
        ]
        try:
            for path in SHARED:
                sites[0].write(path, b"before " + path)
            for site in sites:
                site.open()
            settle(*sites)
            drill = Drill(sites, rng)
            for _ in range(60):
                drill.step()
            drill.end()
            _check(drill)
        finally:
            for site in sites:
                site.close()


def _check(drill: Drill) -> None:
    sites = drill.sites
    assert sorted(site.engine.site.role.name for site in sites) == ROLES, drill.steps
    drifted = {site.name: {d.path for d in site.journal.drift.all()} for site in sites}
    trees = [disk_tree(site.root) for site in sites]
    for path in set.intersection(*map(set, trees)) - set.union(*drifted.values()):
        assert len({tree[path].content for tree in trees}) == 1, (path, drill.steps)
    contents = [contents_of(site.root) for site in sites]
    for site, path, content in drill.own:
        assert site.read(path) == content, (site.name, path, drill.steps)
        if path not in drifted[site.name]:
            assert all(content in found for found in contents), (site.name, path, drill.steps)
