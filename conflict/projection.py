"""The definition of the tree: a pure function of a set of operations.

This is what conflict.merged_tree keeps up to date step by step; here it is computed afresh, in
the plainest way, to say what is right and to check the other against.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from conflict.node import Location, NodeState
from conflict.operations import ROOT, Declare, LinkId, NodeId, Operation, Place, TreeOperation
from conflict.policy import policy_of
from conflict.rendering import Rendered, render

Path = tuple[bytes, ...]
Claimant = tuple[NodeState, LinkId]


@dataclass(frozen=True, slots=True)
class Projection:
    """A volume's tree. The root is not in `entries`."""

    entries: dict[Path, Rendered]
    states: dict[NodeId, NodeState]


def project(operations: Iterable[Operation]) -> Projection:
    """Computes the tree. The order of the operations is no matter.

    The set must hold, with every operation, those in its context and those that created what it
    names.
    """
    changes = (each for each in operations if not isinstance(each, Declare))
    ordered = sorted(changes, key=lambda operation: operation.stamp)
    states = _absorbed(ordered)
    for node, location in _directory_locations(ordered).items():
        states[node].location = location
    by_location = _live_by_location(states)
    policy = policy_of(states.get(ROOT))

    def walk(path: Path, together: tuple[NodeId, ...]) -> Iterator[tuple[Path, Rendered]]:
        names = sorted({name for parent in together for name in by_location[parent]})
        for name in names:
            claimants = [c for parent in together for c in by_location[parent].get(name, ())]
            here = (*path, name)
            rendered = render(name, claimants, policy, policy.rule_for(here))
            yield here, rendered
            if rendered.is_directory:
                yield from walk(here, tuple(claim.node for claim in rendered.claims))

    return Projection(dict(walk((), (ROOT,))), states)


def _absorbed(ordered: list[TreeOperation]) -> dict[NodeId, NodeState]:
    states: dict[NodeId, NodeState] = {}
    for operation in ordered:
        state = states.get(operation.node)
        if state is None:
            is_directory = not isinstance(operation, Place) or operation.is_directory
            state = NodeState(operation.node, is_directory, operation.stamp)
            states[operation.node] = state
        state.absorb(operation)
    return states


def _directory_locations(ordered: list[TreeOperation]) -> dict[NodeId, Location]:
    """Places directories in the order of stamps, passing over what would make a cycle."""
    locations: dict[NodeId, Location] = {}
    for operation in ordered:
        if not isinstance(operation, Place) or not operation.is_directory:
            continue
        ancestor = operation.parent
        while ancestor not in (ROOT, operation.node):
            ancestor = locations[ancestor].parent
        if ancestor == ROOT:
            locations[operation.node] = Location(operation.parent, operation.name)
    return locations


def _live_by_location(
    states: dict[NodeId, NodeState],
) -> dict[NodeId, dict[bytes, list[Claimant]]]:
    """Lists what lives by directory and name; whatever lives keeps the directories above alive."""
    by_location: dict[NodeId, dict[bytes, list[Claimant]]] = defaultdict(dict)
    shown: set[NodeId] = set()

    def show(location: Location, state: NodeState, link: LinkId) -> None:
        by_location[location.parent].setdefault(location.name, []).append((state, link))
        parent = location.parent
        if parent != ROOT and parent not in shown:
            shown.add(parent)
            above = states[parent].location
            assert above is not None
            show(above, states[parent], LinkId(parent))

    for node, state in states.items():
        if node == ROOT or (state.is_directory and node in shown):
            continue
        for link, location in state.presence().items():
            if state.is_directory:
                shown.add(node)
            show(location, state, link)
    return by_location
