"""What the daemon answers to commands that come through its control socket."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from conflict.errors import MalformedValueError
from conflict.version import VersionVector, actor_id
from geosync.clock import Clock
from geosync.daemon.barrier import lacking, own_operations
from geosync.daemon.conflict_request import resolution_with, undoing
from geosync.daemon.control_loop import ControlLoop
from geosync.daemon.daemon_state import DaemonState
from geosync.daemon.difference_request import difference_of
from geosync.daemon.failover_request import demotion, failover_report, promotion
from geosync.daemon.mending_request import mending_of, progress_json
from geosync.daemon.reloading import Reloader
from geosync.engine.brake_verdicts import plan_of
from geosync.engine.engine import Engine
from geosync.engine.resolving import Choice, find_conflict
from geosync.engine.retiring import retire
from geosync.engine.site import split
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode
from geosync.reporting.brake_text import brake_json, plan_json
from geosync.reporting.conflict_text import conflict_json
from geosync.reporting.drift_text import drift_json
from geosync.reporting.policy_text import policies_json, rule_of
from geosync.reporting.progress_text import progress_json as advance_json
from geosync.reporting.progress_text import progress_text
from geosync.reporting.status import Status, waiting_paths
from geosync.reporting.status_text import status_answer
from transport.brake_record import Verdict
from transport.errors import OperationUnderWay

STATUS_WAIT_S: Final = 0.3
FIRST_STATUS_WAIT_S: Final = 10.0
BUSY_S_MAX: Final = 60.0
SLICE_S_MAX: Final = 20.0
"""A client that waits longer asks again, so that nobody waits for one that has gone."""

JsonObject = dict[str, object]
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the daemon is, for a client that waits."""

    is_captured: bool
    is_settled: bool
    barrier: VersionVector
    json: JsonObject


