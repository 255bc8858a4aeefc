"""Engines in this process, on real directories, for which time passes only when a test says so."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from conflict.brakes import BrakeLimits
from conflict.operations import Operation
from geosync.configuration.capture_rules import CaptureRules
from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.configuration.collection_pace import CollectionPace
from geosync.configuration.large_files import LargeFiles
from geosync.configuration.merge_program_rules import MergeProgram
from geosync.configuration.volume_configuration import DriftPolicy, Mode
from geosync.disk.capabilities import DiskCapabilities
from geosync.disk.interface import Disk
from geosync.disk.owner_names import OwnerNames
from geosync.disk.posix_disk import PosixDisk
from geosync.engine.cycle import Cycle
from geosync.engine.engine import Engine
from geosync.engine.membership import Randomness, identify
from geosync.engine.site import Site
from geosync.journal.journal import Journal
from tests.simulation.simulated_clock import SimulatedClock, SimulatedTime
from tests.support.recording_store import RecordingStore
from transport.errors import StoreUnavailable
from transport.hashing import VolumeHasher
from transport.object_names import log_prefix, parse_segment_name
from transport.object_store import ObjectStore
from transport.segment import SEGMENT_OBJECT_SIZE_BYTES_MAX, ExpectedSegment, decode_segment

T = TypeVar("T")
VOLUME = "volume"
ROUND_S = 3.5  # longer than any wait between two cycles: discovery, retries, confirmed deletions
ROUNDS_MAX = 40
QUICK_FILE_SYSTEM = "/dev/shm"


def unchanged(part: T) -> T:
    """Wraps nothing."""
    return part


@dataclass(slots=True)
class LocalSite:
    """One site: its directory, its state, and the engine while it is open.

    `wrap_disk`, `wrap_store` and `wrap_journal` put something around a part of the engine; they
    count from the next `open` on.
    """

    base: bytes
    name: str
    store: ObjectStore
    time: SimulatedTime
    wrap_disk: Callable[[Disk], Disk] = unchanged
    wrap_store: Callable[[ObjectStore], ObjectStore] = unchanged
    wrap_journal: Callable[[Journal], Journal] = unchanged
    names: OwnerNames | None = None
    syncs_fifos: bool = True
    accepts_setuid: bool = True
    incarnation: int = 0  # a site without its journal is another actor
    capabilities: DiskCapabilities | None = None  # protocols to use in place of the best ones
    capture_rules: CaptureRules = field(default_factory=CaptureRules)
    brake_limits: BrakeLimits = field(default_factory=BrakeLimits)
    merge_programs: dict[str, MergeProgram] = field(default_factory=dict)
    mode: Mode = Mode.MULTI_MASTER
    drift: DriftPolicy = DriftPolicy.KEEP
    checkpoint_pace: CheckpointPace = field(default_factory=CheckpointPace)
    collection_pace: CollectionPace = field(default_factory=CollectionPace)
    large_files: LargeFiles = field(default_factory=LargeFiles)
    link: RecordingStore = field(init=False)  # the way to the store: a test may cut it
    _engine: Engine | None = None
    _opened: list[PosixDisk | Journal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.link = RecordingStore(self.store)

    @property
    def root(self) -> bytes:
        """The directory that is synced."""
        return os.path.join(self.base, self.name.encode())

    @property
    def state_dir(self) -> bytes:
        """Where the journal is."""
        return os.path.join(self.base, b"state-" + self.name.encode())

    @property
    def engine(self) -> Engine:
        """The running engine."""
        assert self._engine is not None, f"{self.name} is closed"
        return self._engine

    @property
    def journal(self) -> Journal:
        """Its journal."""
        return self.engine.site.journal

    @property
    def label(self) -> str:
        """What the problems say of this site's log."""
        return f"log of {self.engine.site.actor.hex()}"

    def open(self) -> LocalSite:
        """Starts the engine, as the daemon does."""
        os.makedirs(self.root, exist_ok=True)
        os.makedirs(self.state_dir, exist_ok=True)
        clock = SimulatedClock(self.time)
        journal = Journal(self.state_dir)
        self._opened.append(journal)
        seed = hashlib.sha512(b"%s %d" % (self.name.encode(), self.incarnation)).digest()
        names = (VOLUME, self.name)
        randomness = Randomness(seed[:16], seed[-32:])
        may_write = self.mode is not Mode.REPLICA
        identity = identify(journal, self.store, clock, names, randomness, may_write=may_write)
        disk = PosixDisk(
            self.root, self.capabilities, accepts_setuid=self.accepts_setuid, names=self.names
        )
        self._opened.append(disk)
        disk.initialise()
        site = Site(
            volume=VOLUME,
            name=self.name,
            actor=identity.actor,
            disk=self.wrap_disk(disk),
            journal=self.wrap_journal(journal),
            store=self.wrap_store(self.link),
            clock=clock,
            hasher=VolumeHasher(identity.volume_key),
            state_dir=self.state_dir,
            capture_rules=self.capture_rules,
            brake_limits=self.brake_limits,
            merge_programs=self.merge_programs,
            syncs_fifos=self.syncs_fifos,
            mode=self.mode,
            checkpoint_pace=self.checkpoint_pace,
            collection_pace=self.collection_pace,
            large_files=self.large_files,
            drift=self.drift,
        )
        self._engine = Engine(site)
        return self

    def close(self) -> None:
        """Ends the engine; what is not in the journal or on the disk is forgotten, as in a kill."""
        if self._engine is not None:
            self._engine.close()  # a kill closes what is open as well
        self._engine = None
        for part in self._opened:
            part.close()
        self._opened.clear()

    def lose_journal(self) -> None:
        """Ends the engine and takes its journal away, as a broken disk of the machine does."""
        self.close()
        shutil.rmtree(self.state_dir)
        self.incarnation += 1

    def unwrap(self) -> None:
        """Puts nothing around anything from the next `open` on."""
        self.wrap_disk = unchanged
        self.wrap_store = unchanged
        self.wrap_journal = unchanged

    def reopen(self) -> LocalSite:
        """Ends the engine and starts it anew."""
        self.close()
        return self.open()

    def cycle(self) -> Cycle:
        """Lets the engine look at the whole directory, or at the rest of it; time passes then."""
        cycle = self.engine.cycle({} if self.engine.is_looking() else {(): True})
        self.time.advance(ROUND_S)
        return cycle

    def cycle_alone(self) -> Cycle:
        """As `cycle`, while the store can't be reached: what changed is captured and kept."""
        before, self.link.before = self.link.before, _cut
        try:
            return self.cycle()
        finally:
            self.link.before = before

    def path(self, relative: bytes) -> bytes:
        """Returns a path below the root."""
        return os.path.join(self.root, relative)

    def write(self, relative: bytes, content: bytes) -> None:
        """Writes a file in place, as a program does; makes the directories above it."""
        os.makedirs(os.path.dirname(self.path(relative)), exist_ok=True)
        with open(self.path(relative), "wb") as file:
            file.write(content)

    def read(self, relative: bytes) -> bytes:
        """Reads a file."""
        with open(self.path(relative), "rb") as file:
            return file.read()

    def problems(self) -> dict[str, str]:
        """Returns what the operator is told: subject -> text."""
        return {p.subject.decode(errors="replace"): p.text for p in self.journal.problems()}


