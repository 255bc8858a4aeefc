"""A node store in memory: the plain one, for simulation, tests and small volumes."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator

from conflict.merged_tree import DirectoryMove, LiveLink
from conflict.node import Location, NodeState, Version
from conflict.operations import NodeId
from conflict.stamp import Stamp


class MemoryNodes:
    """Implements conflict.merged_tree.NodeStore with dictionaries."""

    def __init__(self) -> None:
        self._states: dict[NodeId, NodeState] = {}
        self._live: dict[NodeId, dict[bytes, set[LiveLink]]] = {}
        self._move_stamps: list[Stamp] = []
        self._moves: dict[Stamp, DirectoryMove] = {}
        self._contested: set[NodeId] = set()

    def node(self, node: NodeId) -> NodeState | None:
        """See NodeStore."""
        return self._states.get(node)

    def all_nodes(self) -> Iterator[NodeState]:
        """Yields all states, sorted by identity."""
        return (self._states[node] for node in sorted(self._states))

    def save_node(self, state: NodeState) -> None:
        """See NodeStore."""
        self._states[state.node] = state

    def live_links_at(self, location: Location) -> list[LiveLink]:
        """See NodeStore."""
        found = self._live.get(location.parent, {}).get(location.name, set())
        return sorted(found, key=lambda live: (live.node, live.link))

    def live_links_in(self, parent: NodeId) -> Iterator[LiveLink]:
        """See NodeStore."""
        for name in sorted(self._live.get(parent, {})):
            yield from self.live_links_at(Location(parent, name))

    def add_live_link(self, parent: NodeId, live: LiveLink) -> None:
        """See NodeStore."""
        self._live.setdefault(parent, {}).setdefault(live.name, set()).add(live)

    def remove_live_link(self, parent: NodeId, live: LiveLink) -> None:
        """See NodeStore."""
        names = self._live[parent]
        names[live.name].remove(live)
        if not names[live.name]:
            del names[live.name]

    def moves_after(self, stamp: Stamp) -> list[DirectoryMove]:
        """See NodeStore."""
        first = bisect_right(self._move_stamps, stamp)
        return [self._moves[later] for later in self._move_stamps[first:]]

    def save_move(self, move: DirectoryMove) -> None:
        """See NodeStore."""
        if move.stamp not in self._moves:
            insort(self._move_stamps, move.stamp)
        self._moves[move.stamp] = move

    def remove_node(self, node: NodeId) -> None:
        """See NodeStore."""
        del self._states[node]
        self._contested.discard(node)

    def forget_moves(self, until: Stamp) -> None:
        """See NodeStore."""
        count = bisect_right(self._move_stamps, until)
        for stamp in self._move_stamps[:count]:
            del self._moves[stamp]
        del self._move_stamps[:count]

    def note_replaced(self, node: NodeId, version: Version) -> None:
        """See NodeStore; nobody asks for it here."""

    def set_contested(self, node: NodeId, *, is_contested: bool) -> None:
        """See NodeStore."""
        if is_contested:
            self._contested.add(node)
        else:
            self._contested.discard(node)

    def contested_nodes(self) -> Iterator[NodeId]:
        """See NodeStore."""
        yield from sorted(self._contested)

    def crowded_locations(self) -> Iterator[Location]:
        """See NodeStore."""
        for parent in sorted(self._live):
            for name, links in sorted(self._live[parent].items()):
                if len(links) > 1:
                    yield Location(parent, name)
