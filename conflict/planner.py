"""The planner: merged tree against synced tree gives ordered actions. Pure: it only looks.

Names are planned from the root downwards, against a picture of the synced tree in which the
earlier actions are already done. What is in the way is moved on if it is wanted elsewhere, parked
if its new place is not free yet, and removed otherwise; removals come last, deepest first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace

from conflict.actions import (
    Action,
    Adopt,
    ApplyAttributes,
    LinkFile,
    MakeDirectory,
    Move,
    Park,
    PlaceFile,
    RemoveDirectory,
    RemoveFile,
    ReplaceFile,
)
from conflict.attributes import attributes_of
from conflict.content import Content, ContentKind
from conflict.merged_tree import NodeStore, directories_at, path_of
from conflict.node import Location
from conflict.observation import Attributes, DiskKind, Fingerprint
from conflict.operations import ROOT, LinkId, NodeId
from conflict.policy import VolumePolicy, policy_of
from conflict.rendering import Claim, ConflictCopy, Rendered, claimants_at, render
from conflict.synced import (
    PARKED,
    ROOT_ENTRY,
    EntryId,
    MemorySynced,
    Path,
    SyncedEntry,
    SyncedStore,
    entry_at_path,
    path_of_entry,
)

_KINDS = {
    ContentKind.REGULAR: DiskKind.REGULAR,
    ContentKind.SYMLINK: DiskKind.SYMLINK,
    ContentKind.FIFO: DiskKind.FIFO,
}
_NO_FINGERPRINT = Fingerprint(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in this order. Later actions may rest on earlier ones."""

    actions: tuple[Action, ...]


def plan(nodes: NodeStore, synced: SyncedStore, dirty: Iterable[Path]) -> Plan:
    """Plans the names at which merged and synced tree may differ.

    Args:
        nodes: the merged tree.
        synced: what is on the disk; it is not changed.
        dirty: names that may differ, the root excepted. Names that turn out to depend on them
            are planned too: what is below a directory that is new, gone or merged with another.
    """
    return _Planner(nodes, synced).run(dirty)


def locations_at(nodes: NodeStore, path: Path) -> set[Location]:
    """Returns what a path means now, for whoever wants to plan it later.

    A path means another name once a directory above it was renamed; a location does not.
    """
    return {Location(node, path[-1]) for node in directories_at(nodes, path[:-1])}


