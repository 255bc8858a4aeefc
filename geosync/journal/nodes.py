"""The merged tree in the journal: conflict.merged_tree.NodeStore over SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from conflict.checkpoint import PastVersion
from conflict.forgetting import is_gone
from conflict.merged_tree import DirectoryMove, LiveLink
from conflict.node import Location, NodeState, Version
from conflict.operations import NodeId, id_of
from conflict.stamp import Stamp
from conflict.version import ActorId, Dot
from geosync.journal.history import JournalHistory
from geosync.journal.records import (
    pack_move,
    pack_node,
    pack_version,
    unpack_move,
    unpack_node,
)

CACHED_NODES_MAX: Final = 3_000  # then all but the newest half is forgotten


class JournalNodes:
    """Keeps changed nodes in memory until `flush`, which belongs to every transaction's end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._history = JournalHistory(connection)
        self._cache: dict[NodeId, NodeState] = {}
        self._changed: dict[NodeId, bool | None] = {}  # is_contested, None: as it was
        self._versions: dict[NodeId, dict[Dot, Version]] = {}  # as last read or saved
        self._replaced: list[tuple[NodeId, Version]] = []
        self._crowded: set[Location] | None = None  # None: not known yet
        self._is_changing = False
        self.while_looking: Callable[[NodeState], None] | None = None  # is given what is saved

    def begin(self) -> None:
        """Keeps all that is read from now on in memory until `flush`, as it may be changed."""
        self._is_changing = True

    def flush(self) -> None:
        """Writes what changed. To be called inside the transaction, as its last step."""
        self._keep_replaced(self._replaced)
        self._replaced.clear()
        states = {node: self._cache[node] for node in self._changed}
        for state in states.values():
            if not state.is_directory:
                self._note_marked(state)
        self._note_gone(states.values())
        records = [
            (node, is_contested, pack_node(states[node]))
            for node, is_contested in self._changed.items()
        ]
        self._connection.executemany(
            "INSERT INTO node VALUES (?1, coalesce(?2, 0), ?3) ON CONFLICT (node) DO UPDATE"
            " SET is_contested = coalesce(?2, is_contested), record = excluded.record",
            records,
        )
        self._changed.clear()
        self._is_changing = False
        self._limit_cache()

    def _limit_cache(self) -> None:
        if len(self._cache) > CACHED_NODES_MAX:
            for node in list(islice(self._cache, len(self._cache) - CACHED_NODES_MAX // 2)):
                del self._cache[node]
                self._versions.pop(node, None)

    def forget_changes(self) -> None:
        """Drops what was not flushed: the transaction was rolled back."""
        self._crowded = None
        self._cache.clear()
        self._changed.clear()
        self._versions.clear()
        self._replaced.clear()
        self._is_changing = False

    def node(self, node: NodeId) -> NodeState | None:
        """See NodeStore."""
        cached = self._cache.get(node)
        if cached is not None:
            return cached
        row = self._connection.execute("SELECT record FROM node WHERE node = ?", (node,)).fetchone()
        if row is None:
            return None
        if not self._is_changing:
            self._limit_cache()
        state = unpack_node(node, row[0])
        self._cache[node] = state
        self._versions[node] = dict(state.versions)
        return state

    def all_nodes(self) -> Iterator[NodeState]:
        """Yields the states of all nodes, also of those that are gone, sorted by identity.

        Not to be mixed with changes, and not kept in memory.
        """
        rows = self._connection.execute("SELECT node, record FROM node ORDER BY node")
        return (unpack_node(NodeId(node), record) for node, record in rows)

    def some_after(self, node: bytes, count: int) -> list[NodeState]:
        """Returns the states of the nodes that come next, at most so many, sorted by identity."""
        rows = self._connection.execute(
            "SELECT node, record FROM node WHERE node > ? ORDER BY node LIMIT ?", (node, count)
        )
        return [unpack_node(NodeId(found), record) for found, record in rows]

    def clear(self) -> None:
        """Forgets the whole tree, to put another one in its place. In a transaction."""
        self.forget_changes()
        for table in ("node", "gone", "live_link", "directory_move"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - no input

    def save_node(self, state: NodeState) -> None:
        """See NodeStore."""
        self._cache[state.node] = state
        self._changed.setdefault(state.node, None)
        before = self._versions.get(state.node, {})
        gone = before.keys() - state.versions.keys()
        self._replaced += [(state.node, before[dot]) for dot in gone]
        self._versions[state.node] = dict(state.versions)
        if self.while_looking is not None:
            self.while_looking(state)

    def _note_gone(self, states: Iterable[NodeState]) -> None:
        """Keeps in mind what has no name any more; since when, a look finds out."""
        gone: list[tuple[NodeId]] = []
        there: list[tuple[NodeId]] = []
        for state in states:
            (gone if is_gone(state) else there).append((state.node,))
        self._connection.executemany("INSERT OR REPLACE INTO gone VALUES (?, 0)", gone)
        self._connection.executemany("DELETE FROM gone WHERE node = ?", there)

    def remove_node(self, node: NodeId) -> None:
        """See NodeStore."""
        self._cache.pop(node, None)
        self._changed.pop(node, None)
        self._versions.pop(node, None)
        for table in ("node", "gone"):
            self._connection.execute(f"DELETE FROM {table} WHERE node = ?", (node,))  # noqa: S608

    def _note_marked(self, state: NodeState) -> None:
        """Keeps versions in mind that perhaps nobody sees; the collection finds out."""
        marked = filter(_is_marked, state.versions.values())
        self._keep_replaced((state.node, version) for version in marked)

    def _keep_replaced(self, versions: Iterable[tuple[NodeId, Version]]) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO replaced VALUES (?, ?, 0, ?)",
            [(node, id_of(version.dot), pack_version(version)) for node, version in versions],
        )

    def count_live_links(self) -> int:
        """Returns how many names there are in all directories."""
        found: int = self._connection.execute("SELECT count(*) FROM live_link").fetchone()[0]
        return found

    def live_links_at(self, location: Location) -> list[LiveLink]:
        """See NodeStore."""
        rows = self._connection.execute(
            "SELECT name, node, link FROM live_link WHERE parent = ? AND name = ?"
            " ORDER BY node, link",
            location,
        )
        return [LiveLink(*row) for row in rows]

    def live_links_in(self, parent: NodeId) -> Iterator[LiveLink]:
        """See NodeStore."""
        rows = self._connection.execute(
            "SELECT name, node, link FROM live_link WHERE parent = ? ORDER BY name, node, link",
            (parent,),
        ).fetchall()
        return (LiveLink(*row) for row in rows)

    def add_live_link(self, parent: NodeId, live: LiveLink) -> None:
        """See NodeStore."""
        self._connection.execute(
            "INSERT INTO live_link VALUES (?, ?, ?, ?)", (parent, live.name, live.node, live.link)
        )
        self._note_crowd(Location(parent, live.name))

    def remove_live_link(self, parent: NodeId, live: LiveLink) -> None:
        """See NodeStore."""
        self._connection.execute(
            "DELETE FROM live_link WHERE parent = ? AND name = ? AND node = ? AND link = ?",
            (parent, live.name, live.node, live.link),
        )
        self._note_crowd(Location(parent, live.name))

    def moves_after(self, stamp: Stamp) -> list[DirectoryMove]:
        """See NodeStore."""
        rows = self._connection.execute(
            "SELECT epoch, ticks, actor, record FROM directory_move"
            " WHERE (epoch, ticks, actor) > (?, ?, ?) ORDER BY epoch, ticks, actor",
            stamp,
        )
        return [
            unpack_move(Stamp(epoch, ticks, ActorId(actor)), record)
            for epoch, ticks, actor, record in rows
        ]

    def save_move(self, move: DirectoryMove) -> None:
        """See NodeStore."""
        self._connection.execute(
            "INSERT OR REPLACE INTO directory_move VALUES (?, ?, ?, ?)",
            (*move.stamp, pack_move(move)),
        )

    def forget_moves(self, until: Stamp) -> None:
        """See NodeStore."""
        self._connection.execute(
            "DELETE FROM directory_move WHERE (epoch, ticks, actor) <= (?, ?, ?)", until
        )

    def last_move(self) -> Stamp | None:
        """Returns the highest stamp of a directory's rename that is kept."""
        row = self._connection.execute(
            "SELECT epoch, ticks, actor FROM directory_move"
            " ORDER BY epoch DESC, ticks DESC, actor DESC LIMIT 1"
        ).fetchone()
        return None if row is None else Stamp(row[0], row[1], ActorId(row[2]))

    def first_move(self) -> Stamp | None:
        """Returns the lowest stamp of a directory's rename that is kept."""
        row = self._connection.execute(
            "SELECT epoch, ticks, actor FROM directory_move ORDER BY epoch, ticks, actor LIMIT 1"
        ).fetchone()
        return None if row is None else Stamp(row[0], row[1], ActorId(row[2]))

    def note_replaced(self, node: NodeId, version: Version) -> None:
        """See NodeStore; geosync.journal.history tells it again."""
        past = PastVersion(node, version.content.digest, version.dot, version.stamp.time_ms)
        self._history.add_all([past])

    def set_contested(self, node: NodeId, *, is_contested: bool) -> None:
        """See NodeStore."""
        self._changed[node] = is_contested

    def contested_nodes(self) -> Iterator[NodeId]:
        """See NodeStore."""
        rows = self._connection.execute(
            "SELECT node FROM node WHERE is_contested = 1 ORDER BY node"
        ).fetchall()
        stored = {NodeId(node) for (node,) in rows}
        for node, is_contested in self._changed.items():
            if is_contested is not None:
                (stored.add if is_contested else stored.discard)(node)
        return iter(sorted(stored))

    def crowded_locations(self) -> Iterator[Location]:
        """See NodeStore. Each status asks for them: all names are looked at once only."""
        if self._crowded is None:
            rows = self._connection.execute(
                "SELECT parent, name FROM live_link GROUP BY parent, name HAVING count(*) > 1"
            )
            self._crowded = {Location(NodeId(parent), name) for parent, name in rows}
        return iter(sorted(self._crowded))

    def _note_crowd(self, location: Location) -> None:
        """Is told of a name at which a live link came or went."""
        if self._crowded is None:
            return
        row = self._connection.execute(
            "SELECT count(*) FROM live_link WHERE parent = ? AND name = ?", location
        ).fetchone()
        (self._crowded.add if row[0] > 1 else self._crowded.discard)(location)


def shown_versions(state: NodeState) -> list[Version]:
    """Returns the versions of a file that somebody sees: at a name, or as conflicts."""
    return [*state.visible_versions(), *state.orphaned_versions()]


def _is_marked(version: Version) -> bool:
    return bool(version.is_deleted or version.is_aside or version.is_settled or version.unlinked)
