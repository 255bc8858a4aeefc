"""Power cuts: what a disk may hold when the power goes, mounted again, with an engine on it.

One run of an engine is recorded, with all writes and flushes of the device below its file system.
For a cut at some point, the device holds all that was written before the last flush, and of what
was written since then any part. Root and state directory are both on that device; the store and
the other site are elsewhere, and know what they had been told at that point.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import pytest

from conflict.errors import GeosyncError
from conflict.version import ActorId
from geosync.journal.journal import Journal
from tests.crash.crash_invariants import (
    Outcome,
    captured_operations,
    check,
    come_to_rest,
    kept_contents,
    settled_contents,
)
from tests.crash.crash_scenarios import Scenario, seed
from tests.crash.tally import Tally
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.disk_tree import contents_of
from tests.support.local_sites import LocalSite, quick_directory, settle
from tests.support.logged_device import LoggedDevice, Write, logged_device, records
from tests.support.logged_device import missing_requirement as logged_device_missing
from tests.support.loop_file_system import LoopFileSystemFailed, make_image, mounted
from tests.support.loop_file_system import missing_requirement as file_system_missing
from transport.memory_store import MemoryStore
from transport.object_store import AREAS, ObjectStore

_MIB: Final = 2**20
_IMAGE_SIZE_BYTES: Final = {"ext4": 64 * _MIB, "xfs": 300 * _MIB, "btrfs": 128 * _MIB}
_SECTOR_SIZE_BYTES: Final = 512
_DOWN_S: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Recording:
    """One run of an engine on a device.

    Attributes:
        kind: of the file system.
        scenario: what happened.
        base: image of the device before the run.
        log: of the device.
        start_bytes: the first position in the log at which the power may go.
        end_bytes: the last one.
        stored: what was in the store, each with the position from which on it may be there.
        commits: positions at which a commit of the journal had returned, each with the number of
            operations that this site had captured then.
        safe: contents that must be found whenever the power goes.
        contents: those that must be found once all is captured.
        outcome: what the site comes to if no power is cut.
        now_ns: time at the end.
    """

    kind: str
    scenario: Scenario
    base: Path
    log: Path
    start_bytes: int
    end_bytes: int
    stored: dict[str, tuple[int, bytes]]
    commits: list[tuple[int, int]]
    safe: set[bytes]
    contents: set[bytes]
    outcome: Outcome
    now_ns: int

    def captured_at(self, position_bytes: int) -> int:
        """Returns how many operations had been captured for good at a position in the log."""
        return max((number for at, number in self.commits if at <= position_bytes), default=0)

    def contents_at(self, position_bytes: int) -> set[bytes]:
        """Returns what must be found when the power goes at a position in the log."""
        is_captured = self.captured_at(position_bytes) == self.captured_at(self.end_bytes)
        return self.contents if is_captured else self.safe


@dataclass(frozen=True, slots=True)
class Cut:
    """What a device holds when the power goes.

    Attributes:
        position_bytes: in the log.
        durable: all writes before the last flush, in order.
        pending: those since then that are on the device too, perhaps only in part.
        pending_max: how many were written since then.
    """

    position_bytes: int
    durable: tuple[Write, ...]
    pending: tuple[Write, ...]
    pending_max: int

    def __str__(self) -> str:
        return (
            f"at {self.position_bytes} of the log, with {len(self.durable)} durable writes and"
            f" {len(self.pending)} of {self.pending_max} others"
        )


@dataclass(slots=True)
class _Notes:
    """At which positions something was stored or committed, noted while an engine runs."""

    kind: str  # of the file system
    device: LoggedDevice
    puts: dict[str, int] = field(default_factory=dict)
    commits: list[tuple[int, int]] = field(default_factory=list)

    def put(self, method: str, name: str) -> None:
        if method == "put_once":
            self.puts.setdefault(name, self.device.position_bytes())

    def committed(self, journal: Journal) -> None:
        actor = journal.setting("actor")
        assert actor is not None
        captured = journal.log.received().counter_of(ActorId(actor))
        self.commits.append((self.device.position_bytes(), captured))

    def noting(self, journal: Journal) -> Journal:
        return cast("Journal", _NotingJournal(journal, self.committed))


class _NotingJournal:
    """A journal of which each commit is noted."""

    def __init__(self, journal: Journal, note: Callable[[Journal], None]) -> None:
        self._journal = journal
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._journal.transaction():
            yield
        self._note(self._journal)


def missing_devices(kind: str) -> str | None:
    """Returns why no power cut of such a file system can be played here, None when one can."""
    return logged_device_missing() or file_system_missing(kind)


def require_devices(kind: str) -> None:
    """Skips the test where no power cut of such a file system can be played."""
    reason = missing_devices(kind)
    if reason is not None:
        pytest.skip(f"needs {kind} on a device whose writes are logged: {reason}")


def cut_everywhere(
    kind: str, scenario: Scenario, *, syncs: bool, every: int = 1, seed_number: int = 1
) -> Tally:
    """Plays a scenario once, and cuts the power at each of its points, or at some.

    Args:
        kind: of the file system.
        scenario: without a program beside the engine.
        syncs: see `record`.
        every: 1 for all points, n for each n-th.
        seed_number: chooses which writes are lost that were not flushed.
    """
    tally = Tally()
    with quick_directory() as base:
        directory = Path(os.fsdecode(base))
        recording = record(directory, kind, scenario, syncs=syncs)
        for cut in list(cuts(recording, seed_number))[::every]:
            try:
                outcome = survive(recording, cut, directory)
                # What programs did without a sync may be gone, and what is left is news then.
                is_certain = syncs and scenario.has_one_outcome
                assert outcome == recording.outcome or not is_certain, (outcome, recording.outcome)
            except (AssertionError, GeosyncError, LoopFileSystemFailed, OSError) as error:
                tally.failures[str(cut)] = str(error)
            tally.crashes += 1
    return tally


def record(directory: Path, kind: str, scenario: Scenario, *, syncs: bool) -> Recording:
    """Plays a scenario on a logged device.

    Args:
        directory: for everything; one in memory is quick.
        kind: of the file system.
        scenario: without a program beside the engine.
        syncs: whether programs at the recorded site sync what they write before the engine sees
            it. If not, a power cut may take it; but not what the engine has captured.
    """
    image = make_image(directory, kind, size_bytes=_IMAGE_SIZE_BYTES[kind])
    base, log = directory / "base.image", directory / "device.log"
    time, store = SimulatedTime(), MemoryStore()
    away = LocalSite(os.fsencode(directory), "away", store, time).open()
    try:
        with mounted(image, kind) as file_system:
            here = LocalSite(os.fsencode(file_system.root), "here", store, time)
            os.mkdir(here.root)
            seed(away)
            before = contents_of(here.root) if scenario.joins else settled_contents(away, here)
        _copy(image, base)
        if scenario.away is not None:
            scenario.away(away)
        for _ in range(3):
            away.cycle()
        with logged_device(image, log) as device, _mounted_device(device, here.base, kind):
            try:
                notes = _Notes(kind, device)
                return _recorded(notes, (here, away, store), scenario, before, syncs=syncs)
            finally:
                here.close()
    finally:
        away.close()
        image.unlink()


def _recorded(
    notes: _Notes,
    world: tuple[LocalSite, LocalSite, MemoryStore],
    scenario: Scenario,
    before: set[bytes],
    *,
    syncs: bool,
) -> Recording:
    here, away, store = world
    here.link.before = notes.put
    here.wrap_journal = notes.noting
    puts = dict.fromkeys(_all_names(store), 0)
    start_bytes = notes.device.position_bytes()
    if scenario.here is not None:
        scenario.here(here)
    if syncs:
        os.sync()
        start_bytes = notes.device.position_bytes()
    there = contents_of(away.root)
    contents = kept_contents(before, there, contents_of(here.root))
    here.open()
    settle(here)
    end_bytes = notes.device.position_bytes()
    puts = notes.puts | puts
    stored = {name: (at, store.get(name, size_bytes_max=2**40)) for name, at in puts.items()}
    captured = captured_operations(here)
    come_to_rest(here, away)
    return Recording(
        kind=notes.kind,
        scenario=scenario,
        base=notes.device.log.with_name("base.image"),
        log=notes.device.log,
        start_bytes=start_bytes,
        end_bytes=end_bytes,
        stored=stored,
        commits=notes.commits,
        safe=contents if syncs else contents & (before | there),
        contents=contents,
        outcome=check(here, away, store, captured, contents),
        now_ns=here.time.now_ns,
    )


def cuts(recording: Recording, seed_number: int) -> Iterator[Cut]:
    """Yields what the device may hold when the power goes, for points all over the run.

    Before each flush: all that was written since the one before, and a random part of that. When
    a commit had returned, or an object was about to be stored: nothing of it. A file system that
    forgot a flush that it needs, or an engine that did, shows there.
    """
    rng = random.Random(seed_number)
    promises = {position_bytes for position_bytes, _ in recording.commits}
    promises |= {position_bytes for position_bytes, _ in recording.stored.values()}
    durable: list[Write] = []
    since: list[Write] = []
    told_bytes = 0  # before the flush, of which nobody has heard yet
    for position_bytes, entry in records(recording.log, recording.end_bytes):
        if isinstance(entry, Write):
            since.append(entry)
        else:
            if told_bytes >= recording.start_bytes and since:
                some = tuple(_torn(write, rng) for write in since if rng.random() < 0.5)
                for kept in (tuple(since), some):
                    yield Cut(told_bytes, tuple(durable), kept, len(since))
            durable += since
            since = []
        told_bytes = position_bytes
        if recording.start_bytes <= told_bytes < recording.end_bytes and told_bytes in promises:
            yield Cut(told_bytes, tuple(durable), (), len(since))
    for kept in (tuple(since), ()):
        yield Cut(recording.end_bytes, tuple(durable), kept, len(since))


def _torn(write: Write, rng: random.Random) -> Write:
    """Returns a write, or with luck only some of its first sectors: a sector is whole or not."""
    if rng.random() < 0.7:
        return write
    sectors = rng.randint(1, max(1, len(write.data) // _SECTOR_SIZE_BYTES))
    return Write(write.offset_bytes, write.data[: sectors * _SECTOR_SIZE_BYTES])


def survive(recording: Recording, cut: Cut, directory: Path) -> Outcome:
    """Mounts what a cut left, starts the engine there, and checks what must hold.

    Another site joins, and must come to the same tree.

    Raises:
        AssertionError: something does not hold.
    """
    image = directory / "cut.image"
    _copy(recording.base, image)
    with image.open("r+b") as file:
        for write in (*cut.durable, *cut.pending):
            os.pwrite(file.fileno(), write.data, write.offset_bytes)
    store = MemoryStore()
    for name, (position_bytes, body) in recording.stored.items():
        if position_bytes <= cut.position_bytes:
            store.put_once(name, body)
    time = SimulatedTime(recording.now_ns)
    time.advance(_DOWN_S)
    with mounted(image, recording.kind) as file_system, _fresh(directory / "joining") as base:
        here = LocalSite(os.fsencode(file_system.root), "here", store, time)
        joining = LocalSite(os.fsencode(base), "joining", store, time)
        try:
            captured = captured_operations(here.open())
            promised = recording.captured_at(cut.position_bytes)
            assert len(captured) >= promised, f"{promised} were captured, {len(captured)} are left"
            joining.open()
            come_to_rest(here, joining)
            contents = recording.contents_at(cut.position_bytes)
            return check(here, joining, store, captured, contents)
        finally:
            here.close()
            joining.close()


@contextmanager
def _fresh(directory: Path) -> Iterator[Path]:
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def _mounted_device(device: LoggedDevice, root: bytes, kind: str) -> Iterator[None]:
    path = os.fsdecode(root)
    Path(path).mkdir(exist_ok=True)
    _run("mount", "-t", kind, device.path, path)
    try:
        yield
    finally:
        _run("umount", path)
        Path(path).rmdir()


def _all_names(store: ObjectStore) -> Iterator[str]:
    for area in AREAS:
        yield from store.list_names(area + "/")


def _copy(image: Path, copy: Path) -> None:
    _run("cp", "--sparse=always", str(image), str(copy))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
