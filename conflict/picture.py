"""The picture that a plan is made in: the disk as the actions so far leave it, and as it should be.

Nothing is decided here. Reads see what earlier actions will have done.
"""

from __future__ import annotations

from dataclasses import replace

from conflict.actions import Action, Adopt, ApplyAttributes, Move, RemoveDirectory, RemoveFile
from conflict.attributes import attributes_of
from conflict.file_names import FileNames
from conflict.merged_tree import NodeStore, directories_at, path_of
from conflict.observation import Attributes, DiskKind, Fingerprint
from conflict.operations import ROOT, NodeId
from conflict.policy import VolumePolicy, policy_of
from conflict.rendering import Claim, Rendered, claimants_at, render
from conflict.synced import (
    EntryId,
    MemorySynced,
    Path,
    SyncedEntry,
    SyncedStore,
    entry_at_path,
    moved,
    path_of_entry,
)

_NO_FINGERPRINT = Fingerprint(0, 0, 0)


class Picture:
    """Merged tree, synced tree, and the actions that bring the one to the other.

    Attributes:
        nodes: the merged tree.
        synced: the synced tree once the actions are done.
        names: the names of files in it.
        actions: what was decided so far, in order.
        retimed: directories whose attributes differ, or whose time the actions spoil.
    """

    def __init__(self, nodes: NodeStore, synced: SyncedStore) -> None:
        self.nodes = nodes
        self.synced = MemorySynced(synced)
        self.names = FileNames(self.synced)
        self.actions: list[Action] = []
        self.retimed: set[EntryId] = set()
        self._policy: VolumePolicy = policy_of(nodes.node(ROOT))
        self._together: dict[Path, tuple[NodeId, ...]] = {}  # no action changes the merged tree
        self._directories: dict[Path, SyncedEntry | None] = {}  # until one is changed

    # What is there

    def directory_at(self, path: Path) -> SyncedEntry | None:
        """Returns what is at the path of a directory, once the actions so far are done."""
        if path not in self._directories:
            self._directories[path] = entry_at_path(self.synced, path)
        return self._directories[path]

    # What should be

    def together_at(self, path: Path) -> tuple[NodeId, ...]:
        """Returns the live directories that share a path, as `directories_at`."""
        if path not in self._together:
            self._together[path] = directories_at(self.nodes, path)
        return self._together[path]

    def wanted_at(self, path: Path) -> Rendered:
        """Returns what the merged tree has at a path."""
        return self.wanted_in(self.together_at(path[:-1]), path)

    def wanted_in(self, together: tuple[NodeId, ...], path: Path) -> Rendered:
        """As `wanted_at`, where the nodes of the directory are known already."""
        claimants = claimants_at(self.nodes, together, path[-1])
        return render(path[-1], claimants, self._policy, self._policy.rule_for(path))

    def wanted_paths(self, entry: SyncedEntry) -> list[Path]:
        """Returns where the merged tree has what an entry stands for."""
        paths = []
        for claim in entry.claims:
            state = self.nodes.node(claim.node)
            at = state.location_of(claim.link) if state is not None else None
            if at is not None:
                paths.append(path_of(self.nodes, at))
        return paths

    def is_wanted_elsewhere(self, entry: SyncedEntry, path: Path) -> bool:
        """Tells whether another name than `path` is to show the entry, and `path` is not."""
        paths = [] if entry.copy_of else self.wanted_paths(entry)
        return path not in paths and any(self.stands_for(entry, at) for at in paths)

    def is_wanted_where_it_is(self, entry: SyncedEntry) -> bool:
        """Tells whether the entry's name is to show it."""
        path = path_of_entry(self.synced, entry)
        return bool(path) and path is not None and self.stands_for(entry, path)

    def stands_for(self, entry: SyncedEntry, path: Path) -> bool:
        """Tells whether the merged tree shows at a path one of the links that the entry is."""
        wanted = self.wanted_at(path)
        links = {claim.link for claim in wanted.claims}
        return wanted.is_directory == entry.is_directory and any(
            claim.link in links for claim in entry.claims
        )

    # Steps

    def do(self, action: Action, becomes: SyncedEntry) -> None:
        """Adds an action, and shows what it brings about."""
        self.actions.append(action)
        before = self.synced.entry(becomes.entry)
        self.synced.save_entry(becomes)
        self.names.note(before, becomes)
        if becomes.is_directory:
            self._directories.clear()

    def remove(self, entry: SyncedEntry) -> None:
        """Adds the removal of an entry, with nothing below it any more."""
        self.actions.append(RemoveDirectory(entry) if entry.is_directory else RemoveFile(entry))
        before = self.synced.entry(entry.entry)
        self.synced.remove_entry(entry.entry)
        self.names.note(before, None)
        self.retimed.add(entry.parent)
        if entry.is_directory:
            self._directories.clear()

    def adopt(self, entry: SyncedEntry) -> SyncedEntry:
        """Lets the entry that is there stand for something else."""
        self.do(Adopt(entry), entry)
        return entry

    def move(self, source: SyncedEntry, parent: SyncedEntry, name: bytes) -> SyncedEntry:
        """Renames an entry."""
        self.retimed.update((source.parent, parent.entry))
        becomes = moved(source, parent.entry, name)
        self.do(Move(source, becomes), becomes)
        return becomes

    def apply_attributes(self, entry: SyncedEntry, wanted: Rendered) -> None:
        """Sets an entry's attributes if they differ; those of directories at the end.

        The time of a directory is compared with the disk, too: an earlier run may have spoilt it.
        """
        attributes = attributes_of(wanted.attributes, is_directory=wanted.is_directory)
        if wanted.is_directory:
            is_late = entry.attributes.mtime_ns != attributes.mtime_ns
            if entry.intended != attributes or is_late:
                self.retimed.add(entry.entry)
        elif entry.intended != attributes:
            self._apply(entry, attributes)

    def apply_directory_attributes(self) -> None:
        """Sets attributes of retimed directories, last: each change inside spoils them."""
        retimed = [e for e in map(self.synced.entry, self.retimed) if e is not None]
        for entry in sorted(retimed, key=lambda e: e.entry):
            path = path_of_entry(self.synced, entry)
            wanted = self.wanted_at(path) if path else Rendered()
            if wanted.is_directory:
                self._apply(entry, attributes_of(wanted.attributes, is_directory=True))

    def _apply(self, entry: SyncedEntry, attributes: Attributes) -> None:
        becomes = replace(entry, intended=attributes)
        self.do(ApplyAttributes(entry, becomes, attributes), becomes)

    def new_entry(
        self,
        parent: SyncedEntry,
        name: bytes,
        kind: DiskKind,
        claims: tuple[Claim, ...],
        attributes: Attributes,
    ) -> SyncedEntry:
        """Returns an entry for what an action will make."""
        self.retimed.add(parent.entry)
        entry = self.synced.new_entry_id()
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


def losers_of(wanted: Rendered) -> tuple[Claim, ...]:
    """Returns what the conflicts at a name stand for."""
    return tuple(claim for copy in wanted.copies for claim in copy.claims)
