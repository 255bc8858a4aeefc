"""The engine: drives one site's cycle. The only place that knows the order of its parts."""

from __future__ import annotations

import os
from functools import partial
from typing import Final

from conflict.joining import PartialRecognition
from conflict.node import Location
from conflict.report import Conflict, conflicts
from conflict.synced import Path
from conflict.version import ActorId, VersionVector
from geosync.configuration.volume_configuration import Mode
from geosync.disk.interface import DiskError
from geosync.engine.applying import Applier
from geosync.engine.batch import ApplyResult
from geosync.engine.brake_verdicts import (
    KnownBrake,
    finish_rejected,
    has_rejected,
    heed,
    known_brakes,
)
from geosync.engine.braking import Braking
from geosync.engine.capturing import Capturer
from geosync.engine.checkpoint_keeping import CheckpointKeeping
from geosync.engine.cuts import CHECK_OWN_BEFORE_PUBLISHING_S, CutWatch
from geosync.engine.cycle import DISK, STORE, Attempts, Cycle
from geosync.engine.decisions import Decisions
from geosync.engine.drifting import REVERTING, forget_what_is_gone
from geosync.engine.failover import Failover
from geosync.engine.fetching import Fetcher
from geosync.engine.foreign_brakes import ForeignBrakes
from geosync.engine.haste import AT_LEISURE, Haste
from geosync.engine.ignoring import Ignoring
from geosync.engine.incarnation import is_log_ours
from geosync.engine.joining import Joining
from geosync.engine.membership import introduce, write_first_operation
from geosync.engine.mirroring import Mirror
from geosync.engine.progress import Stage
from geosync.engine.promoting import Promotion, promote
from geosync.engine.publishing import Publisher
from geosync.engine.receiving import Received, Receiver
from geosync.engine.recovery import recover
from geosync.engine.rescuing import rescue
from geosync.engine.retiring import keep_membership
from geosync.engine.retry_pace import RetryPace
from geosync.engine.settling import Settler
from geosync.engine.silence import Silence
from geosync.engine.site import Site, joined
from geosync.engine.spool import Spool
from geosync.engine.store_upkeep import HELD, StoreUpkeep
from geosync.engine.sweeping import Sweeper
from geosync.engine.unset_attributes import UnsetAttributes
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.journal.log import ActorLog
from transport.brake_record import Verdict
from transport.errors import (
    StoreUnavailable,
)
from transport.operation_codec import decode_vector

DISCOVER_EVERY_S: Final = 3.0
SWEEP_EVERY_S: Final = 5.0
SET_ASIDE_EVERY_S: Final = 30.0
ACKNOWLEDGE_AFTER_S: Final = 0.3
RETRY_BLOCKED_S: Final = 1.0
RETRY_BLOCKED_S_MAX: Final = 15.0  # for what fails again and again, without any news
UNSET_EVERY_S: Final = 5.0
FOREIGN_BRAKES_EVERY_S: Final = 5.0
LOOK_AGAIN_EVERY_S: Final = 0.2  # at files that are being written or seem to be gone
_SPOOL: Final = b"spool"
_log = event_logger(__name__)


