"""Late writes: what former primaries wrote after another site had taken over.

Every site finds and lists them; the primary also writes its own state again where they would
replace it (see conflict.fencing).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from conflict.epochs import Succession
from conflict.fencing import copies_before, is_about_tree, late, write_again
from conflict.node import Location, NodeState
from conflict.operations import NodeId, Operation, Transaction
from conflict.version import ActorId, Dot
from geosync.engine.authoring import author_of, save_written
from geosync.engine.role import DEMOTING, PRIMARY
from geosync.engine.roles import succession_of
from geosync.engine.site import Site, joined
from geosync.event_log import event_logger
from geosync.journal.drift import LateWrite
from transport.segment import ExpectedSegment, decode_segment

OUTBOX_SIZE_BYTES_MAX = 2**30
_log = event_logger(__name__)


@dataclass(slots=True)
class LateArrivals:
    """Late operations that are just being received, and what they are about as it was before."""

    operations: list[Operation] = field(default_factory=list)
    before: dict[NodeId, NodeState | None] = field(default_factory=dict)


class Fencing:
    """Deals with late operations in the transaction of the journal in which they arrive."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def begin(self, transactions: Iterable[Transaction]) -> LateArrivals:
        """Finds the late ones. Before they are taken in."""
        known = succession_of(self._site.journal)
        arrivals = LateArrivals()
        if known.current is not None:
            arrivals.operations = [
                operation
                for transaction in transactions
                for operation in transaction
                if is_about_tree(operation) and known.is_late(operation.dot, operation.stamp)
            ]
            arrivals.before = copies_before(self._site.journal.nodes, arrivals.operations)
        return arrivals

    def end(self, arrivals: LateArrivals) -> set[Location]:
        """Lists them, and writes again what they took away. Afterwards.

        Returns:
            The names that were touched.
        """
        if not arrivals.operations:
            return set()
        site = self._site
        _list(site, arrivals.operations)
        if site.role not in (PRIMARY, DEMOTING):
            return set()
        author = author_of(site)
        known = succession_of(site.journal)
        written = write_again(author, site.journal.nodes, arrivals.before, known.is_late)
        self._adopt(arrivals.before, written)
        save_written(site, author)
        return author.touched

    def _adopt(self, before: dict[NodeId, NodeState | None], written: dict[NodeId, Dot]) -> None:
        """Lets files on our disk stand for the versions that say the same of them once more.

        Else the next change of such a file would be concurrent with what we wrote just now.
        """
        synced = self._site.journal.synced
        for node, dot in written.items():
            was = before[node]
            assert was is not None
            for entry in synced.entries_of_node(node):
                own = [claim for claim in entry.claims if claim.node == node]
                if entry.copy_of or not own or not own[0].content_dots <= was.versions.keys():
                    continue
                state = self._site.journal.nodes.node(node)
                assert state is not None
                if entry.content != state.versions[dot].content:
                    continue
                claims = tuple(
                    replace(claim, content_dots=frozenset({dot})) if claim.node == node else claim
                    for claim in entry.claims
                )
                synced.save_entry(replace(entry, claims=claims))


def note_late_writes(site: Site, known: Succession) -> None:
    """Lists what was received, or written here, before we heard of a later primary."""
    for log in site.journal.log.actors():
        known_by_all = min(
            (
                tenure.received.counter_of(log.actor)
                for tenure in known.tenures
                if tenure.actor != log.actor
            ),
            default=log.received,
        )
        if known_by_all >= log.received:
            continue
        found = [
            operation
            for operation in _operations_after(site, log.actor, known_by_all)
            if is_about_tree(operation) and known.is_late(operation.dot, operation.stamp)
        ]
        if found:
            with site.journal.transaction():
                _list(site, found)


def _operations_after(site: Site, actor: ActorId, counter: int) -> Iterator[Operation]:
    """Yields what an actor wrote after a counter, as far as the journal still has it."""
    transactions: list[Transaction] = []
    for sequence, body in reversed(list(site.journal.log.segments(actor))):
        expected = ExpectedSegment(site.volume, actor, sequence)
        segment = decode_segment(body, site.hasher, expected)
        transactions[:0] = segment.transactions
        if segment.transactions and segment.transactions[0].last_counter <= counter:
            break
    if actor == site.actor:
        transactions += site.journal.log.outbox(OUTBOX_SIZE_BYTES_MAX)
    for transaction in transactions:
        yield from (each for each in transaction if each.dot.counter > counter)


def _list(site: Site, operations: list[Operation]) -> None:
    now_ms = site.now_ms()
    found = late(site.journal.nodes, operations)
    site.journal.drift.add_late_writes(
        LateWrite(each.dot, joined(each.path), each.kind, each.written_at_ms, now_ms)
        for each in found
    )
    if found:
        _log.warning("late_writes", count=len(found), first=joined(found[0].path))