class DaemonCommands:
    """Handles requests, in the threads of their clients; the control thread does the work."""

    def __init__(self, state: DaemonState, clock: Clock, reloader: Reloader) -> None:
        """Takes what the daemon's threads share, its clock, and what reads its configuration."""
        self._reloader = reloader
        self._state = state
        self._clock = clock
        self._handlers: dict[str, Callable[[JsonObject], JsonObject]] = {
            "status": self._status,
            "conflicts_list": self._conflicts_list,
            "conflicts_show": self._conflicts_show,
            "conflicts_diff": self._conflicts_diff,
            "conflicts_resolve": self._conflicts_resolve,
            "conflicts_resolve_with": self._conflicts_resolve_with,
            "conflicts_undo": self._conflicts_undo,
            "policy_list": lambda _arguments: self._ask(_policies),
            "policy_set": self._policy_set,
            "policy_unset": self._policy_unset,
            "ignore_add": self._ignore_add,
            "ignore_remove": self._ignore_remove,
            "brake_list": self._brake_list,
            "site_retire": self._site_retire,
            "gc": self._gc,
            "brake_decide": self._brake_decide,
            "path_live": self._path_live,
            "sync": self._sync,
            "wait": self._wait,
            "wait_here": self._wait_here,
            "demote": self._demote,
            "promote": self._promote,
            "failover_report": lambda _arguments: self._ask(failover_report),
            "reload": lambda _arguments: {"changed": reloader.reload()},
            "mend": self._mend,
            "mending": self._mending,
        }

    def handle(self, command: str, arguments: JsonObject) -> JsonObject:
        """Answers one request; see geosync.control_socket.Handler. Raises OperatorError."""
        handler = self._handlers.get(command)
        if handler is None:
            raise OperatorError(
                f"the daemon knows no command {command!r}; restart it if geosync was updated",
                ExitCode.BAD_USAGE,
            )
        return handler(arguments)

    def _status(self, _arguments: JsonObject) -> JsonObject:
        last = self._state.status
        try:
            wait_s = STATUS_WAIT_S if last is not None else FIRST_STATUS_WAIT_S
            status = self._state.queue.call(ControlLoop.observe, wait_s)
        except TimeoutError as error:
            if last is None:
                raise OperatorError(self._starting_text()) from error
            status = self._with_progress(last)
        return status_answer(status, now_ms=self._clock.wall_ns() // 1_000_000)

    def _starting_text(self) -> str:
        advance = self._state.progress.now
        doing = f" ({progress_text(advance)})" if advance is not None else ""
        return f"the daemon is starting{doing}; ask again in a moment"

    def _with_progress(self, last: Status) -> Status:
        """Returns what was seen last, with how far the cycle is that has been under way since."""
        if last.daemon is None:
            return last
        return replace(last, daemon=replace(last.daemon, progress=self._state.progress.now))

    def _conflicts_list(self, _arguments: JsonObject) -> JsonObject:
        return {"conflicts": self._ask(_conflicts)}

    def _conflicts_show(self, arguments: JsonObject) -> JsonObject:
        identity = _text(arguments, "identity")

        def show(loop: ControlLoop) -> JsonObject:
            site = loop.engine.site
            return conflict_json(find_conflict(site, identity), site.journal)

        return self._ask(show)

    def _conflicts_diff(self, arguments: JsonObject) -> JsonObject:
        words = [_text(arguments, key) for key in ("identity", "from", "to")]
        return difference_of(self._reloader.configuration, *words)

    def _conflicts_resolve(self, arguments: JsonObject) -> JsonObject:
        identity, choice = _text(arguments, "identity"), _choice(arguments)

        def settle(loop: ControlLoop) -> JsonObject:
            journal = loop.engine.site.journal
            found = conflict_json(find_conflict(loop.engine.site, identity), journal)
            loop.engine.decisions.resolve(identity, choice)
            self._state.hurry()
            return found

        return self._ask(settle)

    def _conflicts_resolve_with(self, arguments: JsonObject) -> JsonObject:
        """Settles a conflict by a content; see geosync.daemon.conflict_request."""
        identity, content = _text(arguments, "identity"), _text(arguments, "content")
        seen = None if arguments.get("seen") is None else _text(arguments, "seen")

        def settle(loop: ControlLoop) -> JsonObject:
            self._state.hurry()
            return resolution_with(loop, identity, content, seen)

        return self._ask(settle)

    def _conflicts_undo(self, arguments: JsonObject) -> JsonObject:
        """Undoes a settlement, or waits for a slice of time for what is missing to do so."""
        name = arguments.get("identity")
        identity = None if name is None else _text(arguments, "identity")

        def attempt(loop: ControlLoop) -> JsonObject:
            return undoing(loop, identity)

        return self._until_done(self._ask(attempt), attempt, SLICE_S_MAX)

    def _policy_set(self, arguments: JsonObject) -> JsonObject:
        rule = rule_of(_text(arguments, "glob"), _text(arguments, "policy"))
        return self._change(lambda engine: engine.decisions.set_policy(rule))

    def _policy_unset(self, arguments: JsonObject) -> JsonObject:
        glob = os.fsencode(_text(arguments, "glob"))
        return self._change(lambda engine: engine.decisions.unset_policy(glob))

    def _ignore_add(self, arguments: JsonObject) -> JsonObject:
        pattern = os.fsencode(_text(arguments, "pattern"))
        return self._change(lambda engine: engine.decisions.ignore(pattern))

    def _ignore_remove(self, arguments: JsonObject) -> JsonObject:
        pattern = os.fsencode(_text(arguments, "pattern"))
        return self._change(lambda engine: engine.decisions.ignore_no_more(pattern))

    def _change(self, decide: Callable[[Engine], None]) -> JsonObject:
        """Lets the engine write a decision of an operator's, which it shows at once."""

        def change(loop: ControlLoop) -> JsonObject:
            decide(loop.engine)
            self._state.hurry()
            return {}

        return self._ask(change)

    def _gc(self, arguments: JsonObject) -> JsonObject:
        """Makes the collection of garbage due; returns what hinders it, if anything does."""

        def collect(loop: ControlLoop) -> JsonObject:
            if arguments.get("is_explaining") is not True:
                loop.engine.upkeep.collect()
                self._state.hurry()
            return {"doubt": loop.engine.upkeep.doubt(loop.last_cycle)}

        return self._ask(collect)

    def _site_retire(self, arguments: JsonObject) -> JsonObject:
        name = _text(arguments, "site")

        def begin(loop: ControlLoop) -> JsonObject:
            actors = retire(loop.engine.site, name)
            self._state.hurry()
            return {"actors": [actor.hex() for actor in actors]}

        return self._ask(begin)

    def _brake_list(self, arguments: JsonObject) -> JsonObject:
        with_plan = arguments.get("with_plan") is True
        return {"brakes": self._ask(lambda loop: _brakes(loop, with_plan=with_plan))}

    def _brake_decide(self, arguments: JsonObject) -> JsonObject:
        name, verdict = _text(arguments, "id"), _verdict(arguments)

        def decide(loop: ControlLoop) -> JsonObject:
            found = loop.engine.decisions.decide_brake(name, verdict)
            self._state.hurry()
            return brake_json(found, now_ms=loop.engine.site.now_ms())

        return self._ask(decide)

    def _path_live(self, arguments: JsonObject) -> JsonObject:
        """Says what only the daemon knows of a path, which is given by its bytes in hexadecimal."""
        path = split(bytes.fromhex(_text(arguments, "path_hex")))

        def look(loop: ControlLoop) -> JsonObject:
            waiting = loop.engine.waiting().get(path)
            is_excluded = loop.engine.site.capture_rules.is_excluded(path)
            return {"waiting": waiting, "is_excluded": is_excluded}

        return self._ask(look)

    def _sync(self, arguments: JsonObject) -> JsonObject:
        """Captures everything, and returns how far all is after at most a slice of time.

        Arguments: `is_scanned`, true when an earlier answer said so, and no new scan is wanted;
        `until`, "captured" or "settled"; `timeout_s`.
        """
        is_done = _is_captured if arguments.get("until") == "captured" else _is_over
        with self._state.client_waiting():
            after = self._state.cycles() - 1
            if arguments.get("is_scanned") is not True:
                after = self._ask(ControlLoop.request_scan)
                # A cycle that was under way when the scan was asked for has ended by now, as the
                # control thread answered. The next one scans, however long that takes.
                self._state.wait_for_cycle(after, None)
            progress = self._progress_until(is_done, _slice_s(arguments))
        return progress.json

    def _progress_until(self, is_done: Callable[[Progress], bool], timeout_s: float) -> Progress:
        deadline_s = self._clock.monotonic_s() + timeout_s
        while True:
            cycles = self._state.cycles()
            progress = self._ask(_progress)
            left_s = deadline_s - self._clock.monotonic_s()
            if is_done(progress) or left_s <= 0:
                return progress
            self._state.wait_for_cycle(cycles, left_s)

    def _wait(self, arguments: JsonObject) -> JsonObject:
        """Waits until sites have applied what a barrier names, at most for a slice of time.

        Arguments: `barrier`, as an answer to `sync` told it; `sites`, names, or null for all;
        `timeout_s`.
        """
        barrier, sites = _barrier(arguments), _sites(arguments)
        deadline_s = self._clock.monotonic_s() + _slice_s(arguments)
        with self._state.client_waiting():
            while True:
                cycles = self._state.cycles()
                lacks = self._ask(lambda loop: _lacking(loop, barrier, sites))
                left_s = deadline_s - self._clock.monotonic_s()
                is_done = not any(lacks.values())
                if is_done or left_s <= 0:
                    rows = [
                        {"site": site, "operations_it_lacks": count}
                        for site, count in lacks.items()
                    ]
                    return {"is_done": is_done, "sites": rows}
                self._state.wait_for_cycle(cycles, left_s)

    def _mend(self, arguments: JsonObject) -> JsonObject:
        """Begins to repair what a verification found; see geosync.daemon.mending_request."""
        try:
            mending = mending_of(arguments)
        except (ValueError, TypeError, KeyError) as error:
            raise _malformed("chunks, segments or files") from error

        def begin(loop: ControlLoop) -> JsonObject:
            loop.engine.upkeep.mend(mending)
            return progress_json(loop.engine.upkeep.mending())

        answer = self._ask(begin)
        self._state.hurry()
        return answer

    def _mending(self, _arguments: JsonObject) -> JsonObject:
        return self._ask(lambda loop: progress_json(loop.engine.upkeep.mending()))

    def _demote(self, arguments: JsonObject) -> JsonObject:
        """Makes this site a standby, and waits for at most a slice of time until all is stored.

        Arguments: `is_begun`, true when an earlier answer came; `timeout_s`.
        """
        begins = arguments.get("is_begun") is not True
        answer = self._ask(lambda loop: demotion(loop, begins=begins))
        return self._until_done(
            answer, lambda loop: demotion(loop, begins=False), _slice_s(arguments)
        )

    def _promote(self, arguments: JsonObject) -> JsonObject:
        """Makes this site the primary, and waits for at most a slice of time until it may be.

        Arguments: `is_forced`, true: it does not wait; `timeout_s`.
        """
        is_forced = arguments.get("is_forced") is True

        def attempt(loop: ControlLoop) -> JsonObject:
            return promotion(loop, is_forced=is_forced)

        return self._until_done(self._ask(attempt), attempt, _slice_s(arguments))

    def _until_done(
        self, answer: JsonObject, again: Callable[[ControlLoop], JsonObject], timeout_s: float
    ) -> JsonObject:
        """Asks again after each cycle, as long as the answer is not that all is done."""
        deadline_s = self._clock.monotonic_s() + timeout_s
        with self._state.client_waiting():
            while answer["is_done"] is not True:
                cycles = self._state.cycles()
                left_s = deadline_s - self._clock.monotonic_s()
                if left_s <= 0:
                    break
                self._state.wait_for_cycle(cycles, left_s)
                answer = self._ask(again)
        self._state.hurry()
        return answer

    def _wait_here(self, arguments: JsonObject) -> JsonObject:
        """Waits until this site has applied what a barrier names, at most for a slice of time."""
        barrier = _barrier(arguments)
        deadline_s = self._clock.monotonic_s() + _slice_s(arguments)
        with self._state.client_waiting():
            while True:
                cycles = self._state.cycles()
                is_done = self._ask(lambda loop: loop.engine.site.applied().covers(barrier))
                left_s = deadline_s - self._clock.monotonic_s()
                if is_done or left_s <= 0:
                    return {"is_done": is_done}
                self._state.wait_for_cycle(cycles, left_s)

    def _ask(self, function: Callable[[ControlLoop], _Result]) -> _Result:
        try:
            return self._state.queue.call(function, BUSY_S_MAX)
        except TimeoutError as error:
            raise OperatorError(
                f"the daemon is busy and did not answer within {BUSY_S_MAX:.0f} s; `geosync"
                " status` shows how it was before. Ask again later.",
                ExitCode.TIMED_OUT,
            ) from error


def _is_captured(progress: Progress) -> bool:
    return progress.is_captured


def _is_over(progress: Progress) -> bool:
    has_failed = progress.json["store_error"] is not None
    return has_failed or (progress.is_captured and progress.is_settled)


def _lacking(
    loop: ControlLoop, barrier: VersionVector, sites: Sequence[str] | None
) -> dict[str, int]:
    return lacking(loop.engine.site.journal, loop.engine.site.name, barrier, sites)


def _conflicts(loop: ControlLoop) -> list[JsonObject]:
    journal = loop.engine.site.journal
    found = [conflict_json(conflict, journal) for conflict in loop.engine.conflicts()]
    return found + drift_json(loop.configuration, journal)


def _policies(loop: ControlLoop) -> JsonObject:
    return {"policies": policies_json(loop.engine.site.journal)}


def _brakes(loop: ControlLoop, *, with_plan: bool) -> list[JsonObject]:
    journal, now_ms = loop.engine.site.journal, loop.engine.site.now_ms()
    return [
        brake_json(brake, now_ms=now_ms)
        | ({"plan": plan_json(plan_of(journal, brake))} if with_plan else {})
        for brake in loop.engine.brakes()
    ]


def _progress(loop: ControlLoop) -> Progress:
    engine, cycle = loop.engine, loop.last_cycle
    barrier = own_operations(engine.site.journal, engine.site.name)
    waiting, brakes = engine.waiting(), engine.brakes()
    is_captured = not engine.has_uncaptured() and not loop.is_root_lost
    is_settled = loop.is_settled()
    is_under_way = isinstance(cycle.store_error, OperationUnderWay)
    store_error = None if is_under_way else cycle.store_error
    return Progress(
        is_captured,
        is_settled,
        barrier,
        {
            "is_captured": is_captured,
            "is_settled": is_settled,
            "barrier": {actor.hex(): counter for actor, counter in barrier.items()},
            "store_error": None if store_error is None else str(store_error),
            "disk_error": None if cycle.disk_error is None else str(cycle.disk_error),
            "progress": advance_json(engine.site.progress.now),
            "waiting_count": len(waiting),
            "waiting": [
                {"path": each.path, "reason": each.reason} for each in waiting_paths(waiting)
            ],
            "conflicts": len(engine.conflicts()),
            "brakes": len(brakes),
            "held_count": sum(b.amount.count for b in brakes if b.is_here and b.is_capture),
        },
    )


def _text(arguments: JsonObject, key: str) -> str:
    value = arguments.get(key)
    if not isinstance(value, str):
        raise _malformed(key)
    return value


def _choice(arguments: JsonObject) -> Choice:
    try:
        return Choice(_text(arguments, "take"))
    except ValueError as error:
        raise _malformed("take") from error


def _verdict(arguments: JsonObject) -> Verdict:
    for verdict in Verdict:
        if verdict.name.lower() == arguments.get("verdict"):
            return verdict
    raise _malformed("verdict")


def _slice_s(arguments: JsonObject) -> float:
    value = arguments.get("timeout_s", SLICE_S_MAX)
    if not isinstance(value, (int, float)):
        raise _malformed("timeout_s")
    return max(0.0, min(float(value), SLICE_S_MAX))


def _sites(arguments: JsonObject) -> list[str] | None:
    value = arguments.get("sites")
    if value is None:
        return None
    if not isinstance(value, list):
        raise _malformed("sites")
    return [str(each) for each in value]


def _barrier(arguments: JsonObject) -> VersionVector:
    value = arguments.get("barrier")
    if not isinstance(value, dict):
        raise _malformed("barrier")
    try:
        return VersionVector({actor_id(bytes.fromhex(key)): int(value[key]) for key in value})
    except (ValueError, TypeError, MalformedValueError) as error:
        raise _malformed("barrier") from error


def _malformed(key: str) -> OperatorError:
    return OperatorError(f"the request has no usable {key!r}", ExitCode.BAD_USAGE)