class Engine:
    """One site of a volume. Used by one thread."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._failover = Failover(site)
        spool = Spool(os.path.join(site.state_dir, b"spool"))
        spool.clear(site.journal.chunks.packs_to_store())
        self._spool = spool
        self._fetcher = fetcher = Fetcher(site, spool)
        self._braking = Braking(site)
        self._capturer = Capturer(site, spool, self._braking)
        self._publisher = Publisher(site, spool)
        self._foreign = ForeignBrakes(site)
        self._receiver = Receiver(site, self._foreign, fetcher.ahead)
        self._silence = Silence(site)
        self._applier = Applier(site, fetcher)
        self._mirror = Mirror(site, fetcher)
        self._settler = Settler(site, spool, fetcher)
        self._sweeper = Sweeper(site, spool)
        self._unset = UnsetAttributes(site)
        self.upkeep = StoreUpkeep(site, spool, fetcher, self._applier, self._receiver)
        self.decisions = Decisions(
            site, spool, fetcher, self._foreign, note=self._note, heed_brakes=self._heed_brakes
        )
        self._joining = Joining(site)
        self._ignoring = Ignoring(site)
        self._keeping = CheckpointKeeping(site)
        self._cuts = CutWatch(site)
        self._attempts = Attempts(site, self._note_store_failure)
        self._is_log_checked = False
        self._has_read = False  # what the others wrote while this site was away
        self._due_s: dict[str, float] = {}
        self._is_restoring = False  # what somebody rejected is brought back to the disk
        self._is_mirror_stale = True
        self._has_slice = False
        self._blocked: dict[Path, str] = {}
        self._apply_pace = RetryPace(first_s=RETRY_BLOCKED_S, longest_s=RETRY_BLOCKED_S_MAX)
        self._is_coming = False  # some large file
        self._apply_error: Exception | None = None  # of the last attempt; it stopped all of it
        self._no_room: OSError | None = None  # at the last attempt, for some file
        self._spool_pace = RetryPace(first_s=RETRY_BLOCKED_S, longest_s=RETRY_BLOCKED_S_MAX)
        self._spool_error: Exception | None = None  # of the last attempt to publish
        self._start()

    def _start(self) -> None:
        for problem in self.site.journal.problems():
            if problem.subject.startswith(_SPOOL):
                self.site.report(problem.subject, None)
        if self.site.role.may_publish:
            write_first_operation(self.site)
        self._failover.refresh()
        self.site.disk.clear_stage()
        is_behind = self.site.applied() != self.site.journal.log.received()
        is_mending = self.upkeep.has_unfinished_mending()
        is_reverting = self.site.journal.integer_setting(REVERTING) > 0
        if self.site.journal.intents() or is_behind or is_mending or is_reverting:
            self._applier.mark_everything()
        self._applier.hold(self._foreign.held())
        self._heed_verdicts()
        if has_rejected(self.site.journal):
            self._begin_restoring()

    def cycle(self, dirty: dict[Path, bool], haste: Haste = AT_LEISURE) -> Cycle:
        """Captures, publishes, receives and applies once.

        Args:
            dirty: directories to look at; True: with everything below.
            haste: what may be left to a later cycle, and what is known already.

        Raises:
            OperatorError: the journal can't be written; all that was committed is safe.
        """
        with self.site.journal.explaining():
            return self._cycle(dirty, haste)

    def _cycle(self, dirty: dict[Path, bool], haste: Haste) -> Cycle:
        cycle = Cycle()
        self._has_slice = False  # unless this cycle comes to its end, and could read
        self._capturer.look_at(dirty)
        self._capturer.trust_quiet(haste.quiet)
        self._capturer.look_at(self._capturer.due_missing())
        self._capturer.look_at(self._capturer.due_large())
        if not self._is_log_checked and self.site.role.may_publish:
            self._attempts.on_store(cycle, self._check_own_log)
        if self._joining.is_receiving:
            self._join(cycle)
        if self._attempts.superseded is not None or self._joining.is_receiving:
            return cycle
        if self._is_due("look again", LOOK_AGAIN_EVERY_S):
            self._capturer.look_at(self._capturer.due())
        self._tend_ignoring()
        self._attempts.on_disk(cycle, lambda: self._capture(cycle))
        self._tend_role(cycle)
        self._exchange(cycle, haste)
        if self._attempts.superseded is not None:
            return cycle  # nothing may be displaced that only this journal has captured
        self._tend_ignoring()
        may_apply = self._finish_looking()
        if may_apply and self.site.role.may_publish:
            self._attempts.on_disk(cycle, lambda: self._settle(cycle))
        if not (haste.is_prompt and cycle.received):  # else that is shown first
            self._tend_store(cycle, may_apply=may_apply)
        self._heed_foreign()
        if may_apply and self._applier.has_work() and self._may_apply(cycle):
            self._attempts.on_disk(cycle, lambda: self._apply(cycle))
        if not self._applier.has_work() and self._is_due("unset attributes", UNSET_EVERY_S):
            self._applier.mark_paths(self._unset.check())
        self._applier.note_applied()
        self._attempts.on_disk(cycle, self._refresh_mirror)
        self._attempts.on_store(cycle, lambda: self._acknowledge(cycle))
        cycle.blocked = dict(self._blocked)
        self._note_errors(cycle)
        self._attempts.on_disk(cycle, self._read_ahead)
        return cycle

    def _read_ahead(self) -> None:
        self._capturer.read_ahead()
        self._has_slice = self._capturer.has_slice()

    def _note_errors(self, cycle: Cycle) -> None:
        """Tells also of what failed before and was not tried again in this cycle."""
        if cycle.disk_error is None and self._applier.has_work():
            cycle.disk_error = self._apply_error or self._no_room
        cycle.disk_error = cycle.disk_error or self._spool_error

    def _finish_looking(self) -> bool:
        """Ends what begins with a look at the whole disk; tells whether that may be changed."""
        if not self._capturer.has_pending():
            if self._joining.is_under_way:
                self._finish_joining()
            if self._is_restoring:
                self._finish_restoring()
        is_looking = self._joining.is_under_way or self._is_restoring
        return self.site.role.may_apply and not is_looking

    def is_settled(self) -> bool:
        """Tells whether nothing is left to do with what this site could see."""
        return not (
            self._joining.is_under_way
            or self._is_restoring
            or self._attempts.superseded is not None
            or self._applier.has_work()
            or (self.site.role.may_publish and self._publisher.has_work())
            or self.has_uncaptured()
            or self._receiver.is_waiting_for_others()
            or self._is_mirror_stale
            or self._settler.is_at_work()
        )

    def is_current(self) -> bool:
        """Tells whether all that this site could see of the others' changes is on its disk."""
        return not (
            self._joining.is_under_way
            or self._attempts.superseded is not None
            or self._applier.has_work()
            or self._receiver.is_waiting_for_others()
        )

    def is_keeping_checkpoints(self) -> bool:
        """Tells whether a checkpoint, or a cut of a log, is under way here."""
        return self.site.role.may_publish and self._keeping.is_at_work()

    def has_slice(self) -> bool:
        """Tells whether there is more to read of large files at once, or one to capture."""
        return self._has_slice

    def is_sending(self) -> bool:
        """Tells whether packs of large files are being sent in the background."""
        return self._publisher.uploads.is_under_way()

    def has_sent(self) -> bool:
        """Tells whether one of these is over, so that the next one can be begun."""
        return self._publisher.uploads.is_any_over()

    def close(self) -> None:
        """Lets go of what is open on the disk; nothing is lost by that."""
        self._capturer.close()
        self._fetcher.close()

    def look_due_s(self) -> float | None:
        """Returns when to look again at what seems to be gone, monotonic; None: nothing does."""
        return self._capturer.missing_due_s()

    def is_looking(self) -> bool:
        """Tells whether directories are left to be looked at: one cycle looks at so many."""
        return self._capturer.has_pending()

    def has_uncaptured(self) -> bool:
        """Tells whether a change of the disk was seen that is in no operation yet."""
        return bool(
            self.is_looking() or self._capturer.waiting() or self._capturer.has_unconfirmed()
        )

    def owes_acknowledgement(self) -> bool:
        """Tells whether the others have yet to hear what is on our disk."""
        may_tell = self._attempts.superseded is None and self.site.role.may_publish
        return may_tell and self._is_news(self.site.applied(), self._told())

    def waiting(self) -> dict[Path, str]:
        """Returns the paths that wait for something, and for what."""
        waiting = dict.fromkeys(self._applier.waiting(), "is being brought to this disk")
        held = dict.fromkeys(self._applier.held_paths(), HELD)
        held |= self._braking.waiting()
        return waiting | self._blocked | self._capturer.waiting() | held

    def excluded(self) -> list[Path]:
        """Returns the files that are never captured here, as far as they were seen."""
        return self._capturer.excluded()

    def conflicts(self) -> list[Conflict]:
        """Returns the open conflicts, sorted by path."""
        return list(conflicts(self.site.journal.nodes))

    def has_to_publish(self) -> bool:
        """Tells whether something is captured, or declared, that the store does not have yet."""
        return self._publisher.has_news()

    def brakes(self) -> list[KnownBrake]:
        """Returns the brakes that are not over, here and at other sites."""
        return known_brakes(self.site.journal, self.site.name)

    def takes_writes(self) -> bool:
        """Tells whether this is the place for programs to write, as far as this site has heard."""
        has_heard = self._has_read or self.site.mode is Mode.MULTI_MASTER
        return has_heard and self.site.role.takes_writes

    def demote(self) -> None:
        """Begins to be a standby; the next cycles do it. Raises OperatorError."""
        self._failover.demote()
        self._capturer.look_at({(): True})

    def promote(self, *, is_forced: bool) -> Promotion:
        """Becomes the primary if nothing is lost by that, or if forced. Raises OperatorError."""
        if self._joining.is_under_way:
            raise OperatorError(
                "this site has yet to join its volume, and does not know what is in it. Nothing was"
                " changed. Look at geosync status, and try again."
            )
        promotion = promote(self.site, self._failover, self._applier, is_forced=is_forced)
        self._capturer.look_at({(): True})
        return promotion

    def own_counter(self) -> int:
        """Returns how many operations this site has written."""
        return self.site.journal.log.received().counter_of(self.site.actor)

    def next_sequence(self, actor: ActorId) -> int | None:
        """Returns which segment of another's log is read next; None: the log is our own."""
        if actor == self.site.actor:
            return None
        log = self.site.journal.log.actor(actor)
        return log.next_sequence if log is not None else 0

    def logs_read(self) -> list[ActorLog]:
        """Returns the logs that this site reads."""
        return self._receiver.logs()

    def last_stored(self) -> int | None:
        """Returns the newest segment of our own log that the store has acknowledged."""
        log = self.site.journal.log.actor(self.site.actor)
        newest = -1 if log is None else log.next_sequence - 1
        newest -= len(self.site.journal.log.segments_to_store())
        return newest if newest >= 0 else None

    @property
    def superseded(self) -> str | None:
        """Why this journal's log is another's now: nothing is done with it any more."""
        return self._attempts.superseded

    # The parts of a cycle

    def _tend_role(self, cycle: Cycle) -> None:
        """Ends our epoch when all is captured, and begins the first one of the volume."""
        is_held = bool(self._braking.waiting())  # until somebody decides about it
        has_uncaptured = self.has_uncaptured() or is_held or cycle.disk_error is not None
        if self._failover.tend(has_uncaptured=has_uncaptured):
            self._capturer.look_at({(): True})
        if self._has_read:
            self._failover.claim_if_first(is_joining=False)

    def _check_own_log(self) -> None:
        self._is_log_checked = is_log_ours(self.site)
        self._cuts.check_own(max_age_s=0)

    def _join(self, cycle: Cycle) -> None:
        """Receives until there is nothing more, and only then looks at the disk."""
        while self._join_further(cycle):
            pass

    def _join_further(self, cycle: Cycle) -> bool:
        """Does a step of joining; tells whether the next one is short enough to follow."""
        cycle.has_more = False
        if not self._joining.checkpoint.is_looked:
            self._attempts.on_disk(
                cycle, lambda: self._attempts.on_store(cycle, self._take_checkpoint)
            )
        else:
            self._attempts.on_store(cycle, lambda: self._receive(cycle))
            is_at_end = cycle.store_error is None and not cycle.received and not cycle.has_more
            if is_at_end:
                self._attempts.on_store(cycle, lambda: self._end_receiving(cycle))
        is_waiting = cycle.store_error is not None or cycle.disk_error is not None
        is_waiting = is_waiting or self._joining.is_stuck
        cycle.has_more = self._joining.is_receiving and not is_waiting
        return cycle.has_more and not cycle.received and self._joining.checkpoint.manifest is None

    def _end_receiving(self, cycle: Cycle) -> None:
        if self._joining.is_at_end():
            self._attempts.on_disk(cycle, self._look_at_all)

    def _take_checkpoint(self) -> None:
        if self._joining.checkpoint.step():
            self._receiver.forget_held()

    def _keep_checkpoints(self, cycle: Cycle) -> None:
        is_quiet = not (self._publisher.has_news() or self._receiver.is_waiting_for_others())
        cycle.has_more = self._keeping.step(is_quiet=is_quiet) or cycle.has_more

    def _look_at_all(self) -> None:
        self._failover.claim_if_first(is_joining=True)
        recognition = self._joining.recognition()
        if self.site.role.may_capture:
            rescue(self.site, self._spool, recognition)
        self._joining.is_receiving = False
        self.site.progress.end(Stage.READING)
        # What the volume has by now, and what this disk is found to lack or to have besides, is
        # brought together once the disk was looked at.
        self._applier.mark_everything()
        self._capturer.recognise(recognition)
        self._capturer.look_at({(): True})

    def _finish_joining(self) -> None:
        self._joining.finish()
        self._ignoring.finish()
        self.site.progress.end(Stage.COMPARING)
        self._capturer.recognise(None)

    def _note_store_failure(self) -> None:
        """A primary that can't ask the store may have been replaced."""
        self._has_read = self._has_read and self.site.mode is Mode.MULTI_MASTER

    def _heed_brakes(self) -> None:
        self._heed_verdicts()
        self._heed_foreign()

    def _heed_verdicts(self) -> None:
        """Does what follows from decisions about our brakes, made here or elsewhere."""
        verdicts = heed(self.site)
        if verdicts:
            self._braking.reload()
            self._capturer.look_at({(): True})
        if Verdict.REJECTED in verdicts:
            self._begin_restoring()

    def _heed_foreign(self) -> None:
        """Keeps off the disk what brakes hold of the others' changes, and nothing else."""
        if self._is_due("foreign brakes", FOREIGN_BRAKES_EVERY_S):
            self._foreign.look()
        if self._foreign.tell():
            self._applier.hold(self._foreign.held())

    def _begin_restoring(self) -> None:
        """Looks at the whole disk as if the site joined: what was rejected is forgotten by now."""
        self._is_restoring = True
        self._capturer.recognise(self._joining.recognition())
        self._capturer.look_at({(): True})

    def _tend_ignoring(self) -> None:
        """Has new ignore patterns hold; what is ignored no more is looked at as in joining."""
        if not self._ignoring.tend() or self._joining.is_under_way:
            return
        if not self._is_restoring:
            self._is_restoring = True
            recognition = PartialRecognition(
                self._joining.recognition(), self._ignoring.was_ignored
            )
            self._capturer.recognise(recognition)
        self._capturer.look_at({(): True})

    def _finish_restoring(self) -> None:
        self._is_restoring = False
        self._ignoring.finish()
        self._capturer.recognise(None)
        finish_rejected(self.site)
        self._braking.reload()
        self._applier.mark_everything()

    def _capture(self, cycle: Cycle) -> None:
        if recover(self.site):  # a batch of ours ended with a crash or an error, half done
            self._applier.mark_everything()
        if self._capturer.has_pending():
            captured = self._capturer.capture()
            if self._joining.is_under_way:
                expected = self.site.journal.nodes.count_live_links
                self.site.progress.note_comparing(captured.looked_at, expected, self._now_s())
            cycle.has_more = self._capturer.has_pending()
            self._note(captured.touched, captured.operations)
            self._applier.mark_paths(captured.to_apply)
            cycle.captured = captured.operations
            if self._apply_error is None and self._no_room is None:
                self._attempts.note_mended(DISK)
        if self._is_due("sweep", SWEEP_EVERY_S):
            late = self._sweeper.sweep()
            self._note(late, len(late))
        if self._is_due("set aside", SET_ASIDE_EVERY_S):
            forget_what_is_gone(self.site)

    def _note(self, touched: set[Location], operations: int) -> None:
        """Says what operations did to the merged tree: conflicts may change without any name."""
        self._applier.mark(touched)
        if operations:
            self._is_mirror_stale = True
            self._settler.note_change()

    def _settle(self, cycle: Cycle) -> None:
        """Settles conflicts as their policies say, once all is read that there is to read."""
        if cycle.store_error is not None or cycle.has_more or not self._has_read:
            return
        if self._receiver.is_waiting_for_others():
            return
        settled = self._settler.step(self._foreign.held())
        self._note(settled.touched, settled.operations)
        cycle.has_more = bool(settled.operations)

    def _publish(self, cycle: Cycle) -> None:
        if not self.site.role.may_publish:
            return
        introduce(self.site)
        if self._publisher.has_work():
            self._send(cycle, acknowledge=None)

    def _send(self, cycle: Cycle, *, acknowledge: VersionVector | None) -> None:
        if not self._spool_pace.is_due(self._now_s()):
            return
        self._cuts.check_own(max_age_s=CHECK_OWN_BEFORE_PUBLISHING_S)
        try:
            sent = self._publisher.publish(
                acknowledge=acknowledge, has_more=self._capturer.has_pending()
            )
        except (OSError, DiskError) as error:
            self._spool_error = error
            self._spool_pace.note_failure(self._now_s())
            text = f"{error}. What was captured is published once this is mended."
            self.site.report(_SPOOL, text)
            self._attempts.note_failure(_SPOOL, str(error))
            return
        self._spool_error = None
        self._spool_pace.note_success()
        self._attempts.note_mended(_SPOOL)
        cycle.published = sent or cycle.published

    def _receive(self, cycle: Cycle, *, is_prompt: bool = False) -> None:
        unavailable: StoreUnavailable | None = None
        if self._is_due("discover", DISCOVER_EVERY_S) or self._receiver.knows_nobody():
            try:
                self._receiver.discover()
            except StoreUnavailable as error:
                unavailable = error  # the logs that are known may be read all the same
        received = self._receiver.receive(is_prompt=is_prompt)
        unavailable = self._take_in(cycle, received) or unavailable
        self._keep_membership(is_reading=unavailable is None)
        if not self._joining.is_receiving and not (is_prompt and received.operations):
            self._cuts.check_others()
            if self.site.role.may_publish:
                self._cuts.check_own()
        if unavailable is not None:
            raise unavailable
        if cycle.store_error is None and self._attempts.superseded is None:
            self._attempts.note_mended(STORE)

    def _heed_hints(self, cycle: Cycle, logs: frozenset[ActorId]) -> None:
        """Reads what hints told of, and no further: there is a hint for each segment."""
        if not self._receiver.knows(logs):
            self._receiver.discover()
        before = cycle.has_more
        unavailable = self._take_in(cycle, self._receiver.receive(logs, is_prompt=True))
        cycle.has_more = before
        self._keep_membership(is_reading=False)
        if unavailable is not None:
            raise unavailable

    def _take_in(self, cycle: Cycle, received: Received) -> StoreUnavailable | None:
        """Does what follows from what was read; returns the error where a log can't be told."""
        cycle.received += received.operations
        cycle.has_more = cycle.has_more or received.has_more
        cycle.is_reading = cycle.is_reading or received.has_more
        self._note(received.touched, received.operations)
        self._applier.mark_paths(received.forgotten)
        self._note_reading(is_over=not received.has_more)
        if not (received.has_more or received.unavailable or self._joining.is_receiving):
            cycle.ahead += self._fetcher.ahead.begin()
        if received.operations and self._failover.refresh():
            self._capturer.look_at({(): True})
        if received.operations:
            self._heed_verdicts()
        return received.unavailable

    def _note_reading(self, *, is_over: bool) -> None:
        progress, logs = self.site.progress, self.site.journal.log
        if is_over and not self._joining.is_receiving:
            progress.end(Stage.READING)
            return
        received = known = logs.received()
        for log in logs.actors():
            known = known.join(log.knows)
        progress.note_reading(sum(received.values()), sum(known.values()), self._now_s())

    def _exchange(self, cycle: Cycle, haste: Haste) -> None:
        """Publishes and receives; the first time in the other order."""
        if not self._has_read:
            self._attempts.on_store(cycle, lambda: self._read_first(cycle))
        if self._has_read and self._attempts.superseded is None:
            self._attempts.on_store(cycle, lambda: self._publish(cycle))
        if self._attempts.superseded is not None:
            return
        if haste.logs is None:
            part = partial(self._receive, cycle, is_prompt=haste.is_prompt)
            self._attempts.on_store(cycle, part, despite_failure=True)
        elif haste.logs:
            part = partial(self._heed_hints, cycle, haste.logs)
            self._attempts.on_store(cycle, part, despite_failure=True)

    def _read_first(self, cycle: Cycle) -> None:
        """Reads the others' logs before anything is published: we may have been retired."""
        before = cycle.has_more
        while True:
            cycle.has_more = False
            self._receive(cycle)
            if not cycle.has_more:
                break
        cycle.has_more = before
        self._has_read = True

    def _tend_store(self, cycle: Cycle, *, may_apply: bool) -> None:
        if may_apply and self.site.role.may_publish:
            self._attempts.on_store(cycle, lambda: self._keep_checkpoints(cycle))
        if not self._joining.is_under_way:
            self.upkeep.tend(cycle, self._attempts, self._blocked, self._capturer.excluded)

    def _keep_membership(self, *, is_reading: bool) -> None:
        if self.site.role.may_publish:
            keep_membership(self.site)
            if is_reading:
                self._silence.observe()

    def _may_apply(self, cycle: Cycle) -> bool:
        """What is blocked is not tried in every cycle, unless something new came.

        News do not help a disk that refuses everything: only time does.
        """
        is_new = cycle.received or cycle.captured or self._is_coming or not self._blocked
        if is_new and self._apply_error is None:
            return True
        return self._apply_pace.is_due(self._now_s())

    def _apply(self, cycle: Cycle) -> None:
        self.site.disk.check_root()
        try:
            result = self._applier.apply()
        except (OSError, DiskError) as error:
            self._apply_error = error
            self._apply_pace.note_failure(self._now_s())
            raise
        self._apply_error = None
        self._no_room = result.no_room
        self._is_coming = result.is_coming
        cycle.has_more = cycle.has_more or result.is_coming
        cycle.applied, cycle.arrived = result.done, result.arrived
        self._note_blocked(result)
        self._capturer.look_at(dict.fromkeys(result.to_capture, False))
        if result.no_room is not None:
            raise result.no_room
        self._attempts.note_mended(DISK)

    def _note_blocked(self, result: ApplyResult) -> None:
        """Keeps what could not be done, and logs a failure when it begins."""
        for path, reason in result.failed.items():
            if self._blocked.get(path) != reason:
                _log.warning("change_failed", path=joined(path), reason=reason)
        self._blocked = result.blocked
        now_s = self.site.clock.monotonic_s()
        if result.failed and not result.done and result.failed.keys() >= result.blocked.keys():
            self._apply_pace.note_failure(now_s)
        else:
            self._apply_pace.note_progress(now_s)

    def _refresh_mirror(self) -> None:
        if self._is_mirror_stale:
            self._is_mirror_stale = not self._mirror.refresh()
            if not self._is_mirror_stale and not self._applier.has_work():
                self._fetcher.discard_downloads()  # the next round of applying may be far

    def _acknowledge(self, cycle: Cycle) -> None:
        """Tells the others what is on our disk, once it is and they don't know it yet.

        That our own is goes without saying, but where something was looked for to be forgotten.
        """
        applied = self.site.applied()
        may_write = cycle.store_error is None and self.site.role.may_publish
        is_own_news = self.upkeep.asks_for_word() and applied.changed_since(self._told())
        if not may_write or not (is_own_news or self._is_news(applied, self._told())):
            self.upkeep.ask_no_more()
            self._due_s.pop("acknowledge", None)
            return
        now_s = self.site.clock.monotonic_s()
        if now_s >= self._due_s.setdefault("acknowledge", now_s + ACKNOWLEDGE_AFTER_S):
            del self._due_s["acknowledge"]
            self._send(cycle, acknowledge=applied)

    def _told(self) -> VersionVector:
        stored = self.site.journal.setting("told_applied")
        return decode_vector(stored) if stored is not None else VersionVector()

    def _is_news(self, applied: VersionVector, told: VersionVector) -> bool:
        news = applied.changed_since(told)
        news.pop(self.site.actor, None)  # that our own is on our disk goes without saying
        return bool(news)

    def _now_s(self) -> float:
        return self.site.clock.monotonic_s()

    def _is_due(self, what: str, every_s: float) -> bool:
        now_s = self.site.clock.monotonic_s()
        if now_s < self._due_s.get(what, now_s):
            return False
        self._due_s[what] = now_s + every_s
        return True
