"""Fencing: late writes of a former primary never win, and nothing of them is lost.

What was written concurrently on both sides is decided by the epoch in the stamps. But a late write
may also just follow a version that the new primary still has, and would then replace it. So the
new primary writes its own state again, concurrent with the late write, and the epoch decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from conflict.author import Author
from conflict.merged_tree import NodeStore, directories_at, path_of
from conflict.node import Location, NodeState, PlaceRecord, Version
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
    dot_of,
)
from conflict.policy import SITE_KEY_PREFIX
from conflict.rendering import Claim, claimants_at, joined_attributes
from conflict.stamp import Stamp
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
    """Returns the nodes that operations may change, as they are before; None: not yet there."""
    found: dict[NodeId, NodeState | None] = {}
    for operation in operations:
        if not isinstance(operation, Declare) and is_about_tree(operation):
            state = nodes.node(operation.node)
            found.setdefault(operation.node, None if state is None else _copy(state))
            for moved in _moved_since(nodes, operation):
                found.setdefault(moved.node, _copy(moved))
    return found


def _moved_since(nodes: NodeStore, operation: TreeOperation) -> Iterator[NodeState]:
    """Yields the directories whose later moves a late move may make ineffective."""
    if isinstance(operation, Place) and operation.is_directory and not operation.creates_link:
        for move in nodes.moves_after(operation.stamp):
            state = nodes.node(move.node)
            if state is not None:
                yield state


def _copy(state: NodeState) -> NodeState:
    return replace(
        state,
        links=dict(state.links),
        versions=dict(state.versions),
        registers=dict(state.registers),
    )


DEPTH_OF_FILES = 2**31
IsLate = Callable[[Dot, Stamp], bool]


def write_again(
    author: Author,
    nodes: NodeStore,
    before: Mapping[NodeId, NodeState | None],
    is_late: IsLate,
) -> dict[NodeId, Dot]:
    """Writes what the tree had before late operations, as far as they took it away.

    What was late itself is not written again: in the epoch of the primary it would win.

    Args:
        author: of the new primary.
        nodes: the merged tree with the late operations.
        before: the nodes that they are about; see `copies_before`.
        is_late: tells whether an operation was late.

    Returns:
        The contents that were written again: node -> version.
    """
    written: dict[NodeId, Dot] = {}
    for node, was in sorted(
        before.items(), key=lambda item: (_depth(nodes, before, item[0]), item[0])
    ):
        if was is None or (node != ROOT and is_late(dot_of(node), was.created)):
            continue  # it replaces nothing, and is its author's
        is_named = _write_names(author, nodes, was, is_late)
        if was.is_directory and is_named:
            # One that was made late under this name is one with it, and brought newer attributes.
            _set(author, was.node, ((k, r.value) for k, r in sorted(was.registers.items())))
            continue
        version = None if was.is_directory else _write_content(author, nodes, was, is_late)
        if version is not None:
            written[node] = version
        else:
            _write_attributes(author, nodes, was, is_late)
    for node in sorted(before):
        for location in _late_names(nodes, node, is_late):
            _defend(author, nodes, path_of(nodes, location), is_late)
    return written


def _late_names(nodes: NodeStore, node: NodeId, is_late: IsLate) -> list[Location]:
    """Returns the names that a file or directory was given late."""
    state = nodes.node(node)
    shown = state.presence() if state is not None else {}
    return [
        location
        for link, location in sorted(shown.items())
        if state is not None and _is_late_name(state, link, is_late)
    ]


def _is_late_name(state: NodeState, link: LinkId, is_late: IsLate) -> bool:
    place = _last_place(state, link)
    return is_late(place.dot, place.stamp)


def _last_place(state: NodeState, link: LinkId) -> PlaceRecord:
    return max(state.links[link].places or (state.links[link].latest,), key=lambda p: p.stamp)


def _defend(author: Author, nodes: NodeStore, path: Path, is_late: IsLate) -> None:
    """Gives a name that something came to late back to what the primary has there.

    That happens where the two did not know of each other: most names are kept by their own nodes.
    """
    together = directories_at(nodes, path[:-1])
    claimants = claimants_at(nodes, together, path[-1])
    own = [(s, link) for s, link in claimants if not _is_late_name(s, link, is_late)]
    directories = [state for state, _ in own if state.is_directory]
    if directories:
        _defend_directory(author, nodes, path, directories, is_late)
        return
    if not own or len(own) == len(claimants):
        return
    state, link = max(own, key=lambda claimant: _last_place(*claimant).stamp)
    highest = max(_last_place(*claimant).stamp for claimant in claimants)
    place = _last_place(state, link)
    if place.stamp < highest:
        claim = Claim(state.node, link, state.links[link].place_dots)
        author.keep_name(claim, place.location.parent, place.location.name)


def _defend_directory(
    author: Author, nodes: NodeStore, path: Path, own: list[NodeState], is_late: IsLate
) -> None:
    """Keeps attributes and names where a directory became one with others that came late."""
    everybody = [
        state
        for state, _ in claimants_at(nodes, directories_at(nodes, path[:-1]), path[-1])
        if state.is_directory
    ]
    if len(everybody) == len(own):
        return
    values = joined_attributes(own)
    if joined_attributes(everybody) != values:
        _set(author, own[0].node, values)
    known = {state.node for state in own}
    late_ones = [state.node for state in everybody if state.node not in known]
    names = {live.name for node in late_ones for live in nodes.live_links_in(node)}
    for name in sorted(names):
        _defend(author, nodes, (*path, name), is_late)


def _depth(nodes: NodeStore, before: Mapping[NodeId, NodeState | None], node: NodeId) -> int:
    """Returns how deep a directory was; files come after all of them.

    A directory goes back to its place once those above it have: else it would be put below itself
    where two of them were exchanged late.
    """
    depth = 0
    while node != ROOT:
        state = before.get(node) or nodes.node(node)
        if state is None or state.location is None:
            return DEPTH_OF_FILES
        node = state.location.parent
        depth += 1
    return depth


def _write_names(author: Author, nodes: NodeStore, was: NodeState, is_late: IsLate) -> bool:
    """Returns whether there was anything to be written."""
    is_written = False
    for link, location in sorted(was.presence().items()):
        places = [p for p in was.links[link].places if not is_late(p.dot, p.stamp)]
        kept = _now(nodes, was).links[link].place_dots
        lost = frozenset(place.dot for place in places) - kept
        if was.is_directory and _now(nodes, was).location != location:
            lost = frozenset(place.dot for place in places)  # a late move made it a cycle, perhaps
        if lost:
            author.keep_name(Claim(was.node, link, lost), location.parent, location.name)
            is_written = True
    return is_written


def _write_content(author: Author, nodes: NodeStore, was: NodeState, is_late: IsLate) -> Dot | None:
    visible = was.visible_versions()
    winner = max(visible, key=lambda v: (not v.is_aside, v.stamp), default=None)
    if winner is None or is_late(winner.dot, winner.stamp):
        return None
    now = _now(nodes, was)
    equal = [v for v in visible if v.content.digest == winner.content.digest]
    if any(now.versions.get(version.dot) == version for version in equal):
        return None
    lost: Context = frozenset(version.dot for version in equal)
    link: LinkId = winner.via
    claim = Claim(was.node, link, NOTHING, lost)
    return author.keep_content(claim, winner.content, _attributes_of(was, now, winner, is_late))


def _attributes_of(
    was: NodeState, now: NodeState, winner: Version, is_late: IsLate
) -> tuple[tuple[bytes, AttributeValue], ...]:
    """Returns what comes with a content: the time that it was shown with, and what changed late."""
    written = dict(_changed(was, now, is_late))
    mtime = was.registers.get(MTIME_NS)
    if mtime is not None:
        own = dict(winner.attributes).get(MTIME_NS)
        written[MTIME_NS] = own if mtime.dot in was.versions else mtime.value
    return tuple(sorted(written.items(), key=lambda item: item[0]))


def _write_attributes(author: Author, nodes: NodeStore, was: NodeState, is_late: IsLate) -> None:
    _set(author, was.node, _changed(was, _now(nodes, was), is_late))


def _set(author: Author, node: NodeId, values: Iterable[tuple[bytes, AttributeValue]]) -> None:
    attributes = tuple(values)
    if node == ROOT and attributes:
        author.set_root_attributes(attributes)
    elif attributes:
        author.set_attributes((Claim(node, LinkId(node), NOTHING),), attributes)


def _changed(
    was: NodeState, now: NodeState, is_late: IsLate
) -> Iterator[tuple[bytes, AttributeValue]]:
    for key, register in sorted(now.registers.items()):
        before = was.registers.get(key)
        is_ours = before is None or not is_late(before.dot, before.stamp)
        if before != register and is_ours and not key.startswith(SITE_KEY_PREFIX):
            yield key, was.value(key)


def _now(nodes: NodeStore, was: NodeState) -> NodeState:
    state = nodes.node(was.node)
    assert state is not None
    return state
