"""One site of a simulated world: a real engine and journal on a disk, store and clock that are not.

The process may die anywhere and is started again; the disk, the journal's directory and the
programs of the users outlive it, unless the machine is set back to what it was before.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from conflict.brakes import NO_BRAKES
from conflict.observation import DiskKind
from conflict.operations import Transaction
from conflict.synced import Path
from geosync.assembly.journal_of_root import open_journal, set_journal_aside
from geosync.configuration.volume_configuration import DriftPolicy, Mode
from geosync.disk.interface import PRIVATE_DIRECTORY, EntryUnreadable, RootLost
from geosync.engine.cycle import Cycle
from geosync.engine.engine import Engine
from geosync.engine.joining import JOINING
from geosync.engine.membership import Identity, Randomness, identify
from geosync.engine.site import Site
from geosync.errors import OperatorError
from tests.simulation.deletion_witness import watch_deletions
from tests.simulation.disk_dice import NO_FAULTS, DiskDice
from tests.simulation.inode_file_system import FileSystem, Image
from tests.simulation.ledger import Written, content_of, is_unique, taken
from tests.simulation.mortality import Death, Killed, MortalJournal, MortalStore
from tests.simulation.published import VOLUME, Log, contents_in, digest_of, read_segments
from tests.simulation.simulated_application import SimulatedApplication
from tests.simulation.simulated_clock import SimulatedClock
from tests.simulation.simulated_disk import SimulatedDisk
from tests.simulation.simulated_store import SimulatedStore
from tests.simulation.trace import Trace
from tests.simulation.weather import Weather
from tests.simulation.workload import Machine, RandomUser
from transport.errors import StoreUnavailable
from transport.hashing import VolumeHasher

SEED_PHRASE = "%s/%s/%s"


@dataclass(slots=True)
class Surroundings:
    """What all sites share."""

    seed: int
    weather: Weather
    store: SimulatedStore
    trace: Trace
    directory: bytes
    acknowledged: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    hasher: VolumeHasher | None = None  # once the volume was created

    def note_acknowledged(self, name: str, body: bytes) -> None:
        """Notes what the store said it has."""
        self.acknowledged[name].add(body)

    def published(self) -> Log:
        """Returns what the store holds of the volume now."""
        assert self.hasher is not None, "there is no volume yet"
        return read_segments(self.store.bodies(), self.hasher)


@dataclass(frozen=True, slots=True)
class Backup:
    """A machine as it was at one moment: its disk, and a copy of its state directory."""

    image: Image
    state_dir: bytes
    actor: bytes
    committed: tuple[Transaction, ...]


class SimulatedSite:
    """A machine with a disk, users, and a daemon that runs most of the time.

    Attributes:
        name: of the machine, which no other one has.
        site_name: as the volume knows it: a clone's is that of its original.
        engine: None while the daemon is dead.
        committed: every transaction of this actor that was ever committed: the store must get it.
        actor: of the last start.
        backups: of this machine.
        is_root_refused: whether the journal says that the root is another one.
        brake_limits: from the next start on.
        mode: from the next start on; `drift` too.
    """

    def __init__(
        self,
        name: str,
        machine: Machine,
        clock: SimulatedClock,
        shared: Surroundings,
        site_name: str = "",
    ) -> None:
        self.name = name
        self.site_name = site_name or name
        self.machine = machine
        self.clock = clock
        self.engine: Engine | None = None
        self.committed: list[Transaction] = []
        self.actor = b""
        self.backups: list[Backup] = []
        self._backup_count = 0
        self.is_root_refused = False
        self.brake_limits = NO_BRAKES
        self.mode = Mode.MULTI_MASTER
        self.drift = DriftPolicy.KEEP
        self._shared = shared
        self._journal: MortalJournal | None = None
        self._disk: SimulatedDisk | None = None
        self._state_dir = os.path.join(shared.directory, name.encode())
        os.mkdir(self._state_dir)
        self.dice = DiskDice(self.stream("disk"))
        self.death = Death(self.stream("death"), self._die)
        self.death_at_start = Death(self.stream("death at start"), self._die)
        self._identity = self.stream("identity")
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
            self.is_root_refused = isinstance(error, RootLost)
            self._give_up()
            return
        self.is_root_refused = False
        self._trace("started", self.engine and self.engine.site.actor.hex()[:8])

    def _start(self) -> None:
        self.close()
        shared, names = self._shared, (VOLUME, self.site_name)
        client = shared.store.client(self.name)
        store = MortalStore(client, self.death, shared.note_acknowledged)
        self._disk = SimulatedDisk(self.machine.file_system, self.dice)
        self._disk.generation_window = self._generation_window
        journal = open_journal(
            self._state_dir,
            self._disk,
            names,
            self.clock,
            opening=self._open_journal,
        )
        assert isinstance(journal, MortalJournal)
        self._journal = journal
        self._disk.window, journal.death = self._window, self.death
        randomness = Randomness(self._identity.randbytes(16), self._identity.randbytes(32))
        may_write = self.mode is not Mode.REPLICA
        identity = identify(journal, store, self.clock, names, randomness, may_write=may_write)
        self._begin_life(identity)
        self.engine = Engine(
            Site(
                volume=VOLUME,
                name=self.site_name,
                actor=identity.actor,
                disk=self._disk,
                journal=journal,
                store=store,
                clock=self.clock,
                hasher=VolumeHasher(identity.volume_key),
                state_dir=self._state_dir,
                brake_limits=self.brake_limits,
                mode=self.mode,
                drift=self.drift,
                checkpoint_pace=self._shared.weather.checkpoint_pace,
                collection_pace=self._shared.weather.collection_pace,
                large_files=self._shared.weather.large_files,
            )
        )
        watch_deletions(self.engine.site, self.engine._capturer)

    def _open_journal(self, state_dir: bytes) -> MortalJournal:
        def note(transaction: Transaction) -> None:
            self.committed.append(transaction)

        return MortalJournal(state_dir, self.death_at_start, note)

    def _begin_life(self, identity: Identity) -> None:
        """Notes who this site is; what another actor committed and never sent is nobody's now."""
        self._shared.hasher = VolumeHasher(identity.volume_key)
        if identity.actor != self.actor:
            self.actor = identity.actor
            self.committed.clear()

    def cycle(self, dirty: dict[Path, bool]) -> Cycle | None:
        """Lets the daemon do one cycle; None when it died, or its journal is superseded."""
        assert self.engine is not None
        try:
            cycle = self.engine.cycle(dirty)
        except Killed:
            return None
        said = _said(cycle)
        if said != self._last_said or cycle.did_work:
            self._trace("cycle", said)
        self._last_said = said
        superseded = self.engine.superseded
        if superseded is not None:  # as the daemon does
            self._trace("superseded", superseded)
            self._give_up()
            set_journal_aside(self._state_dir, superseded)
            return None
        if isinstance(cycle.disk_error, RootLost):
            self._give_up()
            return None
        return cycle

    @property
    def is_joining(self) -> bool:
        """Tells whether it has not looked at all of its disk yet."""
        return self._journal is not None and self._journal.setting(JOINING) == b"1"

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
            gone = held - self._held_contents()
            self._note_lost(gone | taken(before, self.application.tree()))
            self.user.forget_open_files()
        else:
            self._disk.crash()
        self._disk.detach()
        self.engine = None

    def _held_contents(self) -> set[Written]:
        """Returns what all files hold, with a name in the tree or without."""
        inodes = self.machine.file_system.inodes.values()
        return {(inode.kind, content_of(inode)) for inode in inodes}

    def _give_up(self) -> None:
        if self._disk is not None:
            self._disk.crash()
        self.close()
        self.engine = None

    def close(self) -> None:
        """Closes the journal; a transaction that is open is rolled back."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    # What befalls the machine while the daemon is dead

    def back_up(self) -> None:
        """Copies the whole machine as it is now, also while the daemon runs."""
        self._backup_count += 1
        copy = self._state_dir + b"-backup-%d" % self._backup_count
        shutil.copytree(self._state_dir, copy)
        image = self.machine.file_system.snapshot()
        self.backups.append(Backup(image, copy, self.actor, tuple(self.committed)))

    def lose_journal(self) -> None:
        """Removes the state directory."""
        self.stop()
        self._note_lost_with_journal()
        shutil.rmtree(self._state_dir)
        os.mkdir(self._state_dir)
        self.actor = b""
        self.committed.clear()

    def set_journal_back(self, backup: Backup) -> None:
        """Puts an older copy of the state directory, perhaps another machine's, in its place."""
        self.lose_journal()
        os.rmdir(self._state_dir)
        shutil.copytree(backup.state_dir, self._state_dir)
        self.actor = backup.actor
        self.committed.extend(backup.committed)

    def change_disk(self, change: Callable[[], None]) -> None:
        """Lets something other than a program change the disk, while the daemon is dead.

        What was only there is gone for good then; what is published must survive.
        """
        self.stop()
        held = self._held_contents()
        change()
        self.user.forget_open_files()
        self._note_lost(held - self._held_contents(), is_journal_lost=True)

    def _note_lost(self, contents: set[Written], *, is_journal_lost: bool = False) -> None:
        """Notes what is gone for good: neither published nor, with the journal, captured."""
        shared = self._shared
        if shared.hasher is None:
            self.machine.ledger.note_lost(contents)
            return
        kept = contents_in(shared.published().operations)
        if not is_journal_lost:
            kept |= contents_in(each for one in self.committed for each in one)
        self.machine.ledger.note_lost(
            content for content in contents if digest_of(shared.hasher, *content) not in kept
        )

    def _note_lost_with_journal(self) -> None:
        """Notes what only the journal had, as the disk refused a copy: see docs/guarantees.md."""
        shared = self._shared
        if shared.hasher is None or shared.weather.disk == NO_FAULTS:
            return
        captured = contents_in(each for one in self.committed for each in one)
        captured -= contents_in(shared.published().operations)
        held = self._held_contents()
        self.machine.ledger.note_lost(
            content
            for content in self.machine.ledger.written
            if content not in held and digest_of(shared.hasher, *content) in captured
        )

    def hide(self) -> set[Written]:
        """Mounts the root again; returns what was written meanwhile, which is hidden now."""
        held = self._held_contents()
        self.machine.file_system.mount()
        self.user.forget_open_files()
        hidden = {content for content in held - self._held_contents() if is_unique(content)}
        self.machine.ledger.note_lost(hidden)
        return hidden

    def remove_private_directory(self) -> None:
        """Removes it, as a copy lacks it that was made without hidden files."""
        disk = self.machine.file_system
        below = [PRIVATE_DIRECTORY]
        for path in below:
            names = disk.lookup(path).names if _is_directory(disk, path) else ()
            below += [path + b"/" + name for name in names]
        for path in reversed(below):
            if _is_directory(disk, path):
                disk.remove_directory(path)
            else:
                disk.unlink(path)

    def stop(self) -> None:
        """Ends the daemon, if it runs, as a kill does."""
        if self.engine is not None:
            self.kill(with_power=False)
        self.close()

    # What happens while the daemon works

    def _generation_window(self, operation: str, _path: bytes) -> None:
        self.death_at_start.may_strike(f"in {operation}")

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
        self.death.rate = self.death_at_start.rate = 0.0
        self.dice.faults = NO_FAULTS
        self.user.finish_all()

    def _trace(self, what: str, *details: object) -> None:
        self._shared.trace.add(self.name, what, *details)


def _is_directory(disk: FileSystem, path: bytes) -> bool:
    return disk.lookup(path).kind is DiskKind.DIRECTORY


def _said(cycle: Cycle) -> str:
    said = f"captured={cycle.captured} received={cycle.received} applied={cycle.applied}"
    if cycle.published:
        said += " published"
    if cycle.blocked:
        said += f" blocked={sorted(cycle.blocked.items())}"
    errors = (cycle.store_error, cycle.disk_error)
    return said + "".join(f" {type(e).__name__}({e})" for e in errors if e is not None)
