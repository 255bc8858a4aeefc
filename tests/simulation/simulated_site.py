"""One site of a simulated world: a real engine and journal on a disk, store and clock that are not.

The process may die anywhere and is started again; the disk, the journal's directory and the
programs of the users outlive it.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

from conflict.operations import Transaction
from conflict.synced import Path
from geosync.disk.interface import PRIVATE_DIRECTORY, EntryUnreadable, RootLost
from geosync.engine.engine import Cycle, Engine
from geosync.engine.membership import Randomness, identify
from geosync.engine.site import Site
from geosync.errors import OperatorError
from tests.simulation.disk_dice import NO_FAULTS, DiskDice
from tests.simulation.ledger import Written, content_of
from tests.simulation.mortality import Death, Killed, MortalJournal, MortalStore
from tests.simulation.simulated_application import SimulatedApplication
from tests.simulation.simulated_clock import SimulatedClock
from tests.simulation.simulated_disk import SimulatedDisk
from tests.simulation.simulated_store import SimulatedStore
from tests.simulation.trace import Trace
from tests.simulation.weather import Weather
from tests.simulation.workload import Machine, RandomUser
from transport.errors import StoreUnavailable
from transport.hashing import VolumeHasher

VOLUME = "volume"
SEED_PHRASE = "%s/%s/%s"


@dataclass(slots=True)
class Surroundings:
    """What all sites share."""

    seed: int
    weather: Weather
    store: SimulatedStore
    trace: Trace
    directory: bytes


class SimulatedSite:
    """A machine with a disk, users, and a daemon that runs most of the time.

    Attributes:
        engine: None while the daemon is dead.
        committed: every transaction of ours that was ever committed: the store must get it.
    """

    def __init__(self, name: str, machine: Machine, clock: SimulatedClock, shared: Surroundings):
        self.name = name
        self.machine = machine
        self.clock = clock
        self.engine: Engine | None = None
        self.committed: list[Transaction] = []
        self._shared = shared
        self._journal: MortalJournal | None = None
        self._disk: SimulatedDisk | None = None
        self._marker: bytes | None = None
        self._state_dir = os.path.join(shared.directory, name.encode())
        os.mkdir(self._state_dir)
        self.dice = DiskDice(self.stream("disk"))
        self.death = Death(self.stream("death"), self._die)
        self.user = RandomUser(machine, self.stream("user"), shared.weather.features)
        self._power = self.stream("power")
        self._races = self.stream("races")
        self._is_quiet = False
        self._last_said = ""

    def stream(self, what: str) -> random.Random:
        """Returns a random stream of its own for one part of this site."""
        return random.Random(SEED_PHRASE % (self._shared.seed, self.name, what))

    @property
    def application(self) -> SimulatedApplication:
        """What the users of this site see."""
        return self.machine.application

    # The daemon

    def start(self) -> None:
        """Starts the daemon, which may fail as a real one may; then it is started again later."""
        try:
            self._start()
        except Killed:
            return
        except (StoreUnavailable, OperatorError, OSError, EntryUnreadable, RootLost) as error:
            self._trace("start-failed", f"{type(error).__name__} {error}")
            self._stop()
            return
        self._trace("started", self.engine and self.engine.site.actor.hex()[:8])

    def _start(self) -> None:
        self.close()
        randomness = self.stream("identity")
        store = MortalStore(self._shared.store.client(self.name), self.death)
        self._disk = SimulatedDisk(self.machine.file_system, self.dice)
        self._marker = self._disk.initialise(self._marker)
        self._disk.window = self._window
        self._journal = MortalJournal(self._state_dir, self.death, self.committed.append)
        identity = identify(
            self._journal,
            store,
            self.clock,
            (VOLUME, self.name),
            Randomness(randomness.randbytes(16), randomness.randbytes(32)),
        )
        self.engine = Engine(
            Site(
                volume=VOLUME,
                name=self.name,
                actor=identity.actor,
                disk=self._disk,
                journal=self._journal,
                store=store,
                clock=self.clock,
                hasher=VolumeHasher(identity.volume_key),
                state_dir=self._state_dir,
            )
        )

    def cycle(self, dirty: dict[Path, bool]) -> Cycle | None:
        """Lets the daemon do one cycle; None when it died."""
        assert self.engine is not None
        try:
            cycle = self.engine.cycle(dirty)
        except Killed:
            return None
        said = _said(cycle)
        if said != self._last_said or cycle.did_work:
            self._trace("cycle", said)
        self._last_said = said
        return cycle

    def kill(self, *, with_power: bool) -> None:
        """Kills the daemon between two cycles; with the power gone, the machine too."""
        self._end("between cycles", is_power_cut=with_power)

    def _die(self, point: str) -> None:
        share = self._shared.weather.power_cut_share
        self._end(point, is_power_cut=self._power.random() < share)

    def _end(self, point: str, *, is_power_cut: bool) -> None:
        self._trace("power-cut" if is_power_cut else "killed", point)
        self._shared.trace.counts["died " + " ".join(point.split(" ")[:2])] += 1
        assert self._disk is not None
        if is_power_cut:
            before, held = self.application.tree(), self._held_contents()
            self._disk.power_cut(self._power)
            self.machine.ledger.note(self.name, before, self.application.tree())
            self.machine.ledger.note_lost(held - self._held_contents())
            self.user.forget_open_files()
        else:
            self._disk.crash()
        self._disk.detach()
        self.engine = None

    def _held_contents(self) -> set[Written]:
        """Returns what all files hold, with a name in the tree or without."""
        inodes = self.machine.file_system.inodes.values()
        return {(inode.kind, content_of(inode)) for inode in inodes}

    def _stop(self) -> None:
        if self._disk is not None:
            self._disk.crash()
        self.close()
        self.engine = None

    def close(self) -> None:
        """Closes the journal; a transaction that is open is rolled back."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    # What happens while the daemon works

    def _window(self, operation: str, path: bytes) -> None:
        self.death.may_strike(f"in {operation}")
        rate = self._shared.weather.race_rate
        if self._is_quiet or rate == 0 or self._races.random() >= rate:
            return
        if operation == "read" or path.startswith(PRIVATE_DIRECTORY):
            self.user.act()
        else:
            self.user.race(path)

    def calm_down(self) -> None:
        """Ends all faults of this site; open files are written to and closed."""
        self._is_quiet = True
        self.death.rate = 0.0
        self.dice.faults = NO_FAULTS
        self.user.finish_all()

    def _trace(self, what: str, *details: object) -> None:
        self._shared.trace.add(self.name, what, *details)


def _said(cycle: Cycle) -> str:
    said = f"captured={cycle.captured} received={cycle.received} applied={cycle.applied}"
    if cycle.published:
        said += " published"
    if cycle.blocked:
        said += f" blocked={sorted(cycle.blocked.items())}"
    errors = (cycle.store_error, cycle.disk_error)
    return said + "".join(f" {type(e).__name__}({e})" for e in errors if e is not None)
