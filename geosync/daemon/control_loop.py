"""The control loop: decides when to look at the disk and at the store, and drives the engine."""

from __future__ import annotations

import math
import os
import random
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from conflict.report import Conflict
from conflict.synced import Path
from conflict.version import ActorId
from geosync.assembly.journal_of_root import ROOT_MARKER
from geosync.assembly.store_backoff import BackoffStore
from geosync.clock import Clock
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.daemon_state import DaemonState
from geosync.daemon.hint_service import HintService
from geosync.daemon.pace import Pace
from geosync.daemon.service_notification import ServiceNotifier
from geosync.disk.interface import PRIVATE_DIRECTORY, RootLost
from geosync.disk.posix_disk import PosixDisk
from geosync.disk.private_directory import read_marker
from geosync.engine.cycle import Cycle
from geosync.engine.engine import Engine
from geosync.engine.haste import Haste
from geosync.engine.progress import Advance
from geosync.engine.site import split
from geosync.event_log import event_logger
from geosync.hooks.hooks import Hooks
from geosync.reporting.conflict_text import conflict_json
from geosync.reporting.progress_text import progress_text
from geosync.reporting.recent_operations import RecentOperations
from geosync.reporting.status import (
    CONFLICTS_SHOWN_MAX,
    DaemonStatus,
    Seen,
    Status,
    excluded_paths,
    observe_status,
    waiting_paths,
)
from geosync.reporting.status_text import summary
from geosync.reporting.transfer_rate import TransferRate
from geosync.reporting.written_times import WrittenTimes
from geosync.watching.dirty_directories import ROOT, DirtyDirectory
from geosync.watching.errors import WatchingError
from geosync.watching.tree_watcher import TreeWatcher
from transport.errors import OperationUnderWay

FIRST_WALK_STEP_S: Final = 0.2
WATCHER_RESTART_S: Final = 30.0
UPLOAD_STEP_S: Final = 0.02  # while packs of large files are sent, until the next one is begun
HOOK_STEP_S: Final = 0.2  # while a program runs for which more is due
STATUS_EVERY_S: Final = 1.0
PROGRESS_EVERY_S: Final = 10.0  # in the log
PROGRESS_AFTER_S: Final = 5.0  # what takes less is not told
STATUS_SHARE_MAX: Final = 0.05  # of the time that may go into making the status
QUIET_S: Final = 0.025  # without an event after a name left a directory: it is gone
LOOK_EVERY_S: Final = 60.0  # at the store, though hints vouch for all logs
FEW_LOGS: Final = 2  # are looked at while changes arrive, whatever hints say
UNWATCHED_SHARE_MAX: Final = 0.1  # of the time that may go into polling what is not watched
RESCAN_JITTER: Final = 0.25
_HTTP: Final = b"http"
_HINTS: Final = b"hints"
_WATCHER: Final = b"watcher"
_log = event_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoopParts:
    """What outlives one control loop."""

    configuration: Configuration
    clock: Clock
    state: DaemonState
    notifier: ServiceNotifier
    backoff: BackoffStore
    hooks: Hooks
    hints: HintService


