"""A whole site in memory: a simulated disk, its synced tree, and the merged tree of its volume."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from conflict.actions import Action
from conflict.author import Author
from conflict.capture import (
    CaptureResult,
    Scan,
    StableContent,
    capture,
    contents_wanted,
    further_directories,
)
from conflict.content import ChunkReference, Content, ContentKind
from conflict.in_place import not_in_place
from conflict.memory_nodes import MemoryNodes
from conflict.merged_tree import ROOT_LOCATION, MergedTree, path_of
from conflict.node import Location
from conflict.observation import DiskEntry, DiskKind
from conflict.operations import ROOT, Operation, Transaction
from conflict.planner import locations_at, plan
from conflict.policy import PolicyRule, policy_of, replace_rules
from conflict.stamp import HybridClock
from conflict.synced import ROOT_ENTRY, EntryId, MemorySynced, Path
from conflict.version import ActorId, VersionVector
from geosync.disk.interface import DiskError, EntryUnreadable, EntryVanished, RelativePath
from tests.simulation.disk_dice import DiskDice
from tests.simulation.inode_file_system import FileSystem
from tests.simulation.simulated_application import SimulatedApplication
from tests.simulation.simulated_clock import SimulatedClock, SimulatedTime
from tests.simulation.simulated_disk import SimulatedDisk
from tests.support.small_applier import SmallApplier

BLOCK_SIZE_BYTES = 1024


def nothing_happens() -> None:
    """Nobody does anything between two looks at the disk."""


@dataclass(slots=True)
class World:
    """What all sites share: the true time, and every content that was ever read."""

    time: SimulatedTime = field(default_factory=SimulatedTime)
    contents: dict[bytes, bytes] = field(default_factory=dict)  # digest -> bytes of regular files


class SmallSite:
    """One site.

    Attributes:
        application: changes the disk as programs do.
        meanwhile: is called before each look that a capture takes at the disk.
        result: of the last capture.
        log: the transactions that were written here.
        dirty: names at which the disk may differ from the merged tree.
        had: digests of all contents that were seen on, or brought to, this disk.
    """

    def __init__(self, number: int, world: World) -> None:
        self.world = world
        self.wall = SimulatedClock(world.time, offset_ns=number * 1_000_003)
        self.file_system = FileSystem(self.wall)
        self.disk = SimulatedDisk(self.file_system, DiskDice(Random(number)))
        self.disk.initialise()
        self.application = SimulatedApplication(self.file_system)
        self.nodes = MemoryNodes()
        self.synced = MemorySynced()
        self.clock = HybridClock(ActorId(bytes([number]) * 16))
        self.received = VersionVector()
        self.log: list[Transaction] = []
        self.dirty: set[Location | Path] = set()
        self.result = CaptureResult()
        self.had: set[bytes] = set()
        self.meanwhile: Callable[[], None] = nothing_happens

    # From the disk to operations

    def capture(self, *directories: str, confirmed: bool = True) -> list[Operation]:
        """Captures these directories, or all; returns the operations that were written.

        Args:
            directories: with b"/" between names; the empty text is the root.
            confirmed: what was missing the time before, and still is, counts as deleted.
        """
        scan = self.scan(map(path_from, directories) if directories else None)
        contents = self.read(contents_wanted(self.synced, scan))
        author = Author(self.nodes, self.clock, self.received, self._now_ms())
        known_missing = self.result.unconfirmed if confirmed else frozenset[EntryId]()
        self.result = capture(author, self.synced, scan, contents, known_missing)
        self.clock = author.clock
        self.dirty |= not_in_place(self.nodes, self.synced, author.touched)
        transaction = author.transaction()
        if transaction is None:
            return []
        self._record(transaction)
        self.log.append(transaction)
        return list(transaction)

    def settle(self) -> list[Operation]:
        """Captures until nothing is left to confirm; returns all operations."""
        written = self.capture()
        for _ in range(10):
            if not self.result.unconfirmed and not self.result.skipped:
                return written
            written += self.capture()
        return written

    def scan(self, directories: Iterable[Path] | None = None) -> Scan:
        """Lists directories (or all), and whatever must be listed to understand them."""
        listings, absent, unknown = {}, set(), set()
        pending = {()} if directories is None else set(directories)
        while pending:
            for path in sorted(pending):
                self._look()
                try:
                    listings[path] = self.disk.list_directory(joined(path))
                except EntryVanished:
                    absent.add(path)
                except EntryUnreadable:
                    unknown.add(path)
            scan = Scan(listings, frozenset(absent), frozenset(unknown))
            pending = further_directories(self.synced, scan)
            if directories is None:
                pending |= {
                    (*path, entry.name)
                    for path, listing in listings.items()
                    for entry in listing.entries
                    if entry.kind is DiskKind.DIRECTORY
                } - {*listings, *absent, *unknown}
        return scan

    def read(self, wanted: Iterable[tuple[Path, DiskEntry]]) -> dict[Path, StableContent]:
        """Returns the contents that can be read now."""
        found = {}
        for path, entry in wanted:
            self._look()
            try:
                found[path] = self._stable_content(path, entry)
            except DiskError:
                continue  # what can't be read now is captured later
            self.had.add(found[path].content.digest)
        return found

    def _stable_content(self, path: Path, entry: DiskEntry) -> StableContent:
        if entry.kind is not DiskKind.REGULAR:
            return StableContent(entry, content_of_entry(entry))
        with self.disk.open_stable(joined(path), entry.handle) as reader:
            read = b"".join(reader.blocks(BLOCK_SIZE_BYTES))
        content = content_of_bytes(read)
        self.world.contents[content.digest] = read
        return StableContent(reader.entry, content)

    def _look(self) -> None:
        self.world.time.advance(0.001)
        self.meanwhile()

    # From operations to the disk

    def receive(self, transaction: Transaction) -> bool:
        """Takes in what another site wrote; refuses what it has, or is not ready for."""
        if self.received.counter_of(transaction.actor) >= transaction.last_counter:
            return False
        if not self.received.covers(transaction.received):
            return False
        tree = MergedTree(self.nodes)
        for operation in transaction:
            self.dirty |= tree.apply(operation)
            self.clock = self.clock.observe(self._now_ms(), operation.stamp)
        self._record(transaction)
        return True

    def dirty_paths(self) -> set[Path]:
        """Returns the names that the next plan is about."""
        if ROOT_LOCATION in self.dirty:
            self.mark_everything()
        self.dirty.discard(ROOT_LOCATION)
        return {path_of(self.nodes, at) if isinstance(at, Location) else at for at in self.dirty}

    def mark_everything(self) -> None:
        """Has the whole trees compared next time."""
        pending = [ROOT]
        while pending:
            parent = pending.pop()
            for live in self.nodes.live_links_in(parent):
                self.dirty.add(Location(parent, live.name))
                pending.append(live.node)
        self.dirty.update(self.synced_paths())

    def synced_paths(self, path: Path = (), entry: EntryId = ROOT_ENTRY) -> list[Path]:
        """Returns the paths of all entries of the synced tree."""
        found = [path] if path else []
        for child in self.synced.entries_in(entry):
            found += self.synced_paths((*path, child.name), child.entry)
        return found

    def plan(self) -> tuple[Action, ...]:
        """Returns what is to be done for all dirty names."""
        return plan(self.nodes, self.synced, self.dirty_paths()).actions

    def apply(self, *, stop_after: int | None = None) -> SmallApplier:
        """Plans and does it, or only the first actions; what did not go well stays dirty."""
        actions = self.plan()
        self.world.time.advance(0.01)
        applier = SmallApplier(self.disk, self.synced, self.world.contents)
        applier.run(actions[:stop_after])
        self.had |= applier.brought
        if not applier.failures and (stop_after is None or stop_after >= len(actions)):
            self.dirty.clear()
        for path in applier.blocked:
            self.dirty |= {path, *locations_at(self.nodes, path)}
        return applier

    def set_policy(self, *rules: PolicyRule) -> None:
        """Changes the volume's conflict policies."""
        author = Author(self.nodes, self.clock, self.received, self._now_ms())
        author.set_root_attributes(replace_rules(policy_of(self.nodes.node(ROOT)), rules))
        self.clock = author.clock
        self.dirty |= author.touched
        transaction = author.transaction()
        assert transaction is not None
        self._record(transaction)
        self.log.append(transaction)

    def _record(self, transaction: Transaction) -> None:
        self.received = self.received.join({transaction.actor: transaction.last_counter})

    def _now_ms(self) -> int:
        return self.wall.wall_ns() // 1_000_000


