"""What every part of the engine works on: this site's identity, disk, journal, store and clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from conflict.brakes import BrakeLimits
from conflict.stamp import HybridClock
from conflict.synced import Path
from conflict.version import ActorId, VersionVector
from geosync.clock import Clock
from geosync.configuration.capture_rules import CaptureRules
from geosync.configuration.checkpoint_pace import CheckpointPace
from geosync.configuration.collection_pace import CollectionPace
from geosync.configuration.large_files import LargeFiles
from geosync.configuration.merge_program_rules import MergeProgram
from geosync.configuration.volume_configuration import DriftPolicy, Mode
from geosync.disk.interface import Disk, RelativePath
from geosync.engine.progress import Progress
from geosync.engine.role import MULTI_MASTER, Role
from geosync.ignore_spec import IgnoreSpec
from geosync.journal.journal import Journal
from transport.hashing import VolumeHasher
from transport.object_store import ObjectStore
from transport.operation_codec import decode_vector, encode_vector

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Pool(Protocol):
    """Runs a function on many items, perhaps in several threads, and keeps their order.

    Attributes:
        workers: on so many at a time.
    """

    workers: int

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Iterator[_Result]:
        """Yields the results in the order of the items; an exception is raised in its turn."""
        ...

    def repeat(self, step: Callable[[], bool]) -> None:
        """Calls a step again and again, until it returns False; it may go on in the background.

        An exception that a step lets out ends it unseen. At most some steps go on at a time; the
        others wait for their turn, and no `map` for any of them.
        """
        ...

    def begin(
        self, function: Callable[[_Item], _Result], item: _Item, *, is_soon_awaited: bool = False
    ) -> Future[_Result]:
        """Begins one item, and does not wait for its end, where there are threads.

        No `map` waits for any of these, and no `repeat`: they have workers of their own. Those
        that are soon awaited take their turn with the items of `map`.
        """
        ...


class SerialPool:
    """Runs everything in the calling thread: for simulation and small work."""

    workers = 1

    def map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Iterator[_Result]:
        """See Pool."""
        return map(function, items)

    def repeat(self, step: Callable[[], bool]) -> None:
        """Calls a step until it returns False, and returns then. See Pool."""
        while step():
            pass

    def begin(
        self,
        function: Callable[[_Item], _Result],
        item: _Item,
        *,
        is_soon_awaited: bool = False,  # noqa: ARG002 - there is one thread
    ) -> Future[_Result]:
        """See Pool: it is over when this returns."""
        future: Future[_Result] = Future()
        try:
            future.set_result(function(item))
        except Exception as error:  # noqa: BLE001 - whoever asks for the result raises it
            future.set_exception(error)
        return future


class OnStored(Protocol):
    """Is called when the store has got a segment of ours."""

    def __call__(self, sequence: int, *, is_news: bool) -> None:
        """Takes its sequence, and whether it holds more than an acknowledgement."""
        ...


def _tell_nobody(sequence: int, *, is_news: bool) -> None:
    """See OnStored."""


@dataclass(slots=True)
class Site:
    """One site of one volume, while its engine runs.

    Attributes:
        syncs_fifos: whether a FIFO that a program makes here becomes part of the volume.
        capture_rules: what is done with files that are open all the time, and with groups.
        brake_limits: how much may go at once without anybody being asked.
        mode: as configured.
        drift: what becomes of changes on this disk where nothing is captured.
        ignored: names that are left alone on this disk; see geosync.engine.ignoring.
        merge_programs: programs that merge versions of a file, by the names that policies use.
        checkpoint_pace: when checkpoints are due.
        large_files: which files are read and sent bit by bit.
        role: what the site does now; see geosync.engine.roles.
        progress: how far it is with what takes long.
        on_stored: see OnStored.
    """

    volume: str
    name: str
    actor: ActorId
    disk: Disk
    journal: Journal
    store: ObjectStore
    clock: Clock
    hasher: VolumeHasher
    state_dir: bytes
    pool: Pool = field(default_factory=SerialPool)
    syncs_fifos: bool = True
    capture_rules: CaptureRules = field(default_factory=CaptureRules)
    brake_limits: BrakeLimits = field(default_factory=BrakeLimits)
    mode: Mode = Mode.MULTI_MASTER
    drift: DriftPolicy = DriftPolicy.KEEP
    ignored: IgnoreSpec = field(default_factory=lambda: IgnoreSpec(()))
    merge_programs: Mapping[str, MergeProgram] = field(default_factory=dict)
    checkpoint_pace: CheckpointPace = field(default_factory=CheckpointPace)
    collection_pace: CollectionPace = field(default_factory=CollectionPace)
    large_files: LargeFiles = field(default_factory=LargeFiles)
    role: Role = MULTI_MASTER
    progress: Progress = field(default_factory=Progress)
    on_stored: OnStored = _tell_nobody

    def now_ms(self) -> int:
        """Milliseconds since 1970 by this machine's clock."""
        return self.clock.wall_ns() // 1_000_000

    def hybrid_clock(self) -> HybridClock:
        """The logical clock of our actor, as the journal knows it."""
        return HybridClock(
            self.actor,
            self.journal.integer_setting("clock_epoch"),
            self.journal.integer_setting("clock_ticks"),
        )

    def save_hybrid_clock(self, clock: HybridClock) -> None:
        """Keeps the logical clock; belongs into the transaction that used it."""
        self.journal.set_setting("clock_epoch", clock.epoch)
        self.journal.set_setting("clock_ticks", clock.ticks)

    def applied(self) -> VersionVector:
        """What is on our disk for certain: all that was received when nothing was left to do."""
        stored = self.journal.setting("applied")
        return VersionVector() if stored is None else decode_vector(stored)

    def save_applied(self, applied: VersionVector) -> None:
        """Keeps that vector; belongs into a transaction."""
        self.journal.set_setting("applied", encode_vector(applied))

    def report(self, subject: bytes, text: str | None) -> None:
        """Records a problem for the operator, or with None that it is over."""
        if text is None:
            self.journal.clear_problem(subject)
        else:
            self.journal.set_problem(subject, text, self.now_ms())


def joined(path: Path) -> RelativePath:
    """Writes names as a path of the disk."""
    return RelativePath(b"/".join(path))


def split(path: bytes) -> Path:
    """Takes a path of the disk apart."""
    return tuple(path.split(b"/")) if path else ()
