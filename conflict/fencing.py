"""Fencing: late writes of a former primary never win, and nothing of them is lost.

What was written concurrently on both sides is decided by the epoch in the stamps. But a late write
may also just follow a version that the new primary still has, and would then replace it. So the
new primary writes its own state again, concurrent with the late write, and the epoch decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from conflict.author import Author
from conflict.merged_tree import NodeStore, path_of
from conflict.node import NodeState, Version
from conflict.operations import (
    MTIME_NS,
    NOTHING,
    ROOT,
    AttributeValue,
    Context,
    Declare,
    Delete,
    LinkId,
    NodeId,
    Operation,
    Place,
    Put,
    TreeOperation,
)
from conflict.policy import SITE_KEY_PREFIX
from conflict.rendering import Claim
from conflict.synced import Path
from conflict.version import Dot


class LateKind(StrEnum):
    """What a late write did to a file or directory; the most telling of all it did."""

    CREATED = "created"
    DELETED = "deleted"
    WRITTEN = "written"
    MOVED = "moved"
    ATTRIBUTES = "attributes"


@dataclass(frozen=True, slots=True)
class Late:
    """What late operations did to one file or directory."""

    dot: Dot  # of the one that tells most
    path: Path
    kind: LateKind
    written_at_ms: int


_IMPORTANCE = list(LateKind)


def is_about_tree(operation: Operation) -> bool:
    """Tells whether an operation changes what a site shows; a site's introduction does not."""
    if isinstance(operation, Declare):
        return False
    if operation.node != ROOT:
        return True
    keys = [key for key, _ in getattr(operation, "attributes", ())]
    return not all(key.startswith(SITE_KEY_PREFIX) for key in keys)


def late(nodes: NodeStore, operations: Iterable[Operation]) -> list[Late]:
    """Returns what late operations did, each file or directory once, sorted by path.

    Args:
        nodes: the merged tree, which holds the operations by now.
        operations: all of them late, and of one actor.
    """
    told: dict[NodeId, tuple[LateKind, TreeOperation]] = {}
    for operation in operations:
        if isinstance(operation, Declare) or not is_about_tree(operation):
            continue
        kind = _kind(operation)
        before = told.get(operation.node)
        if before is None or _IMPORTANCE.index(kind) <= _IMPORTANCE.index(before[0]):
            is_still_new = before is not None and before[0] is LateKind.CREATED
            told[operation.node] = (LateKind.CREATED if is_still_new else kind, operation)
    found = [
        Late(operation.dot, _path(nodes, operation), kind, operation.stamp.time_ms)
        for kind, operation in told.values()
    ]
    return sorted(found, key=lambda each: (each.path, each.dot))


def _kind(operation: TreeOperation) -> LateKind:
    match operation:
        case Place():
            return LateKind.CREATED if operation.creates_link else LateKind.MOVED
        case Put():
            return LateKind.WRITTEN
        case Delete():
            return LateKind.DELETED
        case _:
            return LateKind.ATTRIBUTES


def _path(nodes: NodeStore, operation: TreeOperation) -> Path:
    state = nodes.node(operation.node)
    if state is None or operation.node == ROOT:
        return ()
    link = getattr(operation, "link", getattr(operation, "via", None))
    shown = state.presence()
    if state.is_directory and state.location is not None:
        return path_of(nodes, state.location)
    if link is None or link not in state.links:
        link = min(shown or state.links)
    return path_of(nodes, shown.get(link, state.links[link].location))


def copies_before(
    nodes: NodeStore, operations: Iterable[Operation]
) -> dict[NodeId, NodeState | None]:
    """Returns the nodes that operations are about as they are before these; None: not yet there."""
    found: dict[NodeId, NodeState | None] = {}
    for operation in operations:
        if not isinstance(operation, Declare) and is_about_tree(operation):
            state = nodes.node(operation.node)
            found.setdefault(operation.node, None if state is None else _copy(state))
    return found


def _copy(state: NodeState) -> NodeState:
    return replace(
        state,
        links=dict(state.links),
        versions=dict(state.versions),
        registers=dict(state.registers),
    )


def write_again(
    author: Author, nodes: NodeStore, before: Mapping[NodeId, NodeState | None]
) -> dict[NodeId, Dot]:
    """Writes what the tree had before late operations, as far as they took it away.

    Args:
        author: of the new primary.
        nodes: the merged tree with the late operations.
        before: the nodes that they are about; see `copies_before`.

    Returns:
        The contents that were written again: node -> version.
    """
    written: dict[NodeId, Dot] = {}
    for node, was in sorted(before.items(), key=lambda item: item[0]):
        if was is None:
            continue  # it replaces nothing, and stays
        _write_names(author, nodes, was)
        version = None if was.is_directory else _write_content(author, nodes, was)
        if version is not None:
            written[node] = version
        else:
            _write_attributes(author, nodes, was)
    return written


def _write_names(author: Author, nodes: NodeStore, was: NodeState) -> None:
    for link, location in sorted(was.presence().items()):
        places = was.links[link].place_dots
        lost = places - _now(nodes, was).links[link].place_dots
        if lost:
            author.move((Claim(was.node, link, lost),), location.parent, location.name)


def _write_content(author: Author, nodes: NodeStore, was: NodeState) -> Dot | None:
    visible = was.visible_versions()
    if not visible:
        return None
    winner = max(visible, key=lambda version: (not version.is_aside, version.stamp))
    now = _now(nodes, was)
    equal = [v for v in visible if v.content.digest == winner.content.digest]
    if any(now.versions.get(version.dot) == version for version in equal):
        return None
    lost: Context = frozenset(version.dot for version in equal)
    link: LinkId = winner.via
    claim = Claim(was.node, link, NOTHING, lost)
    (kept,) = author.write((claim,), winner.content, _attributes_of(was, now, winner))
    (dot,) = kept.content_dots
    return dot


def _attributes_of(
    was: NodeState, now: NodeState, winner: Version
) -> tuple[tuple[bytes, AttributeValue], ...]:
    """Returns what comes with a content: its own time, and whatever was changed late."""
    mtime = {key: value for key, value in winner.attributes if key == MTIME_NS}
    return tuple(sorted((mtime | dict(_changed(was, now))).items(), key=lambda item: item[0]))


def _write_attributes(author: Author, nodes: NodeStore, was: NodeState) -> None:
    changed = _changed(was, _now(nodes, was))
    if not changed:
        return
    if was.node == ROOT:
        author.set_root_attributes(changed)
    else:
        author.set_attributes((Claim(was.node, LinkId(was.node), NOTHING),), changed)


def _changed(was: NodeState, now: NodeState) -> tuple[tuple[bytes, AttributeValue], ...]:
    return tuple(
        (key, was.value(key))
        for key, register in sorted(now.registers.items())
        if was.registers.get(key) != register and not key.startswith(SITE_KEY_PREFIX)
    )


def _now(nodes: NodeStore, was: NodeState) -> NodeState:
    state = nodes.node(was.node)
    assert state is not None
    return state