def exchange(*sites: SmallSite) -> None:
    """Delivers all transactions to all of these sites."""
    transactions = [transaction for site in sites for transaction in site.log]
    while sum(site.receive(t) for site in sites for t in transactions):
        pass


def quiesce(*sites: SmallSite) -> None:
    """Captures, delivers and applies until all sites are done.

    Raises:
        AssertionError: they do not come to an end.
    """
    for _ in range(30):
        written = [operation for site in sites for operation in site.settle()]
        exchange(*sites)
        appliers = [site.apply() for site in sites]
        if not written and not any(applier.done or applier.failures for applier in appliers):
            return
    failures = [failure for applier in appliers for failure in applier.failures]
    raise AssertionError(f"no end: {written} is written, {failures} fails")


def content_of_bytes(content: bytes) -> Content:
    """Returns the content of a regular file."""
    digest = hashlib.blake2b(b"file" + content, digest_size=32).digest()
    chunks = (ChunkReference(digest, len(content)),) if content else ()
    return Content(ContentKind.REGULAR, digest, len(content), chunks)


def content_of_entry(entry: DiskEntry) -> Content:
    """Returns the content of a symlink or FIFO."""
    kind = ContentKind.SYMLINK if entry.kind is DiskKind.SYMLINK else ContentKind.FIFO
    digest = hashlib.blake2b(kind.name.encode() + entry.target, digest_size=32).digest()
    return Content(kind, digest, len(entry.target), target=entry.target)


def path_from(text: str) -> Path:
    """Splits a path as people write it; the root is the empty text."""
    return tuple(text.encode().split(b"/")) if text else ()


def joined(path: Path) -> RelativePath:
    """Writes names as a path of the disk."""
    return RelativePath(b"/".join(path))
