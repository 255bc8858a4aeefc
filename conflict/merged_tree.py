"""The tree that follows from all received operations, kept up to date one operation at a time.

Each operation costs what it touches: the node, its names, and the directories whose life depends
on it. The result never depends on the order of arrival; conflict.projection defines it afresh
from the whole set, and both must agree.

Directories move as in Kleppmann et al., "A highly-available move operation for replicated trees"
(2021): moves count in the order of their stamps, and one that would put a directory below itself
is passed over. A late arrival undoes the younger moves and does them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from conflict.errors import MalformedValueError
from conflict.node import Location, NodeState, Version
from conflict.operations import (
    ROOT,
    Declare,
    Delete,
    Drop,
    LinkId,
    NodeId,
    Operation,
    Place,
    Put,
    TreeOperation,
    id_of,
)
from conflict.stamp import Stamp

ROOT_LOCATION = Location(ROOT, b"")  # the root itself, for which there is no name


@dataclass(frozen=True, slots=True)
class DirectoryMove:
    """One rename of a directory, in the history that late moves are sorted into."""

    stamp: Stamp
    node: NodeId
    target: Location
    previous: Location  # where the directory was, to undo the move
    is_effective: bool  # False: it would have put the directory below itself


@dataclass(frozen=True, slots=True)
class LiveLink:
    """One name that is in the tree."""

    name: bytes
    node: NodeId
    link: LinkId


class NodeStore(Protocol):
    """Where the tree keeps its state. All reads see all earlier writes."""

    def node(self, node: NodeId) -> NodeState | None:
        """Returns the node's state; changes to it count once it is saved."""
        ...

    def save_node(self, state: NodeState) -> None:
        """Keeps the state of a node."""
        ...

    def live_links_at(self, location: Location) -> list[LiveLink]:
        """Returns the live links that claim one name, sorted by node and link."""
        ...

    def live_links_in(self, parent: NodeId) -> Iterator[LiveLink]:
        """Yields the live links in one directory, sorted by name, node and link."""
        ...

    def add_live_link(self, parent: NodeId, live: LiveLink) -> None:
        """Enters a name into the tree."""
        ...

    def remove_live_link(self, parent: NodeId, live: LiveLink) -> None:
        """Takes a name out of the tree."""
        ...

    def moves_after(self, stamp: Stamp) -> list[DirectoryMove]:
        """Returns the moves with higher stamps, lowest first."""
        ...

    def save_move(self, move: DirectoryMove) -> None:
        """Keeps a move, in place of one with the same stamp."""
        ...

    def remove_node(self, node: NodeId) -> None:
        """Forgets a node that has no name in the tree."""
        ...

    def forget_moves(self, until: Stamp) -> None:
        """Forgets the moves up to a stamp, that one included."""
        ...

    def note_replaced(self, node: NodeId, version: Version) -> None:
        """Is told of a content that a file has no more, as a later one replaced it."""
        ...

    def set_contested(self, node: NodeId, *, is_contested: bool) -> None:
        """Keeps the list of nodes that may have conflicting versions."""
        ...

    def contested_nodes(self) -> Iterator[NodeId]:
        """Yields that list, sorted."""
        ...

    def crowded_locations(self) -> Iterator[Location]:
        """Yields the names that several live links claim, sorted."""
        ...


