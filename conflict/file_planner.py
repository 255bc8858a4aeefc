"""Plans single files: their content, their hard links, and the conflict copies beside them."""

from __future__ import annotations

from dataclasses import replace

from conflict.actions import LinkFile, PlaceFile, ReplaceFile
from conflict.attributes import attributes_of
from conflict.content import Content, ContentKind
from conflict.leaving import Leaving
from conflict.observation import DiskKind
from conflict.operations import NAME_SIZE_BYTES_MAX, NodeId
from conflict.picture import Picture, losers_of
from conflict.rendering import ConflictCopy, Rendered, claimants_at
from conflict.synced import EntryId, Path, SyncedEntry, path_of_entry

_KINDS = {
    ContentKind.REGULAR: DiskKind.REGULAR,
    ContentKind.SYMLINK: DiskKind.SYMLINK,
    ContentKind.FIFO: DiskKind.FIFO,
}


class FilePlanner:
    """Part of conflict.planner."""

    def __init__(self, picture: Picture, leaving: Leaving) -> None:
        self._picture = picture
        self._leaving = leaving
        self._mates: dict[NodeId, EntryId] = {}  # a right name of a file, when last looked for

    def plan(self, path: Path, parent: SyncedEntry, wanted: Rendered) -> None:
        """Plans a name that is to be a file."""
        here = self._picture.synced.entry_at(parent.entry, path[-1])
        is_other = here is not None and self._picture.is_wanted_elsewhere(here, path)
        if here is not None and (here.is_directory or is_other):
            self._leaving.clear(here, path)
            here = None
        source = self._file_elsewhere(wanted) if here is None else None
        if source is not None:
            here = self._picture.move(source, parent, path[-1])
        here = self._with_content(path, parent, here, wanted)
        known = replace(here, claims=wanted.claims, losers=losers_of(wanted), copy_of=b"")
        if known != here:
            here = self._picture.adopt(known)
        self._leaving.stay(here)
        self._picture.apply_attributes(here, wanted)

    def _file_elsewhere(self, wanted: Rendered) -> SyncedEntry | None:
        """Returns a file on the disk, under another name, that this name is to be."""
        for claim in wanted.claims:
            for entry in self._picture.names.of_link(claim.node, claim.link):
                if entry.is_directory or entry.copy_of:
                    continue
                if not self._picture.is_wanted_where_it_is(entry):
                    return entry
        return None

    def _with_content(
        self, path: Path, parent: SyncedEntry, here: SyncedEntry | None, wanted: Rendered
    ) -> SyncedEntry:
        """Plans what makes the wanted content, as the wanted inode, appear at the name."""
        assert wanted.content is not None
        is_right = here is not None and self._is_right(here, wanted.claims[0].node, wanted.content)
        mate = self._mate(wanted, wanted.content, here)
        if mate is not None and not (is_right and here is not None and here.handle == mate.handle):
            return self._link(path, parent, here, mate, wanted)
        if here is not None and is_right:
            return here
        return self._place(path, parent, here, wanted, wanted.content)

    def _place(
        self,
        path: Path,
        parent: SyncedEntry,
        here: SyncedEntry | None,
        wanted: Rendered,
        content: Content,
    ) -> SyncedEntry:
        attributes = attributes_of(wanted.attributes, is_directory=False)
        fresh = self._picture.new_entry(
            parent, path[-1], _KINDS[content.kind], wanted.claims, attributes
        )
        fresh = replace(fresh, content=content, losers=losers_of(wanted))
        if here is None:
            self._picture.do(PlaceFile(fresh, content, attributes), fresh)
            return fresh
        becomes = replace(fresh, entry=here.entry)
        self._picture.do(ReplaceFile(here, becomes, content, attributes), becomes)
        return becomes

    # Hard links

    def _link(
        self,
        path: Path,
        parent: SyncedEntry,
        here: SyncedEntry | None,
        mate: SyncedEntry,
        wanted: Rendered,
    ) -> SyncedEntry:
        """Plans another name of the inode of `mate`, with claims of its own.

        Whoever can't make it finds by these where the name is to be, also when a directory above
        it is moved before the next try.
        """
        entry = self._picture.synced.new_entry_id() if here is None else here.entry
        becomes = replace(
            mate,
            entry=entry,
            parent=parent.entry,
            name=path[-1],
            claims=wanted.claims,
            losers=losers_of(wanted),
        )
        self._picture.do(LinkFile(mate.entry, here, becomes), becomes)
        self._picture.retimed.add(parent.entry)
        return becomes

    def _mate(
        self, wanted: Rendered, content: Content, here: SyncedEntry | None
    ) -> SyncedEntry | None:
        """Returns another name of the same file that is right: this one is to be its hard link."""
        node = wanted.claims[0].node
        state = self._picture.nodes.node(node)
        if state is None or not state.has_several_names:
            return None
        synced = self._picture.synced
        last = synced.entry(self._mates[node]) if node in self._mates else None
        if last is not None and self._is_mate(last, node, content, here):
            return last
        for entry in synced.entries_of_node(node):
            if self._is_mate(entry, node, content, here):
                self._mates[node] = entry.entry
                return entry
        return None

    def _is_mate(
        self, entry: SyncedEntry, node: NodeId, content: Content, here: SyncedEntry | None
    ) -> bool:
        if entry.copy_of or (here is not None and entry.entry == here.entry):
            return False
        return self._is_right(entry, node, content) and self._stays_name_of(entry, node, content)

    def _stays_name_of(self, entry: SyncedEntry, node: NodeId, content: Content) -> bool:
        """Tells whether a name is to show the file; where it is parked, it is on its way there."""
        path = path_of_entry(self._picture.synced, entry)
        if path is None:
            return True
        there = self._picture.wanted_at(path)
        return there.content == content and there.claims[0].node == node

    def _is_right(self, entry: SyncedEntry, node: NodeId, content: Content) -> bool:
        """Tells whether an entry has the content, and its inode is no name of another file."""
        return entry.content == content and self._picture.names.is_of_one_file(entry, node)

    # Conflict copies

    def plan_copies(
        self, path: Path, directory: SyncedEntry, together: tuple[NodeId, ...], wanted: Rendered
    ) -> None:
        """Plans the conflict copies beside a name, which may be that of a directory, too."""
        present = {e.name: e for e in self._picture.synced.copies_of(directory.entry, path[-1])}
        if wanted.shows_copies_beside:
            for copy in wanted.copies:
                name = self._free_name(together, copy.copy_name)
                present.pop(name, None)
                self._plan_copy((*path[:-1], name), directory, path[-1], copy)
        for stale in present.values():
            self._leaving.leave(stale)

    def _free_name(self, together: tuple[NodeId, ...], name: bytes) -> bytes:
        free, suffix = name, b""
        while claimants_at(self._picture.nodes, together, free):
            suffix += b"~"
            free = name[: NAME_SIZE_BYTES_MAX - len(suffix)] + suffix
        return free

    def _plan_copy(
        self, path: Path, directory: SyncedEntry, copy_of: bytes, copy: ConflictCopy
    ) -> None:
        content = copy.version.content
        here = self._picture.synced.entry_at(directory.entry, path[-1])
        if here is not None and here.copy_of == copy_of and here.content == content:
            self._leaving.stay(here)
            if here.claims != copy.claims:
                self._picture.adopt(replace(here, claims=copy.claims))
            return
        self._leaving.clear(here, path)
        attributes = attributes_of(copy.version.attributes, is_directory=False)
        fresh = self._picture.new_entry(
            directory, path[-1], _KINDS[content.kind], copy.claims, attributes
        )
        becomes = replace(fresh, content=content, copy_of=copy_of)
        self._picture.do(PlaceFile(becomes, content, attributes), becomes)
