"""Worlds with a primary, standbys and a replica, whose operators switch as it comes.

Programs write everywhere, also where nothing is captured. In the end each site that can is made
the primary once, so that what drifted there becomes part of the volume; then all invariants hold
as in any other world. A replica puts its drift back, and what was there is counted as kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from conflict.epochs import Tenure
from conflict.errors import GeosyncError
from conflict.observation import DiskKind
from geosync.configuration.volume_configuration import DriftPolicy, Mode
from geosync.engine.roles import succession_of
from tests.simulation.inode_file_system import Inode
from tests.simulation.invariants import Violation, engine_of, require
from tests.simulation.ledger import content_of
from tests.simulation.mortality import Killed
from tests.simulation.published import digest_of
from tests.simulation.simulated_site import SimulatedSite
from tests.simulation.world import World

SWITCH_SHARE = 0.06  # of an operator's looks, while things happen
PATIENCE_ROUNDS = 80


class ModedWorld(World):
    """Counts what its operators did."""

    def __init__(self, seed: int, directory: bytes) -> None:
        self.done: Counter[str] = Counter()
        super().__init__(seed, directory, has_incidents=False)
        self.weather = replace(self.weather, operator_rate=0.0)  # who may decide against an epoch
        self._switchers = self._stream("switchers")

    def add_site(self, name: str, site_name: str = "") -> SimulatedSite:
        """The first site is the primary, and the fourth a replica."""
        site = super().add_site(name, site_name)
        number = len(self.sites)
        site.mode = {1: Mode.PRIMARY, 4: Mode.REPLICA}.get(number, Mode.STANDBY)
        if site.mode is Mode.REPLICA:
            site.drift = DriftPolicy.REVERT
        return site

    # While things happen

    def _operate(self, site: SimulatedSite) -> None:
        super()._operate(site)
        if site.engine is not None and self._switchers.random() < SWITCH_SHARE:
            self._switch(site, self._switchers.choice(("demote", "promote", "force")))

    def _switch(self, site: SimulatedSite, what: str) -> bool:
        """Has an operator switch; returns whether that was done."""
        engine = engine_of(site)
        try:
            if what == "demote":
                engine.demote()
                is_done = True
            else:
                is_done = engine.promote(is_forced=what == "force").state == "done"
        except (Killed, GeosyncError) as error:
            self.trace.add(site.name, what, error)
            return False
        self.trace.add(site.name, what, is_done)
        self.done[what] += is_done
        return is_done

    # The end

    def _settle(self) -> None:
        candidates = [site for site in self.sites if site.mode is not Mode.REPLICA]
        for site in (*candidates[1:], candidates[0]):
            self._make_primary(site)
        super()._settle()
        self._count_set_aside()
        check_one_primary(self)

    def _make_primary(self, site: SimulatedSite) -> None:
        """Waits until all have heard of each other, and promotes a site by force."""
        for _ in range(PATIENCE_ROUNDS):
            self._round(1.1)
            if site.engine is not None and self._is_primary_alone(site):
                return
            is_old = site.engine is not None and site.engine.site.role.name == "standby"
            if is_old and not site.engine._joining.is_under_way:
                self._switch(site, "force")
        raise Violation(f"{site.name} never became the primary: {self._unsettled()}")

    def _is_primary_alone(self, site: SimulatedSite) -> bool:
        roles = {each.name: each.engine and each.engine.site.role.name for each in self.sites}
        others = {role for name, role in roles.items() if name != site.name}
        is_told = all(
            each.engine is not None and _current(each) == _current(site) for each in self.sites
        )
        return roles[site.name] == "primary" and others <= {"standby", "replica"} and is_told

    def _count_set_aside(self) -> None:
        for site in self.sites:
            engine = engine_of(site)
            for kept in engine.site.journal.drift.set_aside():
                for inode in _inodes_at(site, kept.kept_at):
                    self.decided.add(digest_of(engine.site.hasher, inode.kind, content_of(inode)))
            require(engine.site.journal.drift.count() == 0, f"{site.name} has drift left")


def _inodes_at(site: SimulatedSite, path: bytes) -> Iterator[Inode]:
    """Yields what is at a path, or below the directory that is there."""
    inode = site.machine.file_system.find(path)
    require(inode is not None, f"{site.name} has lost {path!r}")
    assert inode is not None
    if inode.kind is not DiskKind.DIRECTORY:
        yield inode
        return
    for name in inode.names:
        yield from _inodes_at(site, path + b"/" + name)


def _current(site: SimulatedSite) -> Tenure | None:
    return succession_of(engine_of(site).site.journal).current


def check_one_primary(world: ModedWorld) -> None:
    """All sites name the same one, and late writes lost, or are told to have done no harm."""
    primaries = [s.name for s in world.sites if engine_of(s).site.role.name == "primary"]
    require(len(primaries) == 1, f"the primaries are {primaries}")
    known = {_current(site) for site in world.sites}
    require(len(known) == 1, f"the sites do not agree who is the primary: {known}")
    for site in world.sites:
        late = {each.dot for each in engine_of(site).site.journal.drift.late_writes()}
        for conflict in engine_of(site).conflicts():
            winner = conflict.winner_version
            has_won = winner is not None and winner.dot in late and conflict.loser.dot not in late
            require(not has_won, f"{site.name}: what was written late has won: {conflict}")
