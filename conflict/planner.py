"""The planner: merged tree against synced tree gives ordered actions. Pure: it only looks.

Names are planned from the root downwards, against a picture of the synced tree in which the
earlier actions are already done. What is in the way is moved on if it is wanted elsewhere, parked
if its new place is not free yet, and removed otherwise; removals come last, deepest first.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace

from conflict.actions import Action, MakeDirectory
from conflict.agenda import Agenda
from conflict.attributes import attributes_of
from conflict.file_planner import FilePlanner
from conflict.leaving import Leaving
from conflict.merged_tree import NodeStore, directories_at, path_of
from conflict.node import Location
from conflict.observation import DiskKind
from conflict.operations import NodeId
from conflict.picture import Picture, losers_of
from conflict.rendering import Rendered
from conflict.synced import EntryId, Path, SyncedEntry, SyncedStore


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        actions: in this order. Later ones may rest on earlier ones.
        deferred: names that were not planned, as the directory on the disk is to be elsewhere.
        held: names that were not planned, as what is there, or is to come there, is held.
    """

    actions: tuple[Action, ...]
    deferred: frozenset[Path] = frozenset()
    held: frozenset[Path] = frozenset()


IsIgnored = Callable[[Path, bool], bool]


def ignores_nothing(_path: Path, _is_directory: bool) -> bool:  # noqa: FBT001 - see IsIgnored
    """Is the rule where there is none."""
    return False


def plan(
    nodes: NodeStore,
    synced: SyncedStore,
    dirty: Iterable[Path],
    bring_out: Iterable[EntryId] = (),
    held: Container[NodeId] = (),
    is_ignored: IsIgnored = ignores_nothing,
) -> Plan:
    """Plans the names at which merged and synced tree may differ.

    Args:
        nodes: the merged tree.
        synced: what is on the disk; it is not changed.
        dirty: names that may differ, the root excepted. Names that they depend on, or that
            depend on them, are planned too: directories above that are not as they should be,
            and what is below a directory that is new, gone or merged with another.
        bring_out: parked directories that are to be visible first of all.
        held: files and directories that stay on the disk as they are, until a person decided.
        is_ignored: tells of a path, and whether it is to be a directory, that nothing is done
            there; the synced tree has no such path.
    """
    return _Planner(nodes, synced, held, is_ignored).run(dirty, bring_out)


def locations_at(nodes: NodeStore, path: Path) -> set[Location]:
    """Returns what a path means now, for whoever wants to plan it later.

    A path means another name once a directory above it was renamed; a location does not.
    """
    return {Location(node, path[-1]) for node in directories_at(nodes, path[:-1])}


class _Planner:
    def __init__(
        self,
        nodes: NodeStore,
        synced: SyncedStore,
        held: Container[NodeId],
        is_ignored: IsIgnored,
    ) -> None:
        self._is_ignored = is_ignored
        self._picture = Picture(nodes, synced)
        self._agenda = Agenda()
        self._held = held
        self._held_at: set[Path] = set()
        self._leaving = Leaving(self._picture, self._agenda, self._holds)
        self._files = FilePlanner(self._picture, self._leaving)

    def run(self, dirty: Iterable[Path], bring_out: Iterable[EntryId]) -> Plan:
        for path in dirty:
            self._agenda.add(path)
        self._leaving.leave_parked()
        for parked in bring_out:
            self._leaving.bring_out(parked)
        while self._agenda or self._leaving.open_directories():
            while self._agenda:
                self._plan_name(self._agenda.next())
        self._leaving.remove()
        self._picture.apply_directory_attributes()
        actions = tuple(self._picture.actions)
        return Plan(actions, self._agenda.deferred() - self._held_at, frozenset(self._held_at))

    def _holds(self, entry: SyncedEntry) -> bool:
        return any(node in self._held for node in entry.nodes)

    def _is_held(self, here: SyncedEntry | None, wanted: Rendered) -> bool:
        """Tells whether a name shows what is held, or is to show what is held elsewhere."""
        if here is not None and self._holds(here):
            return True
        return any(
            claim.node in self._held and self._picture.synced.entries_of_node(claim.node)
            for claim in wanted.claims
        )

    def _plan_name(self, path: Path) -> None:
        directory = self._picture.directory_at(path[:-1])
        together = self._picture.together_at(path[:-1])
        here = None
        if directory is not None:
            here = self._picture.synced.entry_at(directory.entry, path[-1])
        wanted = self._picture.wanted_in(together, path)
        if self._is_ignored(path, wanted.is_directory):
            return
        if self._is_held(here, wanted):
            self._held_at.add(path)
            return
        if directory is None or directory.nodes.isdisjoint(together):
            self._agenda.defer(path)
            return
        if here is not None and here.copy_of:
            self._agenda.add((*path[:-1], here.copy_of))
        if wanted.is_directory:
            self._plan_directory(path, directory, here, wanted)
        elif wanted.claims:
            self._files.plan(path, directory, wanted)
        elif here is not None and not here.copy_of:
            self._leaving.leave(here)
        self._files.plan_copies(path, directory, together, wanted)

    def _plan_directory(
        self, path: Path, parent: SyncedEntry, here: SyncedEntry | None, wanted: Rendered
    ) -> None:
        nodes = {claim.node for claim in wanted.claims}
        source = here if here is not None and here.is_directory and here.nodes & nodes else None
        if source is None:
            source = self._directory_elsewhere(nodes)
            self._leaving.clear(here, path)
        if source is None:
            source = self._make_directory(path, parent, wanted)
        elif (source.parent, source.name) != (parent.entry, path[-1]):
            source = self._picture.move(source, parent, path[-1])
        if source.nodes != nodes:
            self._plan_children(path, nodes, source)
            self._plan_left(source.nodes - nodes)
        known = replace(source, claims=wanted.claims, losers=losers_of(wanted))
        if known != source:
            source = self._picture.adopt(known)
        self._leaving.stay(source)
        self._picture.apply_attributes(source, wanted)

    def _directory_elsewhere(self, nodes: set[NodeId]) -> SyncedEntry | None:
        """Returns a directory on the disk that may be moved here: it is not wanted where it is."""
        for node in sorted(nodes):
            for entry in self._picture.synced.entries_of_node(node):
                if entry.is_directory and not self._picture.is_wanted_where_it_is(entry):
                    return entry
        return None

    def _make_directory(self, path: Path, parent: SyncedEntry, wanted: Rendered) -> SyncedEntry:
        attributes = attributes_of(wanted.attributes, is_directory=True)
        entry = self._picture.new_entry(
            parent, path[-1], DiskKind.DIRECTORY, wanted.claims, attributes
        )
        entry = replace(entry, losers=losers_of(wanted))
        self._picture.do(MakeDirectory(entry, attributes), entry)
        self._picture.retimed.add(entry.entry)
        self._plan_children(path, entry.nodes, entry)
        return entry

    def _plan_left(self, nodes: Iterable[NodeId]) -> None:
        """Has the names planned in directories that were one with others, and are elsewhere now.

        Some had lost their names to those of the others, and so were not on the disk.
        """
        for node in nodes:
            for live in self._picture.nodes.live_links_in(node):
                self._agenda.add(path_of(self._picture.nodes, Location(node, live.name)))

    def _plan_children(self, path: Path, nodes: Iterable[NodeId], entry: SyncedEntry) -> None:
        """Has all names planned that are in a directory, or should be."""
        for node in nodes:
            for live in self._picture.nodes.live_links_in(node):
                self._agenda.add((*path, live.name))
        for child in list(self._picture.synced.entries_in(entry.entry)):
            self._agenda.add((*path, child.name))
