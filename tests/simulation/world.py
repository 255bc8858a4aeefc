"""A world of several sites from one seed: faults and users, then quiet, then the invariants."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TypeVar

from conflict.errors import GeosyncError
from conflict.policy import ConflictPolicy, PolicyRule
from conflict.report import Conflict
from conflict.synced import Path, entry_at_path
from geosync.engine.checkpoint_keeping import TURN_S
from geosync.engine.resolving import Choice
from tests.simulation import machine_incidents  # noqa: F401 - enters its incidents
from tests.simulation.incidents import INCIDENTS
from tests.simulation.inode_file_system import FileSystem
from tests.simulation.invariants import (
    Violation,
    check_at_rest,
    check_idle,
)
from tests.simulation.ledger import Ledger, Written
from tests.simulation.mortality import Killed
from tests.simulation.old_files import OldFiles
from tests.simulation.simulated_application import SimulatedApplication
from tests.simulation.simulated_clock import NS_PER_S, SimulatedClock, SimulatedTime
from tests.simulation.simulated_site import SimulatedSite, Surroundings
from tests.simulation.simulated_stage import TRASH
from tests.simulation.simulated_store import SimulatedStore, StoreFaults, nobody
from tests.simulation.trace import Trace
from tests.simulation.weather import (
    Weather,
    small_limits,
    weather_of,
    with_checkpoints,
    with_incidents,
)
from tests.simulation.workload import Machine
from tests.support.local_sites import quick_directory
from transport.object_names import VOLUME_RECORD

AnyWorld = TypeVar("AnyWorld", bound="World")
SETTLE_ROUNDS_MAX = 150
IDLE_ROUNDS = 6
LAST_STRIKE_RATE = 0.5
TRASH_WATCHED_S = 70.0
YEAR_S = 365 * 86_400
EVERYTHING: dict[Path, bool] = {(): True}
POLICIES: tuple[tuple[PolicyRule, ...], ...] = (
    (),
    (PolicyRule(b"*", ConflictPolicy.BESIDE),),
    (PolicyRule(b"*", ConflictPolicy.SITE_PRIORITY, (b"site1", b"site0")),),
    (PolicyRule(b"*.txt", ConflictPolicy.BESIDE), PolicyRule(b"a/**", ConflictPolicy.NEWEST)),
    (PolicyRule(b"**/a", ConflictPolicy.BESIDE), PolicyRule(b"d/*", ConflictPolicy.OUTSIDE)),
)


class World:
    """Everything there is in one run. Each part draws from a random stream of its own."""

    def __init__(
        self,
        seed: int,
        directory: bytes,
        *,
        has_incidents: bool = True,
        has_checkpoints: bool = False,
    ) -> None:
        """Makes the world of a seed.

        Args:
            seed: decides about everything.
            directory: for the journals.
            has_incidents: whether anything befalls whole machines.
            has_checkpoints: whether checkpoints are due every few operations.
        """
        self.seed = seed
        self.time = SimulatedTime()
        self.trace = Trace(self.time)
        self.weather: Weather = weather_of(self._stream("weather"))
        if has_incidents:
            self.weather = with_incidents(self.weather, self._stream)
        self._has_checkpoints = has_checkpoints
        if has_checkpoints:
            self.weather = with_checkpoints(self.weather, self._stream)
        self.store = SimulatedStore(self.time, self._stream("store"))
        self.ledger = Ledger()
        self.old_files = OldFiles()
        self.hidden: set[Written] = set()  # was written where no root was mounted
        self.is_any_set_back = False  # a machine goes on with what it was before, or is cloned
        self.decided: set[bytes] = set()  # contents that an operator decided against
        self.computed: set[bytes] = set()  # contents that a site made of others, for a policy
        self.has_newest_policy = False  # losers are kept in the history only
        self._schedule = self._stream("schedule")
        self._operators = self._stream("operators")
        rates = self.weather.incidents
        self._incidents = {name: self._stream(f"incidents of the run/{name}") for name in rates}
        self._shared = Surroundings(seed, self.weather, self.store, self.trace, directory)
        self._is_faulty = False
        self.sites: list[SimulatedSite] = []
        for number in range(self.weather.site_count):
            self.add_site(f"site{number}")

    def _stream(self, what: str) -> random.Random:
        return random.Random(f"{self.seed}/{what}")

    def add_site(self, name: str, site_name: str = "") -> SimulatedSite:
        """Adds a machine with an empty disk.

        Args:
            name: of the machine.
            site_name: by which the volume knows it, unless it is the same.
        """
        clock = SimulatedClock(self.time)
        clock.drift_ppm = self._schedule.choice((0, 100, -100))
        if name == "site1" and self.weather.has_poisoned_clock:
            clock.step(10 * YEAR_S * NS_PER_S)
        disk = FileSystem(clock)
        application = SimulatedApplication(disk)
        machine = Machine(name, application, disk, self.ledger, self.trace, self.old_files)
        site = SimulatedSite(name, machine, clock, self._shared, site_name)
        if self._is_faulty:
            self._begin_faults_of(site)
        self.sites.append(site)
        return site

    def note_set_back(self, site: SimulatedSite) -> None:
        """Notes that a machine is what it was before, or what another one was."""
        self.is_any_set_back = True
        if self._shared.hasher is not None:
            tree = site.application.tree()
            self.old_files.note(tree, self._shared.published(), self._shared.hasher)

    def mount(self, site: SimulatedSite) -> None:
        """Brings a root back; what was written in its place is not in it."""
        self.hidden |= site.hide()

    def acknowledged(self) -> dict[str, set[bytes]]:
        """Returns what the store said it has."""
        return self._shared.acknowledged

    def close(self) -> None:
        """Closes all journals."""
        for site in self.sites:
            site.close()

    # A run

    def run(self) -> None:
        """Lets everything happen. Raises Violation, or whatever an engine raises."""
        self.trace.add("world", "weather", self.weather)
        self._begin()
        self._begin_faults()
        for _ in range(self.weather.step_count):
            self._step()
        self._strike(LAST_STRIKE_RATE)  # no program touches what is set back just now
        self._calm_down()
        self._settle()
        check_at_rest(self)
        if self._has_checkpoints:
            self._join_late()
        self._idle()
        for name in sorted(self.store.sent):
            self.trace.add("store", "object", name)
            for body in sorted(self.store.sent[name]):
                self.trace.add_bytes(body)

    def _begin(self) -> None:
        """Creates the volume: one site, or two that know nothing of each other."""
        if self.weather.is_begun_together:
            when, other = self._stream("begun").choice(("before", "after")), self.sites[1]

            def begin_other(moment: str, _site: str, name: str) -> None:
                if moment == when and name == VOLUME_RECORD:
                    self.store.watcher = nobody
                    other.start()

            self.store.faults = StoreFaults(lag=0.5, delay_s_max=1.5, is_quorum_certain=True)
            self.store.watcher = begin_other
        self.sites[0].start()

    def _begin_faults(self) -> None:
        self._is_faulty = True
        self.store.faults = self.weather.store
        for site in self.sites:
            self._begin_faults_of(site)

    def _begin_faults_of(self, site: SimulatedSite) -> None:
        site.dice.faults = self.weather.disk
        site.death.rate = self.weather.death_rate
        if self.weather.incidents:
            site.death_at_start.rate = self.weather.death_rate

    def _strike(self, rate: float | None = None) -> None:
        """Lets incidents happen, each at its rate, or all at this one."""
        for name, fate in self._incidents.items():
            if fate.random() < (rate or self.weather.incidents[name]):
                did = INCIDENTS[name](self, fate)
                if did:
                    self.trace.add("world", name.replace(" ", "-"), did)

    def _step(self) -> None:
        self._strike()
        self.time.advance(self._schedule.choice((0.01, 0.1, 0.3, 0.3, 1, 1, 5, 40)))
        self._change_weather()
        site = self._schedule.choice(self.sites)
        if self._schedule.random() < self.weather.user_share:
            site.user.act()
        elif site.engine is None:
            site.start()
        else:
            site.cycle(self._dirty(site))
            self._operate(site)

    def _dirty(self, site: SimulatedSite) -> dict[Path, bool]:
        """Returns what the watcher saw; sometimes it lost something, and says look everywhere."""
        seen = dict.fromkeys(sorted(site.user.dirty), True)
        site.user.dirty.clear()
        if self._schedule.random() < 0.3:
            return EVERYTHING
        if self._schedule.random() < self.weather.lost_hint_rate:
            return {}
        return seen

    def _change_weather(self) -> None:
        fate, weather = self._schedule, self.weather
        if fate.random() < weather.partition_rate:
            self._partition(fate)
        site = fate.choice(self.sites)
        if fate.random() < weather.clock_step_rate:
            by_s = fate.choice((-YEAR_S, -3600, -1, 1, 3600, YEAR_S))
            site.clock.step(by_s * NS_PER_S)
            self.trace.add(site.name, "clock-step", by_s)
        if site.engine is not None and fate.random() < weather.death_rate * 2:
            site.kill(with_power=fate.random() < weather.power_cut_share)

    def _partition(self, fate: random.Random) -> None:
        kind = fate.choice(("down", "up", "split", "join", "cut off", "cut off"))
        match kind:
            case "down" | "up":
                self.store.is_down = kind == "down"
            case "split":
                self.store.split()
            case "join":
                self.store.join()
            case _:
                names = [site.name for site in self.sites]
                self.store.cut_off = set(fate.sample(names, fate.randrange(len(names))))
        self.trace.add("store", kind, sorted(self.store.cut_off))

    # Operators

    def _operate(self, site: SimulatedSite) -> None:
        fate = self._operators
        if site.engine is None or fate.random() >= self.weather.operator_rate:
            return
        try:
            if fate.random() < 0.3:
                rules = fate.choice(POLICIES)
                newest = (rule.policy is ConflictPolicy.NEWEST for rule in rules)
                self.has_newest_policy = self.has_newest_policy or any(newest)
                site.engine.decisions.set_policies(rules)
                self.trace.add(site.name, "policy", rules)
            else:
                self._resolve(site, fate)
        except Killed:
            return
        except GeosyncError as error:
            self.trace.add(site.name, "refused", error)

    def _resolve(self, site: SimulatedSite, fate: random.Random) -> None:
        assert site.engine is not None
        found = site.engine.conflicts()
        if not found:
            return
        conflict, choice = fate.choice(found), fate.choice(list(Choice))
        self.trace.add(site.name, "resolve", conflict.identity, conflict.path, choice.value)
        self._note_decision(site, conflict, choice)
        site.engine.decisions.resolve(
            conflict.identity, choice
        )  # it may be killed when that is written
        # As the engine found it, once it knew what an interrupted change had left there.
        self._note_decision(site, conflict, choice)

    def _note_decision(self, site: SimulatedSite, conflict: Conflict, choice: Choice) -> None:
        assert site.engine is not None
        if choice is Choice.WINNER:
            self.decided.add(conflict.loser.content.digest)
        elif choice is Choice.LOSER:
            here = entry_at_path(site.engine.site.journal.synced, conflict.path)
            if here is not None and here.content is not None:
                self.decided.add(here.content.digest)

    # The end

    def _calm_down(self) -> None:
        self.store.quiet()
        for site in self.sites:
            if not site.machine.file_system.is_mounted:
                self.mount(site)
            site.calm_down()
        self.trace.add("world", "quiet")

    def _settle(self) -> None:
        """Lets all sites work until nothing is left to do. Raises Violation when that never is.

        What takes turns, such as writing a checkpoint, may wait for several of them.
        """
        for number in range(SETTLE_ROUNDS_MAX):
            if not self._round(_pause_s(number, 1.1)):
                break
        else:
            raise Violation(f"not settled after {SETTLE_ROUNDS_MAX} rounds: {self._unsettled()}")
        self.time.advance(TRASH_WATCHED_S)  # displaced files were watched long enough then
        for number in range(SETTLE_ROUNDS_MAX):  # a checkpoint may be due by age only now
            if not self._round(_pause_s(number, 5.5)) and not self._is_trash_watched():
                return
        raise Violation(f"not settled a minute later: {self._unsettled()}")

    def _round(self, pause_s: float) -> bool:
        """Lets each site do one cycle; returns whether anything is left to do."""
        self.time.advance(pause_s)
        is_busy = False
        for site in self.sites:
            if site.engine is None:
                site.start()
                if site.is_root_refused:  # its operator does what the message says
                    site.lose_journal()
                is_busy = True
                continue
            is_busy = self._cycles(site) or is_busy
        received = {site.engine.site.journal.log.received() for site in self.sites if site.engine}
        return is_busy or len(received) > 1

    def _cycles(self, site: SimulatedSite) -> bool:
        """Lets a site look at everything; returns whether it has anything left to do."""
        assert site.engine is not None
        cycle = site.cycle(EVERYTHING)
        did_work = False
        while cycle is not None and (cycle.has_more or site.engine.has_slice()):
            did_work = did_work or cycle.did_work
            cycle = site.cycle({})
        if cycle is None or site.engine is None:  # its journal is superseded: it starts anew
            return True
        did_work = did_work or cycle.did_work or site.engine.is_keeping_checkpoints()
        return did_work or not site.engine.is_settled()

    def _is_trash_watched(self) -> bool:
        return any(
            site.engine is not None
            and (site.engine.site.journal.retired() or site.machine.file_system.lookup(TRASH).names)
            for site in self.sites
        )

    def _unsettled(self) -> str:
        return "; ".join(
            f"{site.name}: {site.engine.waiting()} {site.engine.site.journal.problems()}"
            for site in self.sites
            if site.engine is not None
        )

    def _join_late(self) -> None:
        """A new site gets everything, whatever was deleted of the logs."""
        self.add_site("late").calm_down()
        self._settle()
        check_at_rest(self)

    def _idle(self) -> None:
        """Nobody does anything any more, so nothing may happen."""
        before = [dict(site.machine.file_system.inodes) for site in self.sites]
        sent = {name: set(bodies) for name, bodies in self.store.sent.items()}
        for _ in range(IDLE_ROUNDS):
            if self._round(10.0):
                raise Violation("a cycle did work after all was settled")
        check_idle(self, before, sent)


def _pause_s(number: int, shortest_s: float) -> float:
    """Returns how much time passes before a round; more of it where something takes turns."""
    return shortest_s if number < SETTLE_ROUNDS_MAX // 2 else TURN_S / 10


@contextmanager
def alive(make: Callable[[bytes], AnyWorld]) -> Iterator[AnyWorld]:
    """Makes a world, with its journals in a directory in memory that goes afterwards."""
    with (
        quick_directory() as directory,
        closing(make(directory)) as world,
        small_limits(world.weather),
    ):
        yield world


def world_of(
    seed: int, *, has_incidents: bool = True, has_checkpoints: bool = False
) -> AbstractContextManager[World]:
    """Makes the world of a seed."""
    return alive(
        lambda directory: World(
            seed, directory, has_incidents=has_incidents, has_checkpoints=has_checkpoints
        )
    )
