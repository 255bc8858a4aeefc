"""Receiving: reads the other actors' logs, in causal order, into the merged tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from conflict.content import Content
from conflict.errors import MalformedValueError
from conflict.merged_tree import MergedTree
from conflict.node import Location
from conflict.operations import Declare, Put, Topic, Transaction
from conflict.stamp import HybridClock, is_far_ahead
from conflict.synced import Path
from conflict.version import ActorId, VersionVector
from geosync.engine.ahead import Ahead
from geosync.engine.foreign_brakes import ForeignBrakes
from geosync.engine.forgetting import require_later_moves, take_forgotten
from geosync.engine.incarnation import require_own
from geosync.engine.late_writes import Fencing
from geosync.engine.retiring import membership
from geosync.engine.site import Site
from geosync.event_log import event_logger
from geosync.journal.log import ActorLog
from transport.brake_record import decode_brake_record
from transport.checkpoint_statement import decode_checkpoint_statement
from transport.collection_record import decode_verdict
from transport.epoch_record import decode_epoch_statement
from transport.errors import CorruptObject, ObjectNotVisible, StoreUnavailable
from transport.forgetting_record import decode_forgetting
from transport.hindrance_record import decode_hindrance
from transport.membership_record import decode_statement
from transport.object_names import ACTORS_PREFIX, ActorName, recognise, segment_name
from transport.segment import (
    SEGMENT_OBJECT_SIZE_BYTES_MAX,
    ExpectedSegment,
    Segment,
    decode_segment,
)
from transport.supply_record import decode_supply

ACTORS_MAX: Final = 1000
REREAD_QUARANTINED_S: Final = 600.0  # also at each start: its cause may be mended by then
OPERATIONS_AT_ONCE: Final = 2500  # about; they are applied before more are read
_BODIES: Final[dict[Topic, Callable[[bytes], object]]] = {
    Topic.EPOCH: decode_epoch_statement,
    Topic.MEMBERSHIP: decode_statement,
    Topic.COLLECTION: decode_verdict,
    Topic.SUPPLY: decode_supply,
    Topic.CHECKPOINT: decode_checkpoint_statement,
    Topic.BRAKE: decode_brake_record,
    Topic.FORGETTING: decode_forgetting,
    Topic.HINDRANCE: decode_hindrance,
}
_log = event_logger(__name__)


@dataclass(slots=True)
class Received:
    """What one round of reading brought."""

    touched: set[Location] = field(default_factory=set)
    forgotten: set[Path] = field(default_factory=set)  # what is to go from the disk, if it is there
    segments: int = 0
    operations: int = 0
    has_more: bool = False  # there may be more to read at once
    unavailable: StoreUnavailable | None = None  # the store could not tell for some log


@dataclass(frozen=True, slots=True)
class _Fetched:
    """The next segment of a log, or why there is none."""

    log: ActorLog
    body: bytes | None = None
    error: StoreUnavailable | CorruptObject | None = None


class Receiver:
    """Reads logs. One damaged or foreign log never stops the others."""

    def __init__(self, site: Site, foreign: ForeignBrakes, ahead: Ahead) -> None:
        self._site = site
        self._ahead = ahead
        self._foreign = foreign
        self._fencing = Fencing(site)
        self._held: dict[ActorId, tuple[Segment, bytes]] = {}  # wait for other actors' operations
        self._refused: dict[ActorId, str] = {}  # logs whose next segment can't be read, and why
        self._reread_due_s = site.clock.monotonic_s()
        self._membership = membership(site.journal)
        self._has_found = False  # something new, the last time

    def discover(self) -> None:
        """Looks for actors that nobody told of yet. The listing is a hint: it may lag.

        Raises:
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        found = (recognise(name) for name in self._site.store.list_names(ACTORS_PREFIX))
        self._remember({name.actor: name.site for name in found if isinstance(name, ActorName)})

    def knows(self, actors: Iterable[ActorId]) -> bool:
        """Tells whether somebody has told of all these actors."""
        return {log.actor for log in self._site.journal.log.actors()}.issuperset(actors)

    def logs(self) -> list[ActorLog]:
        """Returns the logs that are read here: all but our own, and those that have ended."""
        logs = self._site.journal.log.actors()
        return [
            log for log in logs if log.actor != self._site.actor and not self._is_at_end(log.actor)
        ]

    def knows_nobody(self) -> bool:
        """Tells whether there is no log to read, so that only `discover` can find anything."""
        return not self.logs()

    def receive(
        self, only: frozenset[ActorId] | None = None, *, is_prompt: bool = False
    ) -> Received:
        """Reads what is new in all logs, until no log can go on or a good deal was read.

        Args:
            only: whose logs to look at; None: all that there are.
            is_prompt: what was found first is to be shown before more is looked for: nothing was
                found the last time, so that there is hardly more.

        Raises:
            StoreRefused: the store does not let us read.
            Superseded: somebody else has gone on with our log.
        """
        result = Received()
        self._membership = membership(self._site.journal)
        self._held = {a: each for a, each in self._held.items() if not self._is_at_end(a)}
        reading = self._to_read()
        if only is not None:
            reading &= only
        while reading:
            logs = [log for log in self.logs() if log.actor in reading]
            reading = {log.actor for log in logs}  # some may end here
            for fetched in self._site.pool.map(self._fetch, logs):
                if not self._take(fetched, result):
                    reading.discard(fetched.log.actor)
            released = self._release_held(result)
            result.segments += len(released)
            reading.update(released)  # what follows may be visible already
            is_first = is_prompt and not self._has_found and result.operations > 0
            if is_first or result.operations >= OPERATIONS_AT_ONCE:
                result.has_more = bool(reading)
                break
        self._has_found = result.operations > 0
        return result

    def forget_held(self) -> None:
        """Forgets what waits for others: the journal has read on from a checkpoint."""
        self._held.clear()

    def unreadable(self) -> set[ActorId]:
        """Returns whose logs can't be read on at present: damaged, foreign, or contradictory."""
        return {log.actor for log in self.logs() if log.problem} | self._refused.keys()

    def is_waiting_for_others(self) -> bool:
        """Tells whether a log waits for operations of an actor that are not visible yet."""
        return any(not self._is_void(segment) for segment, _ in self._held.values())

    def _is_at_end(self, actor: ActorId) -> bool:
        """Tells whether we must not read a log any further: its actor is being retired."""
        limit = self._limit(actor)
        return limit is not None and self._site.journal.log.received().counter_of(actor) >= limit

    def _limit(self, actor: ActorId) -> int | None:
        """Returns how far we may read a log; None: as far as it goes.

        Where nobody has set the fence yet, all is read that others have built upon: they read it
        before they stopped, and so the fence will be beyond it.
        """
        limit = self._membership.limit(actor, self._site.actor)
        if limit is None or actor in self._membership.fences:
            return limit
        built_upon = (
            transaction.received.counter_of(actor)
            for segment, _ in self._held.values()
            if segment.actor != actor
            for transaction in segment.transactions
        )
        return max(limit, *built_upon, 0)

    def _is_void(self, segment: Segment) -> bool:
        """Tells whether a segment that waits follows from what no site will ever read."""
        fences = self._membership.fences
        return any(
            counter > fences.get(actor, counter)
            for transaction in segment.transactions
            for actor, counter in transaction.received.items()
        )

    def _to_read(self) -> set[ActorId]:
        """Returns whose logs to read; those that can't be are tried again now and then.

        Somebody may have restored the object, or updated this site's geosync.
        """
        now_s = self._site.clock.monotonic_s()
        is_reread = now_s >= self._reread_due_s
        if is_reread:
            self._reread_due_s = now_s + REREAD_QUARANTINED_S
        return {log.actor for log in self.logs() if is_reread or not log.problem}

    def _fetch(self, log: ActorLog) -> _Fetched:
        if log.actor in self._held:
            return _Fetched(log)
        name = segment_name(log.actor, log.next_sequence)
        try:
            body = self._site.store.get(name, size_bytes_max=SEGMENT_OBJECT_SIZE_BYTES_MAX)
        except ObjectNotVisible:
            return _Fetched(log)  # not visible here now; this says nothing of what is there
        except (StoreUnavailable, CorruptObject) as error:
            return _Fetched(log, error=error)
        return _Fetched(log, body)

    def _take(self, fetched: _Fetched, result: Received) -> bool:
        """Returns whether the log may have more."""
        if isinstance(fetched.error, StoreUnavailable):
            result.unavailable = fetched.error
        elif fetched.error is not None:
            # The store's own checksum says so: this copy is damaged, another one may be intact.
            self._site.report(_subject(fetched.log.actor), str(fetched.error))
        if fetched.body is None:
            return False
        try:
            segment = self._decoded(fetched.log, fetched.body)
        except CorruptObject as error:
            self._refuse(fetched.log.actor, error)
            return False
        require_own(self._site, segment)
        self._refused.pop(fetched.log.actor, None)
        if not fetched.log.problem:  # else it has yet to be seen whether that is over
            self._site.report(_subject(fetched.log.actor), None)
        self._held[segment.actor] = (segment, fetched.body)
        return self._process(segment, fetched.body, result)

    def _refuse(self, actor: ActorId, error: CorruptObject) -> None:
        """Tells of a segment that can't be read; logs it when that begins, not in every cycle."""
        self._site.report(_subject(actor), str(error))
        if self._refused.get(actor) != str(error):
            self._refused[actor] = str(error)
            _log.error("segment_refused", actor=actor.hex(), reason=str(error))

    def _decoded(self, log: ActorLog, body: bytes) -> Segment:
        expected = ExpectedSegment(self._site.volume, log.actor, log.next_sequence)
        segment = decode_segment(body, self._site.hasher, expected)
        if segment.previous_digest != log.chain_digest:
            raise CorruptObject(
                f"{segment_name(log.actor, log.next_sequence)} does not follow the segment that"
                " was read before it: two daemons write one log (a cloned or restored machine?)."
                " Its log is not read any further; what came before stays. Stop one of them,"
                " and start it with an empty state directory."
            )
        for operation in (each for transaction in segment.transactions for each in transaction):
            if isinstance(operation, Put):
                self._require_digest(operation.content, segment_name(log.actor, log.next_sequence))
            elif isinstance(operation, Declare):  # what it says is looked at again and again
                _BODIES[operation.topic](operation.body)
        return segment

    def _require_digest(self, content: Content, name: str) -> None:
        """Equal digests count as equal bytes: so a digest must be that of its chunks."""
        parts = (content.kind, content.chunks)
        if self._site.hasher.content_digest(*parts, target=content.target) != content.digest:
            raise CorruptObject(
                f"{name}: a content's digest is not that of its parts. Its log is not read any"
                " further; what came before stays. Check that site's version and disk."
            )

    def _release_held(self, result: Received) -> list[ActorId]:
        """Goes on with logs that waited for others, as often as that helps; returns whose."""
        released: list[ActorId] = []
        is_helping = True
        while is_helping:
            is_helping = False
            for segment, body in list(self._held.values()):
                if self._process(segment, body, result):
                    is_helping = True
                    released.append(segment.actor)
        return released

    def _process(self, segment: Segment, body: bytes, result: Received) -> bool:
        """Takes in as many transactions as causality allows; returns whether that was all."""
        journal = self._site.journal
        log = journal.log.actor(segment.actor)
        assert log is not None
        known = journal.log.received()
        limit = self._limit(segment.actor)
        ready = list(_ready(segment, known, limit))
        is_complete = _remaining(segment, known, len(ready)) == 0
        stored_anew = {d for d in segment.pack_entries if journal.chunks.is_known(d)}
        if not ready and not is_complete:
            self._remember(dict.fromkeys(segment.received, ""))
            return False
        try:
            with journal.transaction():
                late = self._fencing.begin(ready)
                touched = self._merge(ready)
                journal.declarations.add_all(ready)
                result.forgotten |= take_forgotten(self._site, ready)
                journal.chunks.add_locations(segment.pack_entries, is_announced=True)
                journal.chunks.add_inline(segment.inline_chunks, is_announced=True)
                self._save_log(log, segment, body, ready, is_complete=is_complete)
                touched |= self._fencing.end(late)
                self._foreign.note(ready)
        except MalformedValueError as error:
            self._quarantine(log, segment, error)
            return False
        if log.problem:
            self._site.report(_subject(log.actor), None)
            _log.info("log_read_again", actor=log.actor.hex())
        self._remember(dict.fromkeys(segment.received, ""))
        result.touched |= touched
        result.operations += sum(len(transaction.operations) for transaction in ready)
        if is_complete:
            self._ahead.announced(segment, stored_anew)
            del self._held[segment.actor]
        return is_complete

    def _merge(self, transactions: list[Transaction]) -> set[Location]:
        tree = MergedTree(self._site.journal.nodes)
        clock: HybridClock = self._site.hybrid_clock()
        now_ms = self._site.now_ms()
        touched: set[Location] = set()
        for transaction in transactions:
            require_later_moves(self._site.journal, transaction)
            for operation in transaction:
                touched |= tree.apply(operation)
                clock = clock.observe(now_ms, operation.stamp)
        if transactions:
            self._site.save_hybrid_clock(clock)
            self._warn_of_clock(transactions[-1], now_ms)
        return touched

    def _warn_of_clock(self, transaction: Transaction, now_ms: int) -> None:
        stamp = transaction.operations[-1].stamp
        subject = b"clock of " + transaction.actor.hex().encode()
        if is_far_ahead(stamp, now_ms):
            ahead_s = (stamp.time_ms - now_ms) // 1000
            self._site.report(
                subject,
                f"the clock of actor {transaction.actor.hex()[:8]} runs {ahead_s} s ahead of ours:"
                " its versions win conflicts that they should not. Check NTP on both sites.",
            )
        else:
            self._site.report(subject, None)

    def _save_log(
        self,
        log: ActorLog,
        segment: Segment,
        body: bytes,
        ready: list[Transaction],
        *,
        is_complete: bool,
    ) -> None:
        journal = self._site.journal
        log = replace(log, received=ready[-1].last_counter if ready else log.received, problem="")
        if is_complete:
            journal.log.add_segment(
                log.actor,
                segment.sequence,
                body,
                is_stored=True,
                transactions=segment.transactions,
            )
            log = replace(
                log,
                site=segment.site,
                next_sequence=segment.sequence + 1,
                chain_digest=self._site.hasher.chain_digest(body),
                knows=segment.received.join({log.actor: log.received} if log.received else {}),
                applied=segment.applied,
                segment_at_ms=segment.created_at_ms,
                heard_at_ms=max(0, self._site.now_ms()),
            )
        journal.log.save_actor(log)

    def _quarantine(self, log: ActorLog, segment: Segment, error: MalformedValueError) -> None:
        """Stops reading a log that says what can't be; everything else goes on."""
        name = segment_name(log.actor, segment.sequence)
        text = (
            f"{name} of site {segment.site} contradicts what came before it: {error}. Its log is"
            " not read any further; what came before stays. Check that site's version and disk."
        )
        self._held.pop(log.actor, None)
        with self._site.journal.transaction():
            self._site.journal.log.save_actor(replace(log, problem=text))
            self._site.report(_subject(log.actor), text)
        if text == log.problem:
            return
        _log.error("log_quarantined", actor=log.actor.hex(), reason=str(error))

    def _remember(self, actors: dict[ActorId, str]) -> None:
        known = {log.actor for log in self._site.journal.log.actors()}
        new = [actor for actor in sorted(actors) if actor not in known]
        for actor in new[: max(0, ACTORS_MAX - len(known))]:
            with self._site.journal.transaction():
                self._site.journal.log.save_actor(ActorLog(actor, site=actors[actor]))
            _log.info("actor_found", actor=actor.hex(), site=actors[actor])


def _ready(segment: Segment, known: VersionVector, limit: int | None) -> Iterator[Transaction]:
    """Yields the transactions that are new and whose causes are known, up to the first other.

    Those beyond the limit, the last counter that is valid, are void.
    """
    for transaction in segment.transactions:
        if transaction.last_counter <= known.counter_of(segment.actor):
            continue
        if not known.covers(transaction.received):
            return
        if limit is not None and transaction.last_counter > limit:
            return
        known = known.join({segment.actor: transaction.last_counter})
        yield transaction


def _remaining(segment: Segment, known: VersionVector, taken: int) -> int:
    """Returns how many new transactions are left after `taken` of them."""
    counter = known.counter_of(segment.actor)
    return sum(t.last_counter > counter for t in segment.transactions) - taken


def _subject(actor: ActorId) -> bytes:
    return b"log of " + actor.hex().encode()