class MergedTree:
    """Applies operations to a node store. One thread at a time."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store

    def apply(self, operation: Operation) -> set[Location]:
        """Takes in an operation, after all those in its context.

        Returns:
            The names at which the tree may look different now; ROOT_LOCATION among them when the
            attributes or policies of the root may be different.

        Raises:
            MalformedValueError: the operation refers to what does not exist or contradicts it;
                nothing was changed.
        """
        if isinstance(operation, Declare):
            return set()
        change = _Change(self._store)
        state = self._state_for(operation)
        only = _only_name(operation, state)
        before = state.presence(only)
        was_listed_directory = state.is_directory and bool(before)
        if isinstance(operation, Put):
            for dot in operation.context & state.versions.keys():
                self._store.note_replaced(state.node, state.versions[dot])
        state.absorb(operation)
        self._store.save_node(state)
        if state.is_directory:
            self._update_directory(change, operation, state, was_live=was_listed_directory)
            after = state.presence()
        else:
            after = state.presence(only)
            self._update_file(change, state, before, after)
        change.touched.update(after.values())
        if state.node == ROOT:
            change.touched.add(ROOT_LOCATION)
        return change.touched

    def _state_for(self, operation: TreeOperation) -> NodeState:
        if isinstance(operation, Place):
            self._check_parent(operation)
        state = self._store.node(operation.node)
        if state is None and operation.node == ROOT:
            state = NodeState(ROOT, is_directory=True, created=operation.stamp)
        if state is None:
            return _created(operation)
        _check_fits(operation, state)
        return state

    def _check_parent(self, operation: Place) -> None:
        if operation.parent == ROOT:
            return
        parent = self._store.node(operation.parent)
        if parent is None or not parent.is_directory:
            raise MalformedValueError(f"{operation.dot} places a file in what is no directory")
        if operation.stamp <= parent.created:
            raise MalformedValueError(f"{operation.dot} is older than the directory it names")

    def _update_file(
        self,
        change: _Change,
        state: NodeState,
        before: dict[LinkId, Location],
        after: dict[LinkId, Location],
    ) -> None:
        for link, location in before.items():
            if after.get(link) != location:
                change.unlist(location, state.node, link)
        for link, location in after.items():
            if before.get(link) != location:
                change.list(location, state.node, link)
        self._store.set_contested(state.node, is_contested=state.may_conflict())

    def _update_directory(
        self, change: _Change, operation: TreeOperation, state: NodeState, *, was_live: bool
    ) -> None:
        if state.node == ROOT:
            return
        if isinstance(operation, Place) and operation.creates_link:
            state.location = Location(operation.parent, operation.name)
            self._store.save_node(state)
        elif isinstance(operation, Place):
            relocated = self._sort_in(operation)
            if relocated:
                assert state.location is not None
                relocated.setdefault(state.node, state.location)
                change.relocate(relocated, toggled=state.node, was_live=was_live)
                return
        if state.is_live_directory != was_live:
            change.show_directory(state) if state.is_live_directory else change.hide_directory(
                state
            )

    def _sort_in(self, operation: Place) -> dict[NodeId, Location]:
        """Sorts a move into the history; returns the directories that are elsewhere now."""
        younger = self._store.moves_after(operation.stamp)
        locations = _Locations(self._store)
        for move in reversed(younger):
            if move.is_effective:
                locations.set(move.node, move.previous)
        first = (operation.stamp, operation.node, Location(operation.parent, operation.name))
        for stamp, node, target in [first, *((m.stamp, m.node, m.target) for m in younger)]:
            previous = locations.get(node)
            is_effective = not locations.is_at_or_below(target.parent, node)
            self._store.save_move(DirectoryMove(stamp, node, target, previous, is_effective))
            if is_effective:
                locations.set(node, target)
        return locations.changed()


def _created(operation: TreeOperation) -> NodeState:
    if not isinstance(operation, Place) or not operation.creates_link:
        raise MalformedValueError(f"{operation.dot} changes a node that does not exist")
    if operation.node != id_of(operation.dot):
        raise MalformedValueError(f"{operation.dot} names a node that does not exist")
    return NodeState(operation.node, operation.is_directory, operation.stamp)


def _only_name(operation: TreeOperation, state: NodeState) -> LinkId | None:
    """Returns the one name of a file that an operation concerns; None if it may concern others.

    While another name has a place, none comes back or goes but the one that is placed or deleted,
    and a deletion that leaves a name changes nothing about which versions are seen. A file may
    have thousands of names: each of them is not to cost a look at all the others.
    """
    if state.is_directory or not state.versions:
        return None
    match operation:
        case Place(link=link):
            pass
        case Delete(link=link, is_last_name=False, aside=aside) if not aside:
            pass
        case _:
            return None
    return link if state.is_placed_but_for(link) else None


def _check_fits(operation: TreeOperation, state: NodeState) -> None:
    if isinstance(operation, Place):
        if operation.is_directory != state.is_directory:
            raise MalformedValueError(f"{operation.dot} takes a file for a directory")
        if operation.creates_link == (operation.link in state.links):
            raise MalformedValueError(f"{operation.dot} names a link that does not exist")
    if isinstance(operation, Put | Drop) and state.is_directory:
        raise MalformedValueError(f"{operation.dot} takes a directory for a file")
    if isinstance(operation, Put) and operation.via not in state.links:
        raise MalformedValueError(f"{operation.dot} writes through a name that does not exist")
    if isinstance(operation, Delete) and operation.link not in state.links:
        raise MalformedValueError(f"{operation.dot} deletes a name that does not exist")


class _Locations:
    """Places of directories while history is undone and done again."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self._overlay: dict[NodeId, Location] = {}

    def get(self, node: NodeId) -> Location:
        if node in self._overlay:
            return self._overlay[node]
        state = self._store.node(node)
        assert state is not None
        assert state.location is not None
        return state.location

    def set(self, node: NodeId, location: Location) -> None:
        self._overlay[node] = location

    def is_at_or_below(self, node: NodeId, ancestor: NodeId) -> bool:
        while node != ROOT:
            if node == ancestor:
                return True
            node = self.get(node).parent
        return False

    def changed(self) -> dict[NodeId, Location]:
        committed = _Locations(self._store)
        return {node: at for node, at in self._overlay.items() if committed.get(node) != at}