class _Planner:
    def __init__(self, nodes: NodeStore, synced: SyncedStore) -> None:
        self._nodes = nodes
        self._synced = MemorySynced(synced)
        self._policy: VolumePolicy = policy_of(nodes.node(ROOT))
        self._actions: list[Action] = []
        self._queue: list[tuple[int, Path]] = []
        self._queued: set[Path] = set()
        self._repeated: set[Path] = set()
        self._leaving: dict[EntryId, SyncedEntry] = {}
        self._retimed: set[EntryId] = set()  # directories whose mtime the actions spoil

    def run(self, dirty: Iterable[Path]) -> Plan:
        for path in sorted(dirty):
            self._enqueue(path)
        self._enqueue_parked()
        self._drain()
        self._remove_what_leaves()
        self._restore_directory_attributes()
        return Plan(tuple(self._actions))

    def _enqueue(self, path: Path) -> None:
        if path and path not in self._queued:
            self._queued.add(path)
            heapq.heappush(self._queue, (len(path), path))

    def _enqueue_again(self, path: Path) -> None:
        if path not in self._repeated:
            self._repeated.add(path)
            self._queued.discard(path)
            self._enqueue(path)

    def _enqueue_parked(self) -> None:
        """Whatever an interrupted run left parked is to go where it belongs."""
        for parked in self._synced.entries_in(PARKED):
            self._leave(parked)

    # One name

    def _plan_name(self, path: Path) -> None:
        directory = entry_at_path(self._synced, path[:-1])
        together = directories_at(self._nodes, path[:-1])
        wanted = self._rendered(together, path)
        if directory is None or not directory.is_directory:
            return  # its parent is not there (yet), so nothing is at this name
        here = self._synced.entry_at(directory.entry, path[-1])
        if here is not None and here.copy_of:
            self._enqueue((*path[:-1], here.copy_of))
        if not wanted.claims:
            if here is not None and not here.copy_of:
                self._leave(here)
        elif wanted.is_directory:
            self._plan_directory(path, directory, here, wanted)
        else:
            self._plan_file(path, directory, here, wanted)
        self._plan_copies(directory, together, path[-1], wanted)

    def _rendered(self, together: tuple[NodeId, ...], path: Path) -> Rendered:
        claimants = claimants_at(self._nodes, together, path[-1])
        return render(path[-1], claimants, self._policy, self._policy.rule_for(path))

    def _plan_directory(
        self, path: Path, parent: SyncedEntry, here: SyncedEntry | None, wanted: Rendered
    ) -> None:
        nodes = {claim.node for claim in wanted.claims}
        source = here if here is not None and here.is_directory and here.nodes & nodes else None
        if source is None:
            source = self._directory_elsewhere(path, nodes)
            self._clear(here, path)
        if source is None:
            source = self._make_directory(path, parent, wanted)
        elif (source.parent, source.name) != (parent.entry, path[-1]):
            source = self._move(source, parent, path[-1])
        if source.claims != wanted.claims:
            if source.nodes != nodes:
                self._enqueue_children(path, nodes, source)
            source = self._adopt(replace(source, claims=wanted.claims))
        losers = _losers(wanted)
        if source.losers != losers:
            source = self._adopt(replace(source, losers=losers))
        self._leaving.pop(source.entry, None)
        self._plan_attributes(source, wanted)

    def _directory_elsewhere(self, path: Path, nodes: set[NodeId]) -> SyncedEntry | None:
        """Returns a directory on the disk that may be moved here: it is not wanted where it is."""
        for node in sorted(nodes):
            for entry in self._synced.entries_of_node(node):
                is_free = entry.is_directory and not self._is_wanted_where_it_is(entry)
                if is_free and not self._is_above(entry, path):
                    return entry
        return None

    def _is_above(self, entry: SyncedEntry, path: Path) -> bool:
        """Tells whether the entry is a directory that, on the disk, the path leads through."""
        above = entry_at_path(self._synced, path[:-1])
        while above is not None:
            if above.entry == entry.entry:
                return True
            above = self._synced.entry(above.parent) if above.name else None
        return False

    def _make_directory(self, path: Path, parent: SyncedEntry, wanted: Rendered) -> SyncedEntry:
        attributes = attributes_of(wanted.attributes, is_directory=True)
        entry = self._new_entry(parent, path[-1], DiskKind.DIRECTORY, wanted.claims, attributes)
        entry = replace(entry, losers=_losers(wanted))
        self._do(MakeDirectory(entry, attributes), entry)
        self._retimed.update((entry.entry, parent.entry))
        self._enqueue_children(path, entry.nodes, entry)
        return entry

    def _enqueue_children(self, path: Path, nodes: Iterable[NodeId], entry: SyncedEntry) -> None:
        for node in nodes:
            for live in self._nodes.live_links_in(node):
                self._enqueue((*path, live.name))
        for child in list(self._synced.entries_in(entry.entry)):
            self._enqueue((*path, child.name))

    def _plan_file(
        self, path: Path, parent: SyncedEntry, here: SyncedEntry | None, wanted: Rendered
    ) -> None:
        assert wanted.content is not None
        if here is not None and (here.is_directory or self._is_wanted_elsewhere(here, path)):
            self._clear(here, path)
            here = None
        if here is None:
            source = self._file_elsewhere(wanted)
            if source is not None:
                here = self._move(source, parent, path[-1])
        here = self._with_content(path, parent, here, wanted, wanted.content)
        known = replace(here, claims=wanted.claims, losers=_losers(wanted), copy_of=b"")
        if known != here:
            here = self._adopt(known)
        self._leaving.pop(here.entry, None)
        self._plan_attributes(here, wanted)

    def _with_content(
        self,
        path: Path,
        parent: SyncedEntry,
        here: SyncedEntry | None,
        wanted: Rendered,
        content: Content,
    ) -> SyncedEntry:
        """Plans what makes the wanted content, as the wanted inode, appear at the name."""
        is_right = here is not None and self._is_right(here, wanted.claims[0].node, content)
        mate = self._mate(wanted, content, here)
        if mate is not None and not (is_right and here is not None and here.handle == mate.handle):
            return self._link(path, parent, here, mate, wanted)
        if here is not None and is_right:
            return here
        attributes = attributes_of(wanted.attributes, is_directory=False)
        fresh = self._new_entry(parent, path[-1], _KINDS[content.kind], wanted.claims, attributes)
        entry = replace(
            fresh,
            entry=fresh.entry if here is None else here.entry,
            content=content,
            losers=_losers(wanted),
        )
        if here is None:
            self._do(PlaceFile(entry, content, attributes), entry)
        else:
            self._do(ReplaceFile(here, entry, content, attributes), entry)
        self._retimed.add(parent.entry)
        return entry

    def _mate(
        self, wanted: Rendered, content: Content, here: SyncedEntry | None
    ) -> SyncedEntry | None:
        """Returns another name of the same file that is right: this one is to be its hard link.

        Names that should be right, but share their inode with another file, are planned again,
        after this one: they can become its links.
        """
        node = wanted.claims[0].node
        state = self._nodes.node(node)
        if state is None or len(state.presence()) < 2:
            return None
        for entry in self._synced.entries_of_node(node):
            path = path_of_entry(self._synced, entry)
            is_other = here is None or entry.entry != here.entry
            if path and is_other and not entry.copy_of:
                there = self._rendered(directories_at(self._nodes, path[:-1]), path)
                if there.content == content and there.claims[0].node == node:
                    if self._is_right(entry, node, content):
                        return entry
                    self._enqueue_again(path)
        return None

    def _is_right(self, entry: SyncedEntry, node: NodeId, content: Content) -> bool:
        """Tells whether an entry has the content, and its inode is no name of another file."""
        return entry.content == content and all(
            other.claims[0].node == node and not other.copy_of
            for other in self._synced.entries_of_handle(entry.handle)
            if other.entry != entry.entry
        )

    def _link(
        self,
        path: Path,
        parent: SyncedEntry,
        here: SyncedEntry | None,
        anchor: SyncedEntry,
        wanted: Rendered,
    ) -> SyncedEntry:
        entry = replace(
            anchor,
            entry=self._synced.new_entry_id() if here is None else here.entry,
            parent=parent.entry,
            name=path[-1],
            claims=wanted.claims,
            losers=_losers(wanted),
            copy_of=b"",
        )
        self._do(LinkFile(anchor.entry, here, entry), entry)
        self._retimed.add(parent.entry)
        return entry

    def _file_elsewhere(self, wanted: Rendered) -> SyncedEntry | None:
        """Returns a file on the disk, under another name, that this name is to be."""
        links = {claim.link for claim in wanted.claims}
        for claim in wanted.claims:
            for entry in self._synced.entries_of_node(claim.node):
                is_same = any(own.link in links for own in entry.claims)
                if entry.is_directory or entry.copy_of or not is_same:
                    continue
                if not self._is_wanted_where_it_is(entry):
                    return entry
        return None

    def _plan_attributes(self, entry: SyncedEntry, wanted: Rendered) -> None:
        attributes = attributes_of(wanted.attributes, is_directory=wanted.is_directory)
        if wanted.is_directory and entry.entry in self._retimed:
            return  # set at the end, once for all
        is_retimed = wanted.is_directory and entry.attributes.mtime_ns != attributes.mtime_ns
        if entry.intended != attributes or is_retimed:
            becomes = replace(entry, intended=attributes)
            self._do(ApplyAttributes(entry, becomes, attributes), becomes)

    # Conflict copies beside the file

    def _plan_copies(
        self, directory: SyncedEntry, together: tuple[NodeId, ...], name: bytes, wanted: Rendered
    ) -> None:
        present = {e.name: e for e in self._synced.copies_of(directory.entry, name)}
        if wanted.shows_copies_beside:
            for copy in wanted.copies:
                copy_name = self._free_name(together, copy.copy_name)
                here = present.pop(copy_name, None)
                self._plan_copy(directory, copy_name, name, copy, here)
        for stale in present.values():
            self._leave(stale)

    def _free_name(self, together: tuple[NodeId, ...], name: bytes) -> bytes:
        while claimants_at(self._nodes, together, name):
            name = name[:254] + b"~"
        return name

    def _plan_copy(
        self,
        directory: SyncedEntry,
        name: bytes,
        copy_of: bytes,
        copy: ConflictCopy,
        here: SyncedEntry | None,
    ) -> None:
        if here is not None and here.content == copy.version.content:
            if here.claims != copy.claims:
                self._adopt(replace(here, claims=copy.claims))
            return
        occupant = self._synced.entry_at(directory.entry, name)
        if occupant is not None:
            return  # a file that a program put there; it is captured, and the name changes then
        content = copy.version.content
        attributes = attributes_of(copy.version.attributes, is_directory=False)
        fresh = self._new_entry(directory, name, _KINDS[content.kind], copy.claims, attributes)
        entry = replace(fresh, content=content, copy_of=copy_of)
        self._do(PlaceFile(entry, content, attributes), entry)
        self._retimed.add(directory.entry)

    # What is in the way, and what goes

    def _clear(self, here: SyncedEntry | None, path: Path) -> None:
        """Frees a name."""
        if here is None:
            return
        if here.is_directory or self._is_wanted_elsewhere(here, path):
            self._park(here)
        else:
            self._leaving.pop(here.entry, None)
            self._remove(here)

    def _leave(self, entry: SyncedEntry) -> None:
        """Marks an entry for removal at the end, unless it is moved away before."""
        self._leaving.setdefault(entry.entry, entry)
        for path in self._wanted_paths(entry):
            self._enqueue(path)

    def _drain(self) -> None:
        """Plans all names; then what is below directories that nobody wanted, until all is done.

        A directory is looked into only when it was not moved: renaming a large one stays cheap.
        """
        opened: set[EntryId] = set()
        while self._queue or any(e not in opened for e in self._leaving):
            while self._queue:
                self._plan_name(heapq.heappop(self._queue)[1])
            for entry in list(self._leaving.values()):
                if entry.entry not in opened:
                    opened.add(entry.entry)
                    if entry.is_directory:
                        for child in list(self._synced.entries_in(entry.entry)):
                            self._leave(child)

    def _remove_what_leaves(self) -> None:
        """Removes what nobody moved away, children before their directories."""
        leaving = [e for e in map(self._synced.entry, self._leaving) if e is not None]
        for entry in sorted(leaving, key=self._depth, reverse=True):
            if not any(self._synced.entries_in(entry.entry)):
                self._remove(self._brought_out(entry))  # else something below could not leave

    def _brought_out(self, entry: SyncedEntry) -> SyncedEntry:
        """Moves a parked directory to a visible name before it is removed there.

        RACE: a program may have made a file in it that nobody captured yet. Then the removal
        fails, the file is seen in the volume, and its capture brings the directory back.
        """
        root = self._synced.entry(ROOT_ENTRY)
        if entry.parent != PARKED or not entry.is_directory or root is None:
            return entry
        name = b".gs-parked-%d" % entry.entry
        while self._synced.entry_at(ROOT_ENTRY, name) is not None:
            name += b"~"
        return self._move(entry, root, name)

    def _depth(self, entry: SyncedEntry) -> int:
        depth = 0
        above: SyncedEntry | None = entry
        while above is not None and above.entry != ROOT_ENTRY:
            depth += 1
            above = self._synced.entry(above.parent)
        return depth

    def _remove(self, entry: SyncedEntry) -> None:
        self._actions.append(RemoveDirectory(entry) if entry.is_directory else RemoveFile(entry))
        self._synced.remove_entry(entry.entry)
        self._retimed.add(entry.parent)

    def _wanted_paths(self, entry: SyncedEntry) -> list[Path]:
        """Returns where the merged tree has what an entry stands for."""
        paths = []
        for claim in entry.claims:
            state = self._nodes.node(claim.node)
            at = state.presence().get(claim.link) if state is not None else None
            if at is not None:
                paths.append(path_of(self._nodes, at))
        return paths

    def _is_wanted_elsewhere(self, entry: SyncedEntry, path: Path) -> bool:
        paths = [] if entry.copy_of else self._wanted_paths(entry)
        return path not in paths and any(self._stands_for(entry, at) for at in paths)

    def _is_wanted_where_it_is(self, entry: SyncedEntry) -> bool:
        path = path_of_entry(self._synced, entry)
        return bool(path) and path is not None and self._stands_for(entry, path)

    def _stands_for(self, entry: SyncedEntry, path: Path) -> bool:
        """Tells whether the merged tree shows at a path one of the links that the entry is."""
        wanted = self._rendered(directories_at(self._nodes, path[:-1]), path)
        links: set[LinkId] = {claim.link for claim in wanted.claims}
        return wanted.is_directory == entry.is_directory and any(
            claim.link in links for claim in entry.claims
        )

    # Small steps

    def _do(self, action: Action, becomes: SyncedEntry) -> None:
        self._actions.append(action)
        self._synced.save_entry(becomes)

    def _adopt(self, entry: SyncedEntry) -> SyncedEntry:
        self._do(Adopt(entry), entry)
        return entry

    def _move(self, source: SyncedEntry, parent: SyncedEntry, name: bytes) -> SyncedEntry:
        self._retimed.update((source.parent, parent.entry))
        becomes = replace(source, parent=parent.entry, name=name)
        self._do(Move(source, becomes), becomes)
        return becomes

    def _park(self, entry: SyncedEntry) -> None:
        self._retimed.add(entry.parent)
        becomes = replace(entry, parent=PARKED, name=entry.handle.hex().encode())
        self._do(Park(entry, becomes), becomes)
        self._leave(becomes)

    def _new_entry(
        self,
        parent: SyncedEntry,
        name: bytes,
        kind: DiskKind,
        claims: tuple[Claim, ...],
        attributes: Attributes,
    ) -> SyncedEntry:
        entry = self._synced.new_entry_id()
        return SyncedEntry(
            entry=entry,
            parent=parent.entry,
            name=name,
            kind=kind,
            handle=b"planned %d" % entry,  # no inode has it
            fingerprint=_NO_FINGERPRINT,
            attributes=attributes,
            intended=attributes,
            claims=claims,
        )

    def _restore_directory_attributes(self) -> None:
        """Directories get their attributes last, since every change inside touches the mtime."""
        retimed = [e for e in map(self._synced.entry, self._retimed) if e is not None]
        for entry in sorted(retimed, key=lambda e: e.entry):
            path = path_of_entry(self._synced, entry)
            if path:
                wanted = self._rendered(directories_at(self._nodes, path[:-1]), path)
                if wanted.is_directory:
                    attributes = attributes_of(wanted.attributes, is_directory=True)
                    becomes = replace(entry, intended=attributes)
                    self._do(ApplyAttributes(entry, becomes, attributes), becomes)


def _losers(wanted: Rendered) -> tuple[Claim, ...]:
    return tuple(claim for copy in wanted.copies for claim in copy.claims)
