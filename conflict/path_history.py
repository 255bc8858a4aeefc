"""The history of a path: what happened to the files that had it, as the operations tell it.

Directories are what they are called now, or were called last: a path is followed through renames of
what is at its end, and of everything above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from conflict.content import Content
from conflict.operations import (
    ROOT,
    AttributeChanges,
    Context,
    Declare,
    Delete,
    Drop,
    LinkId,
    NodeId,
    Operation,
    Place,
    Put,
    SetAttributes,
    TreeOperation,
)
from conflict.stamp import Stamp
from conflict.version import Dot

Path = tuple[bytes, ...]


class What(StrEnum):
    """What happened."""

    CREATED = "created"
    LINKED = "linked"  # one more name
    RENAMED = "renamed"
    WRITTEN = "written"
    ATTRIBUTES = "attributes"
    DELETED = "deleted"  # one name of it
    SETTLED = "settled"  # conflicting versions are no longer wanted


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a file or directory.

    Attributes:
        what: of which kind.
        dot: of the operation.
        stamp: of the operation; its time is by the author's clock.
        node: which file or directory.
        path: the name that is meant: the new one of a rename; None when it is not known any more.
        path_before: of a rename.
        content: what was written.
        attributes: what was set.
        replaced: the versions that were on the author's disk and are over with this.
        concurrent: versions beside it: of those neither had replaced the other.
    """

    what: What
    dot: Dot
    stamp: Stamp
    node: NodeId
    path: Path | None = None
    path_before: Path | None = None
    content: Content | None = None
    attributes: AttributeChanges = ()
    replaced: Context = field(default_factory=frozenset)
    concurrent: Context = field(default_factory=frozenset)


def history_of(path: Path, operations: Iterable[Operation]) -> list[Event]:
    """Returns what happened to every file and directory that ever had a path, oldest first.

    Args:
        path: below the root; the empty path is the root.
        operations: all that are known, in any order.
    """
    changes = [each for each in operations if not isinstance(each, Declare)]
    history = _History(sorted(changes, key=lambda operation: operation.stamp))
    nodes = history.nodes_at(path)
    return list(history.events_of(nodes))


class _History:
    def __init__(self, ordered: list[TreeOperation]) -> None:
        self._ordered = ordered
        self._last_place: dict[LinkId, Place] = {}
        for operation in ordered:
            if isinstance(operation, Place):
                self._last_place[operation.link] = operation

    def nodes_at(self, path: Path) -> set[NodeId]:
        """Returns all nodes that were placed at a path, in directories that were at its parent."""
        nodes = {ROOT}
        for name in path:
            nodes = {
                operation.node
                for operation in self._ordered
                if isinstance(operation, Place)
                and operation.name == name
                and operation.parent in nodes
            }
        return nodes

    def events_of(self, nodes: set[NodeId]) -> Iterator[Event]:
        mine = [each for each in self._ordered if each.node in nodes]
        concurrent = _concurrent_versions(each for each in mine if isinstance(each, Put))
        places: dict[LinkId, Place] = {}
        for operation in mine:
            match operation:
                case Place():
                    yield self._placed(operation, places.get(operation.link))
                    places[operation.link] = operation
                case Put():
                    via = self._last_place.get(operation.via)
                    yield Event(
                        What.WRITTEN,
                        operation.dot,
                        operation.stamp,
                        operation.node,
                        path=self._path(places.get(operation.via, via)),
                        content=operation.content,
                        attributes=operation.attributes,
                        replaced=operation.context,
                        concurrent=concurrent.get(operation.dot, frozenset()),
                    )
                case _:
                    yield self._changed(operation, places)

    def _placed(self, operation: Place, before: Place | None) -> Event:
        what = What.RENAMED if before is not None else What.CREATED
        if before is None and operation.link != operation.node:
            what = What.LINKED
        return Event(
            what,
            operation.dot,
            operation.stamp,
            operation.node,
            path=self._path(operation),
            path_before=self._path(before),
        )

    def _changed(
        self, operation: SetAttributes | Delete | Drop, places: dict[LinkId, Place]
    ) -> Event:
        what, path, replaced = What.SETTLED, None, frozenset[Dot]()
        attributes: AttributeChanges = ()
        if isinstance(operation, SetAttributes):
            what, attributes = What.ATTRIBUTES, operation.attributes
            path = self._path(places.get(LinkId(operation.node)))
        elif isinstance(operation, Delete):
            what, replaced = What.DELETED, operation.context
            path = self._path(places.get(operation.link))
        else:
            replaced = operation.context
        return Event(
            what,
            operation.dot,
            operation.stamp,
            operation.node,
            path=path,
            attributes=attributes,
            replaced=replaced,
        )

    def _path(self, place: Place | None) -> Path | None:
        """Returns the names down to a place, with directories as they are called last."""
        names: list[bytes] = []
        passed: set[NodeId] = set()
        while place is not None:
            names.append(place.name)
            if place.parent == ROOT:
                return tuple(reversed(names))
            if place.parent in passed:  # concurrent moves that put each other below themselves
                return None
            passed.add(place.parent)
            place = self._last_place.get(LinkId(place.parent))
        return None


def _concurrent_versions(puts: Iterable[Put]) -> dict[Dot, Context]:
    """Returns for each version those that stood beside it because neither had replaced the other.

    Args:
        puts: in the order of their stamps, which is also that of cause and effect.
    """
    heads: dict[NodeId, set[Dot]] = {}
    beside: dict[Dot, frozenset[Dot]] = {}
    for put in puts:
        others = heads.setdefault(put.node, set()) - put.context
        beside[put.dot] = frozenset(others)
        for other in others:
            beside[other] |= {put.dot}
        heads[put.node] = others | {put.dot}
    return beside
