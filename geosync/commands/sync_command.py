"""`geosync sync`: brings the site in sync once, by its daemon or without one."""

from __future__ import annotations

import argparse
from threading import Event
from typing import Any

from geosync.assembly.journal_of_root import set_journal_aside
from geosync.clock import Clock, SystemClock
from geosync.commands.daemon_client import Deadline, ask_daemon, configured, say
from geosync.commands.engine_alone import engine_alone
from geosync.configuration.volume_configuration import Configuration
from geosync.daemon.control_socket import DaemonNotRunning, JsonObject
from geosync.engine.engine import Engine
from geosync.engine.site import joined
from geosync.exit_codes import ExitCode
from geosync.reporting.progress_text import progress_text
from geosync.terminal import Show, display_name, progress

STORE_BUDGET_S = 10.0
PAUSE_S = 0.1
NO_PROGRESS_S_MAX = 30.0
"""A pass in which nothing happens for so long ends: what it waits for may never come."""
SLICE_S = 10.0


def run(arguments: argparse.Namespace) -> ExitCode:
    """Brings the site in sync. Raises GeosyncError."""
    configuration = configured(arguments)
    clock = SystemClock()
    deadline = Deadline(arguments.timeout, clock)
    try:
        with progress(clock.monotonic_s) as show:
            return _sync_by_daemon(configuration, deadline, show)
    except DaemonNotRunning:
        return _sync_here(configuration, clock, deadline)


def _sync_by_daemon(configuration: Configuration, deadline: Deadline, show: Show) -> ExitCode:
    is_scanned = False
    while True:
        request: JsonObject = {
            "is_scanned": is_scanned,
            "until": "settled",
            "timeout_s": deadline.slice_s(SLICE_S),
        }
        answer: dict[str, Any] = ask_daemon(
            configuration, "sync", request, deadline.answer_timeout_s()
        )
        is_scanned = True
        if answer["progress"] is not None:
            show(answer["progress"]["text"], answer["progress"]["share"])
        if answer["is_captured"] and answer["is_settled"]:
            return _done(answer["conflicts"], answer["brakes"])
        error = answer["disk_error"] or answer["store_error"]
        if error:
            say(f"not in sync: {error}")
            return ExitCode.FAILED
        if deadline.is_over():
            paths = [(each["path"], each["reason"]) for each in answer["waiting"]]
            return _timed_out(answer["waiting_count"], paths)


def _sync_here(configuration: Configuration, clock: Clock, deadline: Deadline) -> ExitCode:
    with (
        engine_alone(configuration, deadline.slice_s(STORE_BUDGET_S)) as engine,
        progress(clock.monotonic_s) as show,
    ):
        engine.site.progress.listener = lambda now: show(progress_text(now), now.share)
        code = _Pass(engine, clock, deadline).run()
        superseded = engine.superseded
    if superseded is None:
        return code
    set_journal_aside(configuration.state_dir, superseded)
    say("this machine or its state was restored or cloned: the site joins anew")
    return _sync_here(configuration, clock, deadline)


class _Pass:
    """One pass of an engine of our own."""

    def __init__(self, engine: Engine, clock: Clock, deadline: Deadline) -> None:
        self._engine = engine
        self._clock = clock
        self._deadline = deadline

    def run(self) -> ExitCode:
        """Runs cycles until all is settled, and the other sites know it."""
        dirty: dict[tuple[bytes, ...], bool] = {(): True}
        last_work_s = self._clock.monotonic_s()
        while True:
            cycle = self._engine.cycle(dirty)
            dirty = {}
            if self._engine.superseded is not None:
                return ExitCode.FAILED
            error = cycle.disk_error or cycle.store_error
            if error is not None:
                say(f"not in sync: {error}")
                return ExitCode.FAILED
            is_settled = self._engine.is_settled() and not self._engine.owes_acknowledgement()
            if is_settled and not cycle.has_more:  # a checkpoint may be half written
                return _done(len(self._engine.conflicts()), len(self._engine.brakes()))
            now_s = self._clock.monotonic_s()
            last_work_s = now_s if cycle.did_work else last_work_s
            if self._deadline.is_over() or now_s - last_work_s > NO_PROGRESS_S_MAX:
                return self._gave_up()
            if not (cycle.did_work or cycle.has_more):
                self._clock.wait(Event(), PAUSE_S)

    def _gave_up(self) -> ExitCode:
        waiting = sorted(self._engine.waiting().items())
        paths = [(display_name(joined(path)), reason) for path, reason in waiting]
        return _timed_out(len(paths), paths)


def _done(conflicts: int, brakes: int) -> ExitCode:
    if brakes:
        say(f"in sync but for what {brakes} brakes hold until you decide: geosync brake list")
    if conflicts:
        say(f"in sync; {conflicts} conflicts wait for you: geosync conflicts list")
    if conflicts or brakes:
        return ExitCode.NEEDS_PERSON
    print("in sync")
    return ExitCode.DONE


def _timed_out(count: int, paths: list[tuple[str, str]]) -> ExitCode:
    if paths:
        say(f"not in sync yet: {count} paths wait, first {paths[0][0]}: {paths[0][1]}")
    else:
        say("not in sync yet: the time was over before all was looked at, sent and fetched")
    return ExitCode.TIMED_OUT