class ControlLoop:
    """Runs one engine on one root. Everything here happens in the control thread."""

    def __init__(self, engine: Engine, parts: LoopParts) -> None:
        self.engine = engine
        self.last_cycle = Cycle()
        self.configuration = self._configuration = parts.configuration
        self._clock = parts.clock
        self._state = parts.state
        self._notifier = parts.notifier
        self._backoff = parts.backoff
        self._hooks = parts.hooks
        self._hints = parts.hints
        engine.site.on_stored = partial(parts.hints.tell, engine.site.actor)
        self._watcher = TreeWatcher(
            parts.configuration.root, self._state.dirty, excluded=frozenset({PRIVATE_DIRECTORY})
        )
        tuning = parts.configuration.tuning
        now_s = self._clock.monotonic_s()
        self._idle_s = tuning.poll_idle_ms / 1000
        self._pace = Pace(active_s=tuning.poll_active_ms / 1000, idle_s=self._idle_s, now_s=now_s)
        self._random = random.Random()  # noqa: S311 - jitter is no secret
        self._look_due_s = now_s
        self._rescan_due_s = now_s + self._rescan_s()
        self._unwatched_due_s = now_s
        self._watcher_due_s = now_s
        self._watcher_refusal = ""  # what was logged when it could not be started
        self._status_due_s = now_s
        self._is_scan_wanted = False
        self._is_ready = False
        self._written = WrittenTimes()
        self._recent = RecentOperations(parts.configuration.volume)
        self._uploads, self._downloads = TransferRate(), TransferRate()
        self._store_failures = 0
        self.is_root_lost = False
        self._progress_due_s = now_s + PROGRESS_EVERY_S
        self._state.progress = engine.site.progress
        engine.site.progress.listener = self._tell_progress

    def run(self) -> None:
        """Returns when the daemon is to end, or needs a new engine.

        That is when a lost root is back, the journal is superseded, or the configuration changed.
        """
        self.engine.site.report(_HTTP, self._state.http.problem or None)
        self.engine.site.report(_HINTS, self._hints.problem or None)
        stored = self.engine.last_stored()
        if stored is not None:
            self.engine.site.on_stored(stored, is_news=False)
        try:
            self._start_watcher()
            self._await_first_walk()
            while not self._state.is_stopping:
                self._state.dirty.wait(self.due_in_s())
                self.take_turn()
                if self.engine.superseded is not None or self._state.is_configuration_changed:
                    return
                if self.is_root_lost and self._is_root_back():
                    _log.info("root_is_back", root=self._configuration.root)
                    return
        finally:
            self._watcher.stop()

    def request_scan(self) -> int:
        """Lets the next cycle look at everything; returns how many cycles have ended by now."""
        self._is_scan_wanted = True
        self._state.hurry()
        return self._state.cycles()

    def observe(self) -> Status:
        """Returns the status as of now."""
        return self._observed(self.engine.conflicts())

    def _observed(self, conflicts: list[Conflict]) -> Status:
        engine = self.engine
        waiting = engine.waiting()
        excluded = engine.excluded()
        disk = engine.site.disk
        store = engine.site.store.counters()
        now_s = self._clock.monotonic_s()
        self._uploads.note(now_s, store.upload_bytes)
        self._downloads.note(now_s, store.download_bytes)
        self._recent.look(engine.site.journal)
        return observe_status(
            self._configuration,
            engine.site.journal,
            now_ms=engine.site.now_ms(),
            conflict_count=len(conflicts),
            seen=Seen(self._written, self._recent),
            daemon=DaemonStatus(
                process_id=os.getpid(),
                is_settled=self.is_settled(),
                waiting=waiting_paths(waiting),
                waiting_count=len(waiting),
                watcher=self._watcher.health(),
                store=store,
                upload_bytes_per_s=self._uploads.per_s(),
                download_bytes_per_s=self._downloads.per_s(),
                recent=self._recent.changes(engine.site.journal),
                protocol=disk.capabilities if isinstance(disk, PosixDisk) else None,
                excluded=excluded_paths(excluded),
                excluded_count=len(excluded),
                progress=engine.site.progress.now,
                takes_writes=engine.takes_writes(),
                lag_s=self._lag_s(),
                store_failures=self._store_failures,
                http_address=self._state.http.address,
                hints=self._hints.state({log.actor: log.site for log in engine.logs_read()}),
                conflicts_shown=tuple(
                    conflict_json(each, engine.site.journal)
                    for each in conflicts[:CONFLICTS_SHOWN_MAX]
                ),
            ),
        )

    def is_settled(self) -> bool:
        """Tells whether nothing is left to do with what this site could see, and it could see."""
        cycle = self.last_cycle
        return self.engine.is_settled() and cycle.store_error is None and cycle.disk_error is None

    # One turn

    def take_turn(self) -> None:
        """Does what is due by now, and waits for nothing."""
        self._state.queue.serve(self)
        if self._state.is_stopping:
            return
        now_s = self._clock.monotonic_s()
        if self._state.take_hurry():
            self._pace.hurry(now_s)
            self._look_due_s = now_s
        self._tend_watcher(now_s)
        self._hooks.tend(now_s, self.engine.site.report)
        self._mark_what_is_due(now_s)
        taken = self._state.dirty.take(now_s)
        hinted = self._hints.due(self.engine.next_sequence)
        look_due_s = self.engine.look_due_s()
        is_look_due = look_due_s is not None and now_s >= look_due_s
        is_more_due = is_look_due or self._has_more()
        if taken or hinted or is_more_due or self._is_poll_due(now_s):
            self._run_cycle(taken, hinted)

    def _is_poll_due(self, now_s: float) -> bool:
        """Tells whether the next cycle looks at all logs, unless hints vouch for them."""
        is_awaited = self._is_scan_wanted or self._state.has_waiting_clients()
        return is_awaited or now_s >= self._pace.due_s

    def _has_more(self) -> bool:
        """Tells whether there is work at once, as that of large files, which goes bit by bit."""
        engine = self.engine
        has_large_files = engine.has_slice() or engine.has_sent()
        return self.last_cycle.has_more or (has_large_files and not self.is_root_lost)

    def due_in_s(self) -> float:
        """Returns in how many seconds a turn is due, unless something happens before."""
        if self._has_more():
            return 0.0
        due_s = min(self._pace.due_s, self._rescan_due_s)
        for also_due_s in (self._hints.next_due_s(), self.engine.look_due_s()):
            if also_due_s is not None:
                due_s = min(due_s, also_due_s)
        hook_due_s = self._hooks.next_due_s()
        if hook_due_s is not None:
            due_s = min(due_s, max(hook_due_s, self._clock.monotonic_s() + HOOK_STEP_S))
        wait_s = max(0.0, due_s - self._clock.monotonic_s())
        return min(wait_s, UPLOAD_STEP_S) if self.engine.is_sending() else wait_s

    def _run_cycle(self, taken: tuple[DirtyDirectory, ...], hinted: frozenset[ActorId]) -> None:
        dirty = {split(each.directory): each.recursive for each in taken}
        if self._is_scan_wanted:
            dirty[()] = True
            self._is_scan_wanted = False
        if self.is_root_lost:
            dirty = {}
        began_s = self._clock.monotonic_s()
        is_poll = self._is_poll_due(began_s)
        vouched_for_s = self._vouched_for_since_s(began_s) if is_poll else None
        is_look = is_poll and vouched_for_s is None
        haste = Haste(None if is_look else hinted, is_prompt=True, quiet=self._quiet(taken))
        self.last_cycle = self.engine.cycle(dirty, haste)
        now_s = self._clock.monotonic_s()
        self._hints.note_look(hinted)
        if is_look:
            self._look_due_s = now_s + LOOK_EVERY_S
        self._note_disk(self.last_cycle)
        self._note_lag(self.last_cycle, began_s if is_look else vouched_for_s)
        if any(is_recursive for is_recursive in dirty.values()):
            pause_s = (now_s - began_s) / UNWATCHED_SHARE_MAX
            self._unwatched_due_s = now_s + max(self._idle_s, pause_s)
        had_work = self.last_cycle.did_work or bool(dirty) or self._state.has_waiting_clients()
        if is_poll:
            self._pace.note_look(now_s, had_work=had_work)
        elif had_work:
            self._pace.note_work(now_s)
        if self.last_cycle.is_reading:  # else what there is to do at once needs no look
            self._pace.hurry(now_s)
        retry_in_s = self._backoff.retry_in_s()
        if retry_in_s is not None:
            self._pace.due_s = min(self._pace.due_s, now_s + retry_in_s)
        self._hooks.note_arrived(self.last_cycle.arrived, now_s)
        self._refresh_status(now_s)
        if not self._is_ready:
            self._is_ready = True
            self._notifier.ready()
        self._state.note_cycle()

    def _vouched_for_since_s(self, now_s: float) -> float | None:
        """Returns since when hints leave nothing to look for; None: the store is to be asked."""
        is_awaited = self._state.has_waiting_clients() or now_s >= self._look_due_s
        if is_awaited or self.last_cycle.store_error is not None:
            return None
        logs = self.engine.logs_read()
        if len(logs) <= FEW_LOGS and self._pace.is_active(now_s):
            return None  # what is asked often answers sooner: a change takes 20 ms less
        return self._hints.vouched_for_since_s({log.actor: log.next_sequence for log in logs})

    def _quiet(self, taken: tuple[DirtyDirectory, ...]) -> frozenset[Path]:
        """Returns where what is missing is gone: unless it may be on its way to another place."""
        if len(self._state.dirty):
            return frozenset()
        return frozenset(split(each.directory) for each in taken if each.quiet_s >= QUIET_S)

    def _note_lag(self, cycle: Cycle, looked_at_s: float | None) -> None:
        """Notes how far this site is, and when it wrote what others may lack.

        Args:
            cycle: that is over.
            looked_at_s: when it was known last what the others had stored; None: not asked.
        """
        has_failed = cycle.store_error is not None
        self._store_failures += has_failed and not _is_under_way(cycle)
        is_over = not (has_failed or cycle.disk_error or cycle.has_more)
        if looked_at_s is not None and is_over and self.engine.is_current():
            self._state.current_at_s = looked_at_s
        self._written.note(self.engine.own_counter(), self.engine.site.now_ms())

    def _lag_s(self) -> float | None:
        current_at_s = self._state.current_at_s
        return None if current_at_s is None else self._clock.monotonic_s() - current_at_s

    def _note_disk(self, cycle: Cycle) -> None:
        if isinstance(cycle.disk_error, RootLost) and not self.is_root_lost:
            self.is_root_lost = True
            _log.error("root_lost", reason=str(cycle.disk_error))

    def _is_root_back(self) -> bool:
        """Tells whether the configured root is, again, the directory that the journal knows."""
        path = os.path.join(self._configuration.root, PRIVATE_DIRECTORY)
        with suppress(OSError, RootLost):
            private = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return read_marker(private) == self.engine.site.journal.setting(ROOT_MARKER)
            finally:
                os.close(private)
        return False

    def _refresh_status(self, now_s: float) -> None:
        if now_s < self._status_due_s:
            return
        conflicts = self.engine.conflicts()
        self._state.status = status = self._observed(conflicts)
        self._tell_hooks(status, conflicts, now_s)
        took_s = self._clock.monotonic_s() - now_s
        self._status_due_s = now_s + max(STATUS_EVERY_S, took_s / STATUS_SHARE_MAX)
        self._notifier.status(f"{status.site}: {summary(status)}")

    def _tell_progress(self, advance: Advance) -> None:
        """Tells the log and the service manager, now and then, how far a long cycle is."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._progress_due_s and advance.lasts_s >= PROGRESS_AFTER_S:
            self._progress_due_s = now_s + PROGRESS_EVERY_S
            text = progress_text(advance)
            _log.info("progress", text=text)
            self._notifier.status(f"{self._configuration.site}: {text}")

    def _tell_hooks(self, status: Status, conflicts: list[Conflict], now_s: float) -> None:
        if self._hooks.are_any:
            self._hooks.note_conflicts(conflicts, now_s)
            self._hooks.note_brakes(self.engine.brakes(), now_s)
            self._hooks.note_sites(status.sites, status.taken_at_ms, now_s)

    # What to look at

    def _mark_what_is_due(self, now_s: float) -> None:
        if self.is_root_lost:
            return
        if now_s >= self._rescan_due_s:
            self._rescan_due_s = now_s + self._rescan_s()
            self._state.dirty.mark(ROOT, recursive=True)
            _log.debug("rescan_began")
        if now_s >= self._unwatched_due_s:
            for directory in self._watcher.unwatched_directories():
                self._state.dirty.mark(directory, recursive=True)
            self._unwatched_due_s = now_s + self._idle_s

    def _rescan_s(self) -> float:
        share = self._random.uniform(1 - RESCAN_JITTER, 1 + RESCAN_JITTER)
        return self._configuration.tuning.rescan_s * share

    def _tend_watcher(self, now_s: float) -> None:
        """Starts a watcher that failed again, after a while; meanwhile everything is polled."""
        if self._watcher.is_running() or self.is_root_lost or now_s < self._watcher_due_s:
            return
        self._watcher.stop()
        self._state.dirty.mark(ROOT, recursive=True)
        self._start_watcher()

    def _start_watcher(self) -> None:
        self._watcher_due_s = self._clock.monotonic_s() + WATCHER_RESTART_S
        try:
            self._watcher.start()
        except WatchingError as error:
            self.engine.site.report(_WATCHER, f"{error}; until then changes are found by scans")
            if self._watcher_refusal != str(error):
                self._watcher_refusal = str(error)
                _log.warning("watcher_not_started", reason=str(error))
            return
        self._watcher_refusal = ""
        self.engine.site.report(_WATCHER, None)

    def _await_first_walk(self) -> None:
        """Waits until all is watched, as the first scan would otherwise have to be repeated.

        That scan begins after it, and so it stands for all that was marked until now.
        """
        dirty = self._state.dirty
        while self._watcher.is_running() and not len(dirty) and not self._state.is_stopping:
            dirty.wait(FIRST_WALK_STEP_S)
            self._state.queue.serve(self)
        dirty.take(math.inf)
        self._is_scan_wanted = True


def _is_under_way(cycle: Cycle) -> bool:
    """Tells whether the store has not failed, but goes on working while the cycle ends."""
    return isinstance(cycle.store_error, OperationUnderWay)
