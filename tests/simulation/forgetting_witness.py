"""What must hold of worlds in which what is gone is forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from conflict.forgetting import Forget, is_gone, referred
from conflict.operations import ROOT, Declare, NodeId, Operation, Place, Topic
from conflict.version import Dot, VersionVector
from geosync.journal.nodes import JournalNodes
from tests.simulation.invariants import Violation, engine_of, read_log, require
from tests.simulation.world import World
from transport.forgetting_record import decode_forgetting


def check_nobody_speaks_of_what_is_forgotten(world: World) -> int:
    """Proves it for all logs, also where they were cut; returns how many nodes were forgotten.

    An operation may speak of a node only if whoever had it forgotten knew that operation.
    """
    hasher = engine_of(world.sites[0]).site.hasher
    log = read_log(world.store.bodies_with_deleted("log/"), hasher)
    speaking: dict[NodeId, list[Dot]] = {}
    forgotten: dict[NodeId, tuple[Dot, VersionVector]] = {}
    for segments in log.segments.values():
        for transaction in (each for segment in segments for each in segment.transactions):
            for operation in transaction:
                for node in _spoken_of(operation):
                    speaking.setdefault(node, []).append(operation.dot)
                for node in _forgotten(operation):
                    forgotten[node] = (operation.dot, transaction.received)
    for node, (dot, received) in forgotten.items():
        for spoken in speaking.get(node, ()):
            is_known = received.includes(spoken)
            require(is_known, f"{spoken} speaks of {node.hex()}, which {dot} had forgotten")
    return len(forgotten)


def _spoken_of(operation: Operation) -> Iterator[NodeId]:
    if not isinstance(operation, Declare):
        yield operation.node
    if isinstance(operation, Place):
        yield operation.parent


def _forgotten(operation: Operation) -> Iterator[NodeId]:
    if isinstance(operation, Declare) and operation.topic is Topic.FORGETTING:
        statement = decode_forgetting(operation.body)
        if isinstance(statement, Forget):
            yield from statement.nodes


def check_little_is_kept(world: World) -> None:
    """Proves that of what is gone only that is kept of which something speaks that is there."""
    kept = []
    for site in world.sites:
        nodes = engine_of(site).site.journal.nodes
        kept.append({state.node for state in nodes.all_nodes()})
        unneeded = kept_for_nothing(nodes)
        if unneeded:
            raise Violation(f"{site.name} keeps {len(unneeded)} nodes for nothing")
    require(all(each == kept[0] for each in kept), "sites keep different nodes")


def kept_for_nothing(nodes: JournalNodes) -> set[NodeId]:
    """Returns the nodes that are gone, and of which nothing speaks that is there."""
    states = {state.node: state for state in nodes.all_nodes()}
    needed = {node for node, state in states.items() if not is_gone(state)}
    while more := {n for node in needed for n in referred(states[node])} - needed - {ROOT}:
        needed |= more
    return states.keys() - needed
