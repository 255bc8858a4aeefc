"""Foreign brakes: what another site's operations would take off this disk at once waits here.

The operations are received and merged as always, so all sites know the same; but what they would
delete or replace stays on this disk until a person decides. A site that has its own brakes stops
such a thing itself: this one is for those that have none, or other limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Final

from conflict.author import Author
from conflict.brakes import Amount, BrakeKind, reason_to_brake
from conflict.node import Location
from conflict.operations import Declare, Delete, NodeId, Operation, Put, Topic, Transaction
from conflict.synced import PARKED, SyncedEntry, path_of_entry
from conflict.version import ActorId
from geosync.engine.authoring import author_of, save_written
from geosync.engine.braking import HOUR_MS, tell_engaged, tell_released
from geosync.engine.site import Site, joined
from geosync.errors import OperatorError
from geosync.journal.brakes import Brake, TakenAway
from geosync.journal.journal import Journal
from transport.brake_record import Settled, Verdict, decode_brake_record, encode_brake_record
from transport.wire_errors import WireFormatError

_KINDS: Final = (BrakeKind.DELETION, BrakeKind.CHANGE)


class ForeignBrakes:
    """The brakes of one site against what other actors did."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._journal = site.journal
        self._held: frozenset[NodeId] = frozenset()
        self._engaged: list[tuple[Brake, Amount]] = []
        self._released: list[Brake] = []
        self._reload()

    def held(self) -> frozenset[NodeId]:
        """Returns the files and directories that stay on the disk as they are."""
        return self._held

    def note(self, transactions: Iterable[Transaction]) -> None:
        """Looks at operations that were merged just now; in the transaction that merged them."""
        actors: set[ActorId] = set()
        for transaction in transactions:
            settled = list(_settled(transaction))
            on_disk = cache(partial(_on_disk, self._journal))  # one file may lose many names
            for each in settled:
                self._let_go(each)
            found = [
                taken
                for operation in transaction
                for taken in self._taken_away(operation, on_disk)
                if not any(each.covers(taken.dot, taken.kind) for each in settled)
            ]
            if found:
                actors.add(transaction.actor)
                self._journal.brakes.add_taken(found)
        for actor in sorted(actors) if self._site.brake_limits.is_on else ():
            for kind in _KINDS:
                self._judge(actor, kind)

    def _taken_away(
        self, operation: Operation, on_disk: Callable[[NodeId], list[SyncedEntry]]
    ) -> Iterable[TakenAway]:
        """Yields what an operation takes off our disk, if it does; the merged tree knows it."""
        if isinstance(operation, Delete):
            kind = BrakeKind.DELETION
        elif isinstance(operation, Put) and operation.context:
            kind = BrakeKind.CHANGE
        else:
            return
        state = self._journal.nodes.node(operation.node)
        if state is None or state.is_present == (kind is BrakeKind.DELETION):
            return
        entries = on_disk(operation.node)
        if not entries:
            return
        content = entries[0].content
        if isinstance(operation, Put):
            is_same = content is not None and content.digest == operation.content.digest
            if is_same or content is None:
                return
        size_bytes = content.size_bytes if content is not None else 0
        time_ms = operation.stamp.time_ms
        yield TakenAway(operation.dot, kind, operation.node, time_ms, size_bytes)

    def _judge(self, actor: ActorId, kind: BrakeKind) -> None:
        """Holds what an actor did of late, if it is too much: by the author's own clock."""
        limits, brakes = self._site.brake_limits, self._journal.brakes
        known = brakes.taken(actor, kind)
        if not known:
            return
        newest_ms = max(taken.time_ms for taken in known)
        lately = [t for t in known if t.time_ms > newest_ms - limits.window_s * 1000]
        hour = sum(taken.time_ms > newest_ms - HOUR_MS for taken in known)
        amount = _amount(lately)
        here = [taken for taken in lately if _on_disk(self._journal, taken.node)]
        entries = self._journal.synced.count() + len(lately) - len(here)
        reason = reason_to_brake(limits, kind, amount, hour, entries)
        oldest_ms = newest_ms - max(HOUR_MS, limits.window_s * 1000)
        brakes.forget_taken_before(actor, oldest_ms)
        fresh = [taken for taken in here if not taken.is_held]
        if reason is None or not fresh:
            return
        brakes.add_taken(replace(taken, is_held=True) for taken in fresh)
        if self._brake_of(actor, kind) is None:
            now_ms = self._site.now_ms()
            brake = Brake(lately[0].dot, is_ours=False, kind=kind, reason=reason, since_ms=now_ms)
            brakes.save(brake)
            self._engaged.append((brake, _amount(here)))

    def _brake_of(self, actor: ActorId, kind: BrakeKind) -> Brake | None:
        known = (b for b in self._journal.brakes.brakes() if not b.is_ours and b.kind is kind)
        return next((brake for brake in known if brake.dot.actor == actor), None)

    def _let_go(self, settled: Settled) -> None:
        """Holds nothing any more that somebody decided about."""
        brakes = self._journal.brakes
        known = [t for kind in _KINDS for t in brakes.taken(settled.actor, kind)]
        brakes.forget_taken(t.dot for t in known if settled.covers(t.dot, t.kind))
        self._release_empty(settled.verdict)

    def _release_empty(self, verdict: Verdict | None) -> None:
        holding = {(taken.dot.actor, taken.kind) for taken in self._journal.brakes.taken_held()}
        for brake in self._journal.brakes.brakes():
            if not brake.is_ours and (brake.dot.actor, brake.kind) not in holding:
                self._journal.brakes.remove(brake.dot)
                self._released.append(replace(brake, verdict=verdict))

    # Between transactions

    def tell(self) -> bool:
        """Tells of brakes that engaged or are over; returns whether other files are held now.

        CRASH: the journal has the brakes; the alarm is raised again with the next start.
        """
        engaged = {brake.dot for brake, _ in self._engaged}
        released = {brake.dot for brake in self._released}
        for brake, amount in self._engaged:
            if brake.dot not in released:
                tell_engaged(self._site, brake, amount)
        for brake in self._released:
            if brake.dot not in engaged:
                tell_released(self._site, brake)
        self._engaged, self._released = [], []
        before = self._held
        self._reload()
        return self._held != before

    def look(self) -> None:
        """Forgets what is held although nothing would be taken away any more."""
        if not self._held:
            return
        over = [t.dot for t in self._journal.brakes.taken_held() if not self._takes_away(t)]
        if over:
            with self._journal.transaction():
                self._journal.brakes.forget_taken(over)
                self._release_empty(None)

    def _takes_away(self, taken: TakenAway) -> bool:
        """Tells whether the disk has what the volume has no more."""
        entries = _on_disk(self._journal, taken.node)
        state = self._journal.nodes.node(taken.node)
        if not entries or state is None:
            return False
        if taken.kind is BrakeKind.DELETION:
            return not state.is_present
        content = entries[0].content
        visible = {version.content.digest for version in state.visible_versions()}
        return content is not None and visible != {content.digest}

    def _reload(self) -> None:
        self._held = frozenset(taken.node for taken in self._journal.brakes.taken_held())

    # Decisions

    def decide(self, brake: Brake, verdict: Verdict) -> set[Location]:
        """Writes a decision, and with it what brings the files back at all sites if need be.

        Returns:
            The names that it touches.

        Raises:
            OperatorError: nothing is held any more.
        """
        journal = self._journal
        own = [t for t in journal.brakes.taken_held() if _is_of(brake, t)]
        if not own:
            raise OperatorError("this brake holds nothing any more; it will be gone in a moment")
        with journal.transaction():
            author = author_of(self._site)
            if verdict is Verdict.REJECTED:
                self._reassert(author, own)
            first, last = min(brake.dot.counter, own[0].dot.counter), own[-1].dot.counter
            settled = Settled(brake.dot.actor, first, last, verdict, brake.kind)
            written = author.transaction()
            author.declare(Topic.BRAKE, encode_brake_record(settled))
            if written is not None:  # what is brought back replaces much at once, too
                first, last = written.operations[0].dot.counter, written.last_counter
                ours = Settled(self._site.actor, first, last, Verdict.APPROVED)
                author.declare(Topic.BRAKE, encode_brake_record(ours))
            self._let_go(settled)
            save_written(self._site, author)
        return author.touched

    def let_go_here(self, brake: Brake) -> None:
        """Approves for this site alone, which writes nothing that others could hear of."""
        own = [t.dot for t in self._journal.brakes.taken_held() if _is_of(brake, t)]
        with self._journal.transaction():
            self._journal.brakes.forget_taken(own)
            self._release_empty(Verdict.APPROVED)

    def _reassert(self, author: Author, taken: list[TakenAway]) -> None:
        """Writes that the files are to be as they are on this disk, directories first."""
        synced = self._journal.synced
        kinds = {each.node: each.kind for each in taken}
        entries = {e.entry: e for node in kinds for e in _on_disk(self._journal, node)}
        written: set[NodeId] = set()
        for entry in sorted(entries.values(), key=self._depth):
            claims, node = entry.claims, entry.claims[0].node
            if kinds.get(node) is BrakeKind.DELETION:
                above = synced.entry(entry.parent)
                assert above is not None
                claims = author.move(claims, min(above.nodes), entry.name)
            if entry.content is not None and node not in written:
                claims = author.reassert(claims, entry.content)
                written.add(node)
            synced.save_entry(replace(entry, claims=claims))

    def _depth(self, entry: SyncedEntry) -> int:
        return len(path_of_entry(self._journal.synced, entry) or ())


