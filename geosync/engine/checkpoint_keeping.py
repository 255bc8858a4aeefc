"""Keeping checkpoints: writes one when it is due, confirms those of others, and cuts logs short.

Normally one site writes, in turn, and one confirms; when that one does not, the next one does
after a while. A rare second checkpoint costs its bytes, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from conflict.checkpointing import Checkpointing, CheckpointKnown, rank
from conflict.errors import GeosyncError
from conflict.operations import Topic
from conflict.version import ActorId, Dot
from geosync.engine.checkpoint_confirming import (
    CheckpointConfirming,
    CheckpointDiffers,
    NotYetComparable,
)
from geosync.engine.checkpoint_statements import checkpointing
from geosync.engine.checkpoint_writing import (
    CheckpointWriting,
    delete_others,
    numbers_to_keep,
)
from geosync.engine.history import complete_history
from geosync.engine.retired_logs import RetiredLogs
from geosync.engine.site import Site
from geosync.engine.stability import live_actors
from geosync.engine.truncating import Truncating
from geosync.event_log import event_logger
from geosync.journal.log import ActorLog
from transport.errors import CorruptObject, ObjectNotVisible
from transport.object_names import VOLUME_RECORD
from transport.volume_record import VOLUME_RECORD_SIZE_BYTES_MAX
from transport.wire_errors import OversizeObjectError

LOOK_EVERY_S: Final = 5.0
ATTEMPTS_MAX: Final = 4
LOG_SHARE: Final = 10  # a checkpoint costs what the whole tree does: not for less than a tenth
TURN_S: Final = 1800.0  # so long the next site waits for the one whose turn it is
_MS_PER_HOUR: Final = 3_600_000
_SUBJECT: Final = b"checkpoint"
_NEWEST: Final = "newest_checkpoint"  # a setting of the journal: which, and since when
_log = event_logger(__name__)


class CheckpointKeeping:
    """One site's part in keeping checkpoints. A bit of work at a time, after receiving."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._truncating = Truncating(site)
        self._retired_logs = RetiredLogs(site)
        self._writing: CheckpointWriting | None = None
        self._confirming: CheckpointConfirming | None = None
        self._refused: set[Dot] = set()  # checkpoints that differ from what we know
        self._look_at_s = 0.0
        self._due_since_s: float | None = None
        self._confirms_since_s: dict[Dot, float] = {}
        self._attempts: Counter[Dot] = Counter()  # to read a checkpoint, that found it damaged
        self._is_prepared = False
        self._is_at_work = True
        self._kept: frozenset[int] | None = None  # all others of ours were deleted

    def is_at_work(self) -> bool:
        """Tells whether something was begun, or waits for its time, when it was last looked at."""
        return self._is_at_work or self._writing is not None or self._confirming is not None

    def step(self, *, is_quiet: bool) -> bool:
        """Does a part of what is to be done; returns whether there is more to do at once.

        Args:
            is_quiet: all that was captured here is published, and no segment waits for another.

        Raises:
            StoreUnavailable, StoreRefused: see ObjectStore.
        """
        if self._writing is not None:
            return self._write()
        if self._confirming is not None:
            return self._confirm(self._confirming) if is_quiet else False
        now_s = self._site.clock.monotonic_s()
        if now_s < self._look_at_s:
            return False
        self._look_at_s = now_s + LOOK_EVERY_S
        has_more = self._look(is_quiet=is_quiet)
        if has_more:
            self._look_at_s = now_s
        return has_more

    def _look(self, *, is_quiet: bool) -> bool:
        if not self._is_prepared and not self._prepare():
            return False
        known = checkpointing(self._site)
        live = self._speakers()
        self._is_at_work = True
        to_confirm = self._to_confirm(known, live)
        if to_confirm is not None:
            self._confirming = CheckpointConfirming(self._site, to_confirm)
            return True
        is_due = self._is_due(known)
        if not is_due:
            self._due_since_s = None
        elif self._is_our_turn(known, live) and is_quiet:
            self._due_since_s = None
            self._writing = CheckpointWriting(self._site)
            return True
        if self._truncating.step():
            return True
        if self._retired_logs.step():
            return True
        kept = numbers_to_keep(self._site, known, self._site.actor)
        if kept != self._kept:
            delete_others(self._site, kept, self._site.actor)
            self._kept = kept
        self._is_at_work = self._truncating.is_waiting or self._due_since_s is not None
        return False

    def _prepare(self) -> bool:
        """Makes areas that an older geosync did not make; returns whether that was possible.

        Only where the volume certainly is: a store that went away must not be made anew, empty.
        """
        store = self._site.store
        try:
            store.get(VOLUME_RECORD, size_bytes_max=VOLUME_RECORD_SIZE_BYTES_MAX)
        except (ObjectNotVisible, CorruptObject):  # of which a damaged transfer says as little
            return False
        store.prepare()
        complete_history(self._site)
        self._is_prepared = True
        return True

    def _write(self) -> bool:
        assert self._writing is not None
        try:
            is_done = self._writing.step()
        except OversizeObjectError as error:
            self._report(f"this site can't write a checkpoint: {error}. The log is kept whole.")
            is_done = True
        if is_done:
            self._writing.close()
            self._writing = None
            self._kept = None
        return True

    def _confirm(self, confirming: CheckpointConfirming) -> bool:
        subject = confirming.subject
        try:
            is_done = confirming.step()
        except (NotYetComparable, ObjectNotVisible):
            self._confirms_since_s[subject.dot] = self._site.clock.monotonic_s()
            self._end_confirming()  # later, perhaps
            return False
        except CorruptObject as error:
            self._end_confirming()
            self._attempts[subject.dot] += 1  # it may be damaged on its way to us only
            if self._attempts[subject.dot] >= ATTEMPTS_MAX:
                self._refuse(subject, error)
            return False
        except CheckpointDiffers as error:
            self._refuse(subject, error)
            return False
        if is_done:
            self._end_confirming()
            self._site.report(_SUBJECT, None)
        return True

    def _end_confirming(self) -> None:
        if self._confirming is not None:
            self._confirming.close()
        self._confirming = None

    def _refuse(self, subject: CheckpointKnown, error: GeosyncError) -> None:
        self._end_confirming()
        self._refused.add(subject.dot)
        name = f"{subject.written.number} of actor {subject.writer.hex()[:8]}"
        self._report(
            f"checkpoint {name} can't be relied on: {error}. It is not used, and no log is cut"
            " short for it. Run geosync verify on both sites; the next checkpoint is compared anew."
        )
        _log.error("checkpoint_differs", checkpoint=name, reason=str(error))

    def _report(self, text: str) -> None:
        with self._site.journal.transaction():
            self._site.report(_SUBJECT, text)

    def _speakers(self) -> set[ActorId]:
        """Returns one actor for each site: of its incarnations that which was heard last."""
        live, own = live_actors(self._site), self._site.actor
        logs = [log for log in self._site.journal.log.actors() if log.actor in live]
        of_site = {log.site or log.actor.hex(): log.actor for log in sorted(logs, key=_heard)}
        return set(of_site.values()) - {of_site.get(self._site.name, own)} | {own}

    def _to_confirm(self, known: Checkpointing, live: set[ActorId]) -> CheckpointKnown | None:
        """Returns the newest checkpoint if it waits for our confirmation."""
        newest = known.newest()
        if newest is None or newest.dot in self._refused:
            return None
        sites = {log.actor: log.site for log in self._site.journal.log.actors()}
        others = {actor for actor in live if sites.get(actor) != sites.get(newest.writer)}
        candidates = others or {newest.writer}
        is_confirmed = bool(newest.confirmers & (others or newest.confirmers))
        if is_confirmed:
            self._site.report(_SUBJECT, None)
        if is_confirmed or self._site.actor not in candidates:
            return None
        now_s = self._site.clock.monotonic_s()
        since_s = self._confirms_since_s.setdefault(newest.dot, now_s)
        wait_s = rank(self._site.actor, candidates, newest.writer) * TURN_S
        return newest if now_s >= since_s + wait_s else None

    def _is_due(self, known: Checkpointing) -> bool:
        """Tells whether enough was written since the last checkpoint, or it is too old."""
        newest = known.newest()
        journal, pace = self._site.journal, self._site.checkpoint_pace
        received = journal.log.received()
        since = newest.received if newest is not None else None
        count = sum(n - (since.counter_of(a) if since else 0) for a, n in received.items())
        told = journal.declarations.of_topic(Topic.CHECKPOINT)
        count -= sum(since is None or not since.includes(each.operation.dot) for each in told)
        if count >= pace.operations and count >= journal.nodes.count_live_links() // LOG_SHARE:
            return True
        is_old = self._site.now_ms() - self._newest_since_ms(newest) >= pace.hours * _MS_PER_HOUR
        return is_old and count > 0

    def _newest_since_ms(self, newest: CheckpointKnown | None) -> int:
        """Returns since when we know of the newest checkpoint, or of none, by our own clock."""
        journal = self._site.journal
        name = b"none" if newest is None else str(newest.dot).encode()
        known, _, since = (journal.setting(_NEWEST) or b"").rpartition(b" ")
        if known == name:
            return int(since)
        now_ms = max(0, self._site.now_ms())
        with journal.transaction():
            journal.set_setting(_NEWEST, b"%s %d" % (name, now_ms))
        return now_ms

    def _is_our_turn(self, known: Checkpointing, live: set[ActorId]) -> bool:
        newest = known.newest()
        now_s = self._site.clock.monotonic_s()
        if self._due_since_s is None:
            self._due_since_s = now_s
        last = newest.writer if newest is not None else None
        return now_s >= self._due_since_s + rank(self._site.actor, live, last) * TURN_S


def _heard(log: ActorLog) -> tuple[int, int]:
    return log.heard_at_ms, log.next_sequence