class _Change:
    """The effects of one operation on the listing of live names."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self._detached: set[NodeId] = set()
        self.touched: set[Location] = set()

    def list(self, location: Location, node: NodeId, link: LinkId) -> None:
        self.touched.add(location)
        self._store.add_live_link(location.parent, LiveLink(location.name, node, link))
        self._count(location.parent, 1)

    def unlist(self, location: Location, node: NodeId, link: LinkId) -> None:
        self.touched.add(location)
        self._store.remove_live_link(location.parent, LiveLink(location.name, node, link))
        self._count(location.parent, -1)

    def show_directory(self, state: NodeState) -> None:
        assert state.location is not None
        self.list(state.location, state.node, LinkId(state.node))

    def hide_directory(self, state: NodeState) -> None:
        assert state.location is not None
        self.unlist(state.location, state.node, LinkId(state.node))

    def relocate(
        self, locations: dict[NodeId, Location], *, toggled: NodeId, was_live: bool
    ) -> None:
        """Moves directories all at once, so that no step of it makes a cycle.

        The directory `toggled` may be live now and not have been before (`was_live`).
        """
        for node in sorted(locations):
            state = self._state(node)
            if was_live if node == toggled else state.is_live_directory:
                self.hide_directory(state)
            self._detached.add(node)
        for node, location in locations.items():
            state = self._state(node)
            state.location = location
            self._store.save_node(state)
        for node in sorted(locations):
            self._detached.discard(node)
            state = self._state(node)
            if state.is_live_directory:
                self.show_directory(state)

    def _count(self, parent: NodeId, change: int) -> None:
        """Counts a live child; life and death of the parent go on to its own parent."""
        while parent != ROOT:
            state = self._state(parent)
            was_live = state.is_live_directory
            state.live_child_count += change
            self._store.save_node(state)
            if state.is_live_directory == was_live or parent in self._detached:
                return
            assert state.location is not None
            live = LiveLink(state.location.name, state.node, LinkId(state.node))
            self.touched.add(state.location)
            if change > 0:
                self._store.add_live_link(state.location.parent, live)
            else:
                self._store.remove_live_link(state.location.parent, live)
            parent = state.location.parent

    def _state(self, node: NodeId) -> NodeState:
        state = self._store.node(node)
        assert state is not None
        return state


def path_of(store: NodeStore, location: Location) -> tuple[bytes, ...]:
    """Returns the names from the root down to a location, whether or not they are live."""
    names = [location.name]
    parent = location.parent
    while parent != ROOT:
        state = store.node(parent)
        assert state is not None
        assert state.location is not None
        names.append(state.location.name)
        parent = state.location.parent
    return tuple(reversed(names))


def directories_at(store: NodeStore, path: Iterable[bytes]) -> tuple[NodeId, ...]:
    """Returns the live directories that share one path and so are one directory; sorted."""
    together: tuple[NodeId, ...] = (ROOT,)
    for name in path:
        together = subdirectories(store, together, name)
    return together


def subdirectories(
    store: NodeStore, together: tuple[NodeId, ...], name: bytes
) -> tuple[NodeId, ...]:
    """Returns the live directories of one name in a directory (given by all its nodes); sorted."""
    found = set()
    for parent in together:
        for live in store.live_links_at(Location(parent, name)):
            state = store.node(live.node)
            if state is not None and state.is_directory:
                found.add(live.node)
    return tuple(sorted(found))
