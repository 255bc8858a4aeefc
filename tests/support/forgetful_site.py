"""Sites that forget what is gone, beside a tree of the same operations that forgets nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from conflict.checkpoint import BEGINNING, canonical
from conflict.forgetting import (
    Forget,
    Forgetting,
    ForgettingStated,
    ForgettingStatement,
    Propose,
    Withdraw,
    forget,
    is_gone,
    is_unchanged_since,
    referred,
    referred_by_moves,
    unreferred,
)
from conflict.membership import known_to_all
from conflict.merged_tree import MergedTree
from conflict.operations import Declare, NodeId, Topic, Transaction
from conflict.stamp import Stamp
from conflict.version import ActorId, Dot, VersionVector
from tests.support.history import CopyingNodes, Site
from transport.forgetting_record import decode_forgetting, encode_forgetting


@dataclass(frozen=True, slots=True)
class Mark:
    """What was known at a look: what was gone then was gone by these operations."""

    received: VersionVector
    last_move: Stamp | None


class ForgetfulSite(Site):
    """A site whose merged tree forgets.

    Attributes:
        remembered: the same tree, without forgetting.
        applied: what is on the disk.
        words: what was on the disk of a site when it wrote its last operation that arrived here.
        forgotten: how many nodes, and renames of directories, are not in the tree any more.
    """

    _told: ClassVar[dict[Dot, VersionVector]] = {}  # with which disk an operation was written

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.remembered = CopyingNodes()
        self.applied = VersionVector()
        self.words: dict[ActorId, VersionVector] = {}
        self.forgotten = 0
        self._stated: list[ForgettingStated] = []
        self._marks: list[Mark] = []
        self._gone_since: dict[NodeId, tuple[str, int]] = {}  # state -> number of the mark

    def materialise(self, count: int | None = None) -> None:
        waiting = list(self._waiting)
        super().materialise(count)
        for transaction in waiting[: len(waiting) - len(self._waiting)]:
            self.applied = self.applied.join({transaction.actor: transaction.last_counter})

    def word(self) -> VersionVector:
        """What the site tells of itself with each operation."""
        return self.applied

    def speak(self) -> None:
        """Writes something that changes nothing, so that the others hear what is on the disk."""
        self.act(lambda author: author.declare(Topic.SUPPLY, b""))

    def _record(self, transaction: Transaction) -> None:
        super()._record(transaction)
        if transaction.actor == self.actor:
            self._told[Dot(self.actor, transaction.last_counter)] = self.word()
            self.applied = self.applied.join({self.actor: transaction.last_counter})
        self.words[transaction.actor] = self._told[Dot(transaction.actor, transaction.last_counter)]
        tree = MergedTree(self.remembered)
        for operation in transaction:
            tree.apply(operation)
            if isinstance(operation, Declare) and operation.topic is Topic.FORGETTING:
                statement = decode_forgetting(operation.body)
                self._take(ForgettingStated(operation.dot, transaction.received, statement))

    def _take(self, stated: ForgettingStated) -> None:
        self._stated.append(stated)
        if isinstance(stated.statement, Forget):
            before = self._size()
            forget(self.merged, stated.statement)
            self.forgotten += before - self._size()

    def _size(self) -> int:
        return len(list(self.merged.all_nodes())) + len(self.merged.moves_after(BEGINNING))

    # What the site that decides does

    def look(self, others: Iterable[ActorId]) -> None:
        """Proposes, withdraws and forgets what is due, as the lowest actor of a volume does."""
        stable = known_to_all([self.applied, *(self.words.get(a, VersionVector()) for a in others)])
        known = Forgetting(self._stated, {self.actor, *others})
        self._note_gone()
        cutoff, mark = next(
            (
                (number, mark)
                for number, mark in reversed(list(enumerate(self._marks)))
                if stable.covers(mark.received)
            ),
            (-1, None),
        )
        mine = known.proposed_by(self.actor)
        gone = {state.node: state for state in self.merged.all_nodes() if is_gone(state)}
        judged = {n: p for n, p in mine.items() if stable.includes(p.dot)}
        kept = {
            n for n, p in judged.items() if n in gone and is_unchanged_since(gone[n], p.received)
        }
        due = {n for n, (_, since) in self._gone_since.items() if since <= cutoff and n not in mine}
        last_move = mark.last_move if mark is not None else None
        self._say(Withdraw(tuple(sorted(judged.keys() - kept))))
        self._forget(self._closed(kept, last_move), last_move)
        self._say(Propose(tuple(sorted(self._closed(due | mine.keys(), last_move) - mine.keys()))))

    def _note_gone(self) -> None:
        seen = {}
        for state in self.merged.all_nodes():
            if is_gone(state):
                looks = repr(canonical(state))
                before = self._gone_since.get(state.node)
                is_same = before is not None and before[0] == looks
                seen[state.node] = before if is_same else (looks, len(self._marks))
        self._gone_since = seen
        moves = self.merged.moves_after(BEGINNING)
        self._marks.append(Mark(self.received, moves[-1].stamp if moves else None))

    def _closed(self, candidates: Iterable[NodeId], moves_until: Stamp | None) -> set[NodeId]:
        wanted = set(candidates)
        states = {state.node: referred(state) for state in self.merged.all_nodes()}
        needed = {n for node, refers in states.items() if node not in wanted for n in refers}
        needed |= referred_by_moves(self.merged.moves_after(moves_until or BEGINNING))
        return unreferred({n: states[n] for n in wanted if n in states}, needed)

    def _forget(self, nodes: Iterable[NodeId], moves_until: Stamp | None) -> None:
        going = tuple(sorted(nodes))
        if going or moves_until is not None:
            self._declare(Forget(going, moves_until))

    def _say(self, statement: Propose | Withdraw) -> None:
        if statement.nodes:
            self._declare(statement)

    def _declare(self, statement: ForgettingStatement) -> None:
        self.act(lambda author: author.declare(Topic.FORGETTING, encode_forgetting(statement)))