def _cut(method: str, name: str) -> None:
    raise StoreUnavailable(f"{method} {name}: the link to the store is cut")


@contextmanager
def quick_directory() -> Iterator[bytes]:
    """Makes a directory in memory where there is one, as these tests sync thousands of times."""
    parent = QUICK_FILE_SYSTEM if os.access(QUICK_FILE_SYSTEM, os.W_OK) else None
    base = tempfile.mkdtemp(prefix="geosync-test-", dir=parent)
    try:
        yield base.encode()
    finally:
        shutil.rmtree(base)


@contextmanager
def local_sites(store: ObjectStore, *names: str, **settings: Any) -> Iterator[list[LocalSite]]:
    """Opens several sites of one volume, and removes all of them at the end.

    Args:
        store: where they meet.
        names: of the sites.
        settings: attributes of each LocalSite, such as its paces.
    """
    time = SimulatedTime()
    with quick_directory() as base:
        sites = [LocalSite(base, name, store, time, **settings) for name in names]
        try:
            yield [site.open() for site in sites]
        finally:
            for site in sites:
                site.close()


def settle(*sites: LocalSite) -> None:
    """Lets all sites run until none has anything left to do.

    Raises:
        AssertionError: they do not come to rest; says what waits, and what the operator is told.
    """
    for _ in range(ROUNDS_MAX):
        did_work = [site.cycle().did_work for site in sites]
        if not any(did_work) and all(site.engine.is_settled() for site in sites):
            return
    waiting = {site.name: (site.engine.waiting(), site.problems()) for site in sites}
    raise AssertionError(f"no rest after {ROUNDS_MAX} rounds: {waiting}")


def run(*sites: LocalSite, rounds: int = 6) -> list[Cycle]:
    """Lets all sites run for a while, where something is not to come to rest."""
    return [site.cycle() for _ in range(rounds) for site in sites]


def operations_of(site: LocalSite, store: ObjectStore) -> list[Operation]:
    """Reads what a site has written from the store, as a stranger with the volume's key would."""
    actor = site.engine.site.actor
    operations: list[Operation] = []
    for name in store.list_names(log_prefix(actor)):
        expected = ExpectedSegment(VOLUME, actor, parse_segment_name(name).sequence)
        body = store.get(name, size_bytes_max=SEGMENT_OBJECT_SIZE_BYTES_MAX)
        segment = decode_segment(body, site.engine.site.hasher, expected)
        operations += [o for transaction in segment.transactions for o in transaction]
    return operations
