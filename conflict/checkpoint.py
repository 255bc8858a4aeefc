"""A tree without the history that made it: what a new site is given in place of old operations.

Two sites that received the same operations hold the same states, but perhaps in another order.
Here they get one form, are put into an empty store, and are compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from conflict.errors import MalformedValueError
from conflict.merged_tree import LiveLink, NodeStore
from conflict.node import LinkState, NodeState
from conflict.operations import ID_SIZE_BYTES, ROOT, LinkId, NodeId, dot_of
from conflict.stamp import Stamp
from conflict.version import ACTOR_SIZE_BYTES, ActorId, Dot

NOBODY = ActorId(bytes(ACTOR_SIZE_BYTES))  # who made the root
BEGINNING = Stamp(0, 0, NOBODY)


@dataclass(frozen=True, slots=True)
class PastVersion:
    """A content that a file once had: it is recognised as old where it turns up again."""

    node: NodeId
    digest: bytes  # of the content, 32 bytes
    dot: Dot  # of the version
    written_at_ms: int  # by its author's clock


def canonical(state: NodeState) -> NodeState:
    """Returns the state in the one form that does not depend on the order of arrival."""
    return NodeState(
        node=state.node,
        is_directory=state.is_directory,
        created=BEGINNING if state.node == ROOT else state.created,
        links={link: _canonical_link(state.links[link]) for link in sorted(state.links)},
        versions={dot: state.versions[dot] for dot in sorted(state.versions)},
        registers={key: state.registers[key] for key in sorted(state.registers)},
        location=state.location,
        live_child_count=0 if state.node == ROOT else state.live_child_count,
    )


def _canonical_link(link: LinkState) -> LinkState:
    if len(link.places) < 2:
        return link
    return replace(link, places=tuple(sorted(link.places, key=lambda place: place.dot)))


def restore(store: NodeStore, state: NodeState) -> None:
    """Puts a node, and its names in the tree, into a store that does not have it.

    Raises:
        MalformedValueError: no operations make such a state.
    """
    _check_state(state)
    store.save_node(state)
    if state.node == ROOT:
        return
    for link, location in state.presence().items():
        store.add_live_link(location.parent, LiveLink(location.name, state.node, link))
    if not state.is_directory:
        store.set_contested(state.node, is_contested=state.may_conflict())


def _check_state(state: NodeState) -> None:
    if state.node == ROOT:
        is_sound = state.is_directory and not (state.links or state.versions or state.location)
    else:
        is_sound = LinkId(state.node) in state.links
    if state.is_directory:
        is_sound = is_sound and not state.versions and len(state.links) == (state.node != ROOT)
        is_sound = is_sound and (state.location is not None or state.node == ROOT)
    else:
        is_sound = is_sound and state.location is None and not state.live_child_count
    names = state.links.keys()
    for version in state.versions.values():
        is_sound = is_sound and version.via in names and version.unlinked <= names
    for link in state.links.values():
        dots = [place.dot for place in link.places]
        is_sound = is_sound and len(set(dots)) == len(dots)
        is_sound = is_sound and all(p.stamp <= link.latest.stamp for p in link.places)
    if not is_sound or state.live_child_count < 0:
        raise MalformedValueError(f"no operations make what is told of node {_shown(state.node)}")


def check_whole(store: NodeStore, states: Iterable[NodeState]) -> None:
    """Proves that the nodes of a store make one tree.

    Args:
        store: holds all of them.
        states: what it holds.

    Raises:
        MalformedValueError: one is in a directory that is not there, or in itself, or a directory
            does not count what lives in it.
    """
    reached: set[NodeId] = {ROOT}
    for state in states:
        node = state.node
        for link in state.links.values():
            for place in (*link.places, link.latest):
                _check_directory(store, place.location.parent)
        if state.is_directory and node != ROOT:
            _check_reaches_root(store, node, reached)
            count = sum(1 for _ in store.live_links_in(node))
            if count != state.live_child_count:
                raise MalformedValueError(
                    f"the directory {_shown(node)} counts {state.live_child_count} names in it"
                    f" where there are {count}"
                )


def _check_directory(store: NodeStore, node: NodeId) -> NodeState | None:
    state = store.node(node)
    if node != ROOT and (state is None or not state.is_directory):
        raise MalformedValueError(f"something is in {_shown(node)}, which is no directory")
    return state


def _check_reaches_root(store: NodeStore, node: NodeId, reached: set[NodeId]) -> None:
    way: set[NodeId] = set()
    while node not in reached:
        if node in way:
            raise MalformedValueError(f"the directory {_shown(node)} is below itself")
        way.add(node)
        state = _check_directory(store, node)
        assert state is not None
        assert state.location is not None
        node = state.location.parent
    reached |= way


def difference(mine: NodeState | None, told: NodeState | None, *, is_shape_kept: bool) -> str:
    """Tells in what a checkpoint's state of a node differs from ours; '' when in nothing.

    To be asked only of nodes that no operation touched after the checkpoint.

    Args:
        mine: None: the node is not here.
        told: None: it is not in the checkpoint.
        is_shape_kept: nothing came after the checkpoint that moves directories, or makes them
            live or die: then these are compared too.
    """
    if mine is None or told is None:
        there = told if mine is None else mine
        if there is None or not there.presence():
            return ""  # one of us forgot what was deleted
        where = "here" if mine is None else "in the checkpoint"
        return f"{_shown(there.node)} is not {where}"
    ours, theirs = canonical(mine), canonical(told)
    if not is_shape_kept:
        ours.location = theirs.location
        ours.live_child_count = theirs.live_child_count
    return "" if ours == theirs else f"{_shown(mine.node)} is another one here"


def _shown(node: NodeId) -> str:
    assert len(node) == ID_SIZE_BYTES
    return "of the root" if node == ROOT else str(dot_of(node))