def foreign_amount(journal: Journal, brake: Brake) -> Amount:
    """Returns how much a brake holds of what another actor did."""
    return _amount([taken for taken in journal.brakes.taken_held() if _is_of(brake, taken)])


def foreign_plan(journal: Journal, brake: Brake) -> list[tuple[bytes, int]]:
    """Returns the paths that such a brake holds, sorted, and how large their contents are."""
    found: dict[bytes, int] = {}
    for taken in journal.brakes.taken_held():
        for entry in _on_disk(journal, taken.node) if _is_of(brake, taken) else ():
            path = path_of_entry(journal.synced, entry)
            if path:
                found[joined(path)] = taken.size_bytes
    return sorted(found.items())


def _is_of(brake: Brake, taken: TakenAway) -> bool:
    return (taken.dot.actor, taken.kind) == (brake.dot.actor, brake.kind)


def _on_disk(journal: Journal, node: NodeId) -> list[SyncedEntry]:
    """Returns the names under which a file or directory is on our disk."""
    entries = journal.synced.entries_of_node(node)
    return [entry for entry in entries if entry.parent != PARKED and not entry.copy_of]


def _settled(transaction: Transaction) -> Iterable[Settled]:
    """Yields the decisions that a transaction tells of; what can't be read decides nothing."""
    for operation in transaction:
        if isinstance(operation, Declare) and operation.topic is Topic.BRAKE:
            try:
                record = decode_brake_record(operation.body)
            except WireFormatError:
                continue
            if isinstance(record, Settled):
                yield record


def _amount(taken: list[TakenAway]) -> Amount:
    return Amount(len({t.node for t in taken}), sum(each.size_bytes for each in taken))
