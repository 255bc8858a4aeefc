"""Forgetting what is gone: of a deleted file nothing is kept once nobody can speak of it again.

A merged tree keeps the nodes that are gone, since an operation that still speaks of one could not
be understood without it. One site *proposes* to forget nodes that were gone at every site. From
when a site receives that, it writes of none of them, while they are gone. When all have applied
these words, the site that said them looks again: what has come back is *withdrawn*, the rest
*forgotten*, by a declaration that has the same effect at every site.

Why that is safe: an operation that speaks of a node was written before its author had received
the proposal, so it is read before the author's word that this was applied, and before the second
look. What was written after it speaks of no such node. Renames of directories need no proposal:
who has one on the disk gives each later one a higher stamp, so nothing is sorted in before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from conflict.errors import MalformedValueError
from conflict.merged_tree import DirectoryMove, NodeStore
from conflict.node import NodeState
from conflict.operations import ROOT, NodeId, dot_of
from conflict.stamp import Stamp
from conflict.version import ActorId, Dot, VersionVector


@dataclass(frozen=True, slots=True)
class Propose:
    """These nodes are gone everywhere; nobody may write of them any more while they are gone."""

    nodes: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """These nodes have come back; they are proposed no more by who says this."""

    nodes: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing is kept of these nodes, nor of renames of directories up to a stamp."""

    nodes: tuple[NodeId, ...]
    moves_until: Stamp | None = None


ForgettingStatement = Propose | Withdraw | Forget


@dataclass(frozen=True, slots=True)
class ForgettingStated:
    """A statement, and the operation by which it was made."""

    dot: Dot
    received: VersionVector  # what its author had received then
    statement: ForgettingStatement


@dataclass(frozen=True, slots=True)
class Proposed:
    """When a node was proposed, and what its proposer had received then."""

    dot: Dot
    received: VersionVector


class Forgetting:
    """What follows from all statements that were received, in any order."""

    def __init__(self, stated: Iterable[ForgettingStated], live: Collection[ActorId]) -> None:
        """Takes the statements in.

        Args:
            stated: by whomever.
            live: who takes part; what others proposed will never be decided.
        """
        self._stated = sorted(stated, key=lambda each: each.dot)
        self._live = live
        self._forgotten: dict[NodeId, Dot] = {}
        self._withdrawn: dict[tuple[NodeId, ActorId], Dot] = {}  # the last time
        self.moves_until: Stamp | None = None
        for each in self._stated:
            match each.statement:
                case Forget(nodes, until):
                    self._forgotten.update(dict.fromkeys(nodes, each.dot))
                    self.moves_until = max(filter(None, (self.moves_until, until)), default=None)
                case Withdraw(nodes):
                    self._withdrawn.update({(node, each.dot.actor): each.dot for node in nodes})
                case Propose():
                    pass
        self._open: dict[ActorId, dict[NodeId, Proposed]] = {}
        for each in self._stated:
            if isinstance(each.statement, Propose) and each.dot.actor in live:
                mine = self._open.setdefault(each.dot.actor, {})
                for node in each.statement.nodes:
                    if not self._answers(node, each.dot):
                        mine[node] = Proposed(each.dot, each.received)

    def _answers(self, node: NodeId, proposal: Dot) -> list[Dot]:
        """Returns what was said of a proposed node since."""
        answers = [self._forgotten[node]] if node in self._forgotten else []
        withdrawn = self._withdrawn.get((node, proposal.actor))
        if withdrawn is not None and withdrawn.counter > proposal.counter:
            answers.append(withdrawn)
        return answers

    @property
    def barred(self) -> frozenset[NodeId]:
        """The nodes of which nobody may write while they are gone."""
        return frozenset(node for nodes in self._open.values() for node in nodes)

    def proposed_by(self, actor: ActorId) -> Mapping[NodeId, Proposed]:
        """Returns the nodes that an actor has proposed, and not decided about yet."""
        return self._open.get(actor, {})

    def obsolete(self, certain: VersionVector) -> Iterator[Dot]:
        """Yields statements from which nothing follows any more.

        Args:
            certain: what everybody has.
        """
        kept: set[tuple[NodeId, ActorId]] = set()
        for each in self._stated:
            if not isinstance(each.statement, Propose):
                continue
            if self._is_over(each.dot, each.statement, certain):
                yield each.dot
            else:
                kept.update((node, each.dot.actor) for node in each.statement.nodes)
        nodes_kept = {node for node, _ in kept}
        for each in self._stated:
            match each.statement:
                case Withdraw(nodes):
                    is_needed = any((node, each.dot.actor) in kept for node in nodes)
                case Forget(nodes, until):
                    is_last = until is not None and until == self.moves_until
                    is_needed = is_last or not nodes_kept.isdisjoint(nodes)
                case Propose():
                    continue
            if not is_needed and certain.includes(each.dot):
                yield each.dot

    def _is_over(self, dot: Dot, proposal: Propose, certain: VersionVector) -> bool:
        if not certain.includes(dot):
            return False
        if dot.actor not in self._live:
            return True
        return all(
            any(certain.includes(answer) for answer in self._answers(node, dot))
            for node in proposal.nodes
        )


def is_gone(state: NodeState) -> bool:
    """Tells whether a node has no name in the tree, and no conflict that is still to be settled."""
    return state.node != ROOT and not state.is_present and not state.orphaned_versions()


def referred(state: NodeState) -> set[NodeId]:
    """Returns the directories that a node's state speaks of."""
    places = [place for link in state.links.values() for place in (*link.places, link.latest)]
    found = {place.location.parent for place in places}
    if state.location is not None:
        found.add(state.location.parent)
    return found


def referred_by_moves(moves: Iterable[DirectoryMove]) -> set[NodeId]:
    """Returns the directories that renames speak of."""
    return {
        node for move in moves for node in (move.node, move.target.parent, move.previous.parent)
    }


def unreferred(
    candidates: Mapping[NodeId, Collection[NodeId]], needed: Iterable[NodeId]
) -> set[NodeId]:
    """Returns the candidates that nothing else speaks of.

    Args:
        candidates: node -> the directories that it speaks of.
        needed: what everything else speaks of.
    """
    going = set(candidates)
    staying = [node for node in needed if node in going]
    while staying:
        node = staying.pop()
        if node in going:
            going.remove(node)
            staying.extend(going.intersection(candidates[node]))
    return going


def is_unchanged_since(state: NodeState, received: VersionVector) -> bool:
    """Tells whether nothing gave a node a name, or a content, that is not part of a knowledge."""
    dots = [*state.versions, *(register.dot for register in state.registers.values())]
    for link in state.links.values():
        dots += [place.dot for place in (*link.places, link.latest)]
    return all(received.includes(dot) for dot in dots)


def forget(store: NodeStore, statement: Forget) -> None:
    """Takes nodes, and renames of directories, out of a merged tree.

    Raises:
        MalformedValueError: one of the nodes is in the tree. Somebody wrote of it who did not know
            the proposal, and whom its author did not know.
    """
    states = [state for state in map(store.node, statement.nodes) if state is not None]
    for state in states:
        if not is_gone(state):
            raise MalformedValueError(
                f"a file or directory is to be forgotten that is there: {dot_of(state.node)}"
            )
    for state in states:
        store.remove_node(state.node)
    if statement.moves_until is not None:
        store.forget_moves(statement.moves_until)
