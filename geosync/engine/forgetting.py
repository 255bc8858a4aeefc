"""Forgetting what is gone: of a deleted file nothing is kept once nobody can speak of it again.

Which site proposes and decides is no matter: it is the lowest actor that takes part. What every
site does with what was said follows from the declarations alone; see conflict.forgetting.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final, cast

from conflict.checkpoint import BEGINNING
from conflict.errors import MalformedValueError
from conflict.forgetting import (
    Forget,
    Forgetting,
    ForgettingStated,
    ForgettingStatement,
    Propose,
    Proposed,
    Withdraw,
    forget,
    is_gone,
    is_unchanged_since,
    referred,
    referred_by_moves,
    unreferred,
)
from conflict.node import NodeState
from conflict.operations import Declare, NodeId, Operation, Place, Topic, Transaction
from conflict.rendering import Claim
from conflict.stamp import Stamp
from conflict.synced import Path, path_of_entry
from conflict.version import VersionVector
from geosync.engine.authoring import author_of, save_written
from geosync.engine.incarnation import Superseded
from geosync.engine.roles import succession_of
from geosync.engine.site import Site
from geosync.engine.stability import live_actors, stable
from geosync.event_log import event_logger
from geosync.journal.forgetting import Look
from geosync.journal.journal import Journal
from transport.forgetting_record import NODES_MAX, decode_forgetting, encode_forgetting
from transport.msgpack_codec import decode_own, encode

NODES_AT_ONCE: Final = 50_000  # of one look
_MOVES_UNTIL: Final = "moves_forgotten_until"  # a setting of the journal: a stamp
_log = event_logger(__name__)


def forgetting(site: Site) -> Forgetting:
    """Returns what was said of forgetting, as far as this site has received it."""
    return Forgetting(_stated(site.journal), live_actors(site))


def _stated(journal: Journal) -> Iterable[ForgettingStated]:
    for each in journal.declarations.of_topic(Topic.FORGETTING):
        statement = decode_forgetting(each.operation.body)
        yield ForgettingStated(each.operation.dot, each.received, statement)


def barred(site: Site) -> frozenset[NodeId]:
    """Returns the nodes of which nothing may be written any more.

    They are gone, and proposed to be forgotten.
    """
    nodes = site.journal.nodes
    return frozenset(
        node
        for node in forgetting(site).barred
        if (state := nodes.node(node)) is None or is_gone(state)
    )


def may_write_about(site: Site, claims: Iterable[Claim]) -> bool:
    """Tells whether operations may speak of what an entry stood for, which may be gone by now."""
    found = {claim.node: site.journal.nodes.node(claim.node) for claim in claims}
    if any(state is None for state in found.values()):
        return False
    gone = {node for node, state in found.items() if state is not None and is_gone(state)}
    return not gone or gone.isdisjoint(barred(site))


def require_later_moves(journal: Journal, operations: Iterable[Operation]) -> None:
    """Makes sure that renames of directories come after all that are forgotten.

    Raises:
        MalformedValueError: one does not; its author did not know of those, and nobody knew of it.
    """
    moves = [
        each
        for each in operations
        if isinstance(each, Place) and each.is_directory and not each.creates_link
    ]
    until = _moves_until(journal) if moves else None
    for move in moves:
        if until is not None and move.stamp <= until:
            raise MalformedValueError(
                f"{move.dot} renames a directory before renames that are forgotten by now"
            )


def _moves_until(journal: Journal) -> Stamp | None:
    stored = journal.setting(_MOVES_UNTIL)
    if stored is None:
        return None
    epoch, ticks, actor = cast("tuple[Any, ...]", decode_own(stored))
    return Stamp(epoch, ticks, actor)


def take_forgotten(site: Site, transactions: Iterable[Transaction]) -> set[Path]:
    """Forgets what transactions say. In the transaction of the journal that takes them in.

    Returns:
        Where the disk has what was forgotten: of a site that hears of deletions late.

    Raises:
        Superseded: we have something that everybody else forgets, or is about to.
    """
    on_disk: set[Path] = set()
    for operation in (each for transaction in transactions for each in transaction):
        if isinstance(operation, Declare) and operation.topic is Topic.FORGETTING:
            statement = decode_forgetting(operation.body)
            if isinstance(statement, Forget):
                on_disk |= _paths_on_disk(site.journal, statement.nodes)
                _forget(site, statement)
    return on_disk


def _paths_on_disk(journal: Journal, nodes: Iterable[NodeId]) -> set[Path]:
    entries = (entry for node in nodes for entry in journal.synced.entries_of_node(node))
    paths = (path_of_entry(journal.synced, entry) for entry in entries)
    return {path for path in paths if path}


def _forget(site: Site, statement: Forget) -> None:
    journal = site.journal
    try:
        forget(journal.nodes, statement)
    except MalformedValueError as error:
        raise Superseded(
            f"{error}. This site, or one that it has read from, was cut off from the others for"
            " longer than they keep in mind what was deleted"
        ) from error
    journal.forgetting.forget_past_of(statement.nodes)
    until, known = statement.moves_until, _moves_until(journal)
    if until is not None and (known is None or until > known):
        journal.set_setting(_MOVES_UNTIL, encode(tuple(until)))
    _log.info("nodes_forgotten", nodes=len(statement.nodes))


def note_loaded(site: Site) -> None:
    """Brings what was derived from declarations up to date with those that a checkpoint told."""
    until = forgetting(site).moves_until
    if until is not None:
        site.journal.set_setting(_MOVES_UNTIL, encode(tuple(until)))


class Forgetter:
    """One site's part, along with a look at the whole tree."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._known = Forgetting((), ())
        self._stable = VersionVector()
        self._mine: dict[NodeId, Proposed] = {}
        self._candidates: dict[NodeId, Collection[NodeId]] = {}  # with what they speak of
        self._wanted: set[NodeId] = set()
        self._needed: set[NodeId] = set()
        self._gone: list[NodeId] = []
        self._cutoff: Look | None = None

    def begin(self, history_s: float) -> None:
        """Begins a look.

        Args:
            history_s: for how long it is kept in mind what is gone.
        """
        site = self._site
        self._known, self._stable = forgetting(site), stable(site)
        before_ms = site.now_ms() - int(history_s * 1000)
        with site.journal.transaction():
            self._cutoff = site.journal.forgetting.last_look(before_ms, self._stable)
        self._mine = dict(self._known.proposed_by(site.actor))
        self._wanted = set(self._mine)
        if self._cutoff is not None and self._is_deciding():
            until_ms = self._cutoff.looked_at_ms
            self._wanted.update(site.journal.forgetting.gone_until(until_ms, NODES_AT_ONCE))
        self._candidates.clear()
        self._needed.clear()
        self._gone.clear()

    def look_at(self, state: NodeState) -> None:
        """Takes a node into account; all of them are to be looked at."""
        if is_gone(state):
            self._gone.append(state.node)
            if state.node in self._wanted and self._may_go(state):
                self._candidates[state.node] = referred(state)
                return
        self._needed |= referred(state)

    def look_again(self, state: NodeState) -> None:
        """Takes a node into account that changes while the look is under way: it stays."""
        self._candidates.pop(state.node, None)
        self._needed |= referred(state)

    def end(self) -> None:
        """Ends the look: says what is to be said, and notes what was gone."""
        site, journal = self._site, self._site.journal
        with journal.transaction():
            journal.forgetting.add_gone(self._gone)
        if self._is_deciding():
            self._decide()
        with journal.transaction():
            if self._cutoff is not None:
                journal.forgetting.forget_past(self._cutoff.looked_at_ms)
            look = Look(max(1, site.now_ms()), journal.log.received(), journal.nodes.last_move())
            journal.forgetting.add_look(look)

    def _may_go(self, state: NodeState) -> bool:
        proposed = self._mine.get(state.node)
        return proposed is None or is_unchanged_since(state, proposed.received)

    def _is_deciding(self) -> bool:
        return self._site.actor == min(live_actors(self._site))

    def _decide(self) -> None:
        until = self._moves_until()
        judged = {n for n, each in self._mine.items() if self._stable.includes(each.dot)}
        gone = judged & self._candidates.keys()
        going = self._unreferred(gone, until)
        new = self._unreferred(self._candidates.keys(), until) - self._mine.keys()
        first = self._site.journal.nodes.first_move()
        is_pruning = until is not None and first is not None and first <= until
        statements: list[ForgettingStatement] = [
            *map(Withdraw, _parts(judged - gone)),
            *map(Propose, _parts(new)),
        ]
        forgets = [Forget(part) for part in _parts(going)]
        if is_pruning:
            forgets = [Forget(forgets[0].nodes if forgets else (), until), *forgets[1:]]
        if statements or forgets:
            self._say([*forgets, *statements])

    def _moves_until(self) -> Stamp | None:
        """Returns up to which stamp renames of directories are not needed any more.

        Where there is a primary, a site of an older epoch would write older stamps.
        """
        if self._cutoff is None or succession_of(self._site.journal).current is not None:
            return None
        return self._cutoff.last_move

    def _unreferred(self, nodes: Iterable[NodeId], until: Stamp | None) -> set[NodeId]:
        going = {node: self._candidates[node] for node in nodes}
        staying = (n for n in self._candidates if n not in going)
        needed = self._needed.union(*(self._candidates[node] for node in staying))
        moves = self._site.journal.nodes.moves_after(until or BEGINNING)
        return unreferred(going, needed | referred_by_moves(moves))

    def _say(self, statements: Iterable[ForgettingStatement]) -> None:
        """Declares all at once: what speaks of each other must be forgotten at the same moment."""
        site = self._site
        with site.journal.transaction():
            author = author_of(site)
            for statement in statements:
                author.declare(Topic.FORGETTING, encode_forgetting(statement))
                kind = type(statement).__name__.lower()
                _log.info(f"nodes_{kind}", nodes=len(statement.nodes))
            transaction = save_written(site, author)
            assert transaction is not None
            take_forgotten(site, [transaction])


def _parts(nodes: Iterable[NodeId]) -> Iterable[tuple[NodeId, ...]]:
    ordered = sorted(nodes)
    return [tuple(ordered[at : at + NODES_MAX]) for at in range(0, len(ordered), NODES_MAX)]
