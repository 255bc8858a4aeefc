"""The control loop: what it does when no event tells it anything, or nobody is left to tell."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from conflict.synced import Path
from geosync.clock import SystemClock
from geosync.configuration.volume_configuration import Tuning
from geosync.daemon import control_loop, pace
from geosync.daemon.control_loop import ControlLoop
from geosync.engine.cycle import Cycle
from geosync.engine.engine import Engine
from geosync.engine.haste import Haste
from geosync.hints.packet import Hint
from geosync.watching.errors import WatchingError
from geosync.watching.tree_watcher import TreeWatcher
from tests.support.await_condition import await_condition
from tests.support.control_loops import loop_parts
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore

QUICK = Tuning(settle_ms=0, poll_active_ms=10, poll_idle_ms=20)


class Loop:
    """A loop that runs in a thread, on an engine of its own."""

    def __init__(self, site: LocalSite, tuning: Tuning) -> None:
        parts = loop_parts(site, SystemClock(), tuning)
        self.state, self.hints = parts.state, parts.hints
        self.loop = ControlLoop(site.engine, parts)

    @property
    def watcher(self) -> TreeWatcher:
        return self.loop._watcher

    def problem(self) -> str:
        """What the operator is told of the watcher."""
        status = self.state.queue.call(ControlLoop.observe, 30.0)
        return "".join(each.text for each in status.problems if each.subject == "watcher")

    def is_settled(self) -> bool:
        """Whether nothing is left to do."""
        return self.state.queue.call(ControlLoop.is_settled, 30.0)

    def entries(self) -> int:
        """How many entries are captured."""
        return self.state.queue.call(ControlLoop.observe, 30.0).entries


@contextmanager
def running(loop: Loop) -> Iterator[Loop]:
    thread = threading.Thread(target=loop.loop.run)
    thread.start()
    try:
        await_condition(lambda: loop.state.cycles() > 0, "the first cycle ends")
        yield loop
    finally:
        loop.state.stop()
        thread.join()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSite]:
    with local_sites(MemoryStore(), "bari") as (bari,):
        bari.engine.site.clock = SystemClock()
        yield bari


class Blind(TreeWatcher):
    """A watcher that believes that it sees everything, and sees nothing."""

    def start(self) -> None:
        """Does nothing."""

    def is_running(self) -> bool:
        return True

    def unwatched_directories(self) -> tuple[bytes, ...]:
        return self.unwatched

    unwatched: tuple[bytes, ...] = ()


def test_what_no_event_tells_is_found_by_the_rescan(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_loop, "TreeWatcher", Blind)
    loop = Loop(site, replace(QUICK, rescan_s=1))
    loop.state.dirty.mark(b"", recursive=True)  # the first walk is over
    with running(loop):
        await_condition(loop.is_settled, "all is looked at")
        before = loop.entries()
        site.write(b"directory/deep/file", b"no event tells of me")
        await_condition(lambda: loop.entries() == before + 3, "the rescan finds it")


def test_without_a_rescan_nothing_that_no_event_tells_is_found(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows that the test above tests the rescan, and the one below the polling."""
    monkeypatch.setattr(control_loop, "TreeWatcher", Blind)
    loop = Loop(site, replace(QUICK, rescan_s=31_536_000))
    loop.state.dirty.mark(b"", recursive=True)
    with running(loop):
        await_condition(loop.is_settled, "all is looked at")
        before = loop.entries()
        site.write(b"directory/deep/file", b"no event tells of me")
        cycles = loop.state.cycles()
        await_condition(lambda: loop.state.cycles() > cycles + 20, "many cycles end")
        assert loop.entries() == before


def test_directories_without_a_watch_are_polled(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_loop, "TreeWatcher", Blind)
    monkeypatch.setattr(Blind, "unwatched", (b"directory",))
    loop = Loop(site, replace(QUICK, rescan_s=31_536_000))
    site.write(b"directory/file", b"there from the begin")
    loop.state.dirty.mark(b"", recursive=True)
    with running(loop):
        await_condition(loop.is_settled, "all is looked at")
        before = loop.entries()
        site.write(b"directory/deep/file", b"no event tells of me")
        await_condition(lambda: loop.entries() == before + 2, "polling finds it")


def test_a_watcher_that_failed_is_started_again_and_what_happened_meanwhile_is_found(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_loop, "WATCHER_RESTART_S", 0.05)
    loop = Loop(site, replace(QUICK, rescan_s=31_536_000))
    with running(loop):
        await_condition(lambda: loop.watcher.health().watching, "it watches")
        first = loop.watcher._observer
        loop.watcher._record_failure(OSError("the reader broke"))
        site.write(b"meanwhile", b"while nobody watched")
        await_condition(
            lambda: loop.watcher._observer is not first and loop.watcher.health().watching,
            "it watches again",
        )
        await_condition(lambda: loop.entries() == 1, "what happened meanwhile is found")
        site.write(b"afterwards", b"while it watches again")
        await_condition(lambda: loop.entries() == 2, "events come again")
        assert loop.problem() == ""


def test_a_watcher_that_can_not_be_started_is_tried_again_and_the_operator_is_told(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(control_loop, "WATCHER_RESTART_S", 0.05)
    attempts: list[int] = []
    start = TreeWatcher.start

    def refused(watcher: TreeWatcher) -> None:
        attempts.append(len(attempts))
        if len(attempts) < 5:
            raise WatchingError("cannot watch: no instance is left")
        start(watcher)

    monkeypatch.setattr(TreeWatcher, "start", refused)
    loop = Loop(site, replace(QUICK, rescan_s=31_536_000))
    told: list[str] = []
    with running(loop):
        site.write(b"file", b"found by polling")
        await_condition(lambda: told.append(loop.problem()) or loop.entries() == 1, "it is found")
        await_condition(lambda: loop.watcher.health().watching, "it watches in the end")
        await_condition(lambda: loop.problem() == "", "the problem is over")
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("watcher_not_started") == 1


def test_the_whole_tree_is_looked_at_once_when_the_daemon_starts(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: list[bool] = []
    cycle = Engine.cycle

    def noted(engine: Engine, dirty: dict[Path, bool], haste: Haste) -> Cycle:
        whole.extend(is_recursive for path, is_recursive in dirty.items() if path == ())
        return cycle(engine, dirty, haste)

    monkeypatch.setattr(Engine, "cycle", noted)
    site.write(b"directory/file", b"there from the begin")
    loop = Loop(site, replace(QUICK, rescan_s=31_536_000))
    with running(loop):
        await_condition(loop.is_settled, "all is looked at")
        cycles = loop.state.cycles()
        await_condition(lambda: loop.state.cycles() > cycles + 20, "many cycles end")
        assert loop.entries() == 2
    assert whole == [True]


@contextmanager
def heard(loop: Loop, hints: list[Hint]) -> Iterator[None]:
    """Says the last one of some hints again and again."""
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.wait(0.05):
            loop.hints.take(hints[-1])

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def asks(loop: Loop, site: LocalSite) -> set[str]:
    """How the store is asked while polls are due twenty times."""
    before, cycles = len(site.link.calls), loop.state.cycles()
    await_condition(lambda: loop.state.cycles() > cycles + 20, "many cycles end")
    return {method for method, _ in site.link.calls[before:]}


@pytest.fixture
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """No loop takes itself for active, however lately it had work."""
    monkeypatch.setattr(pace, "ACTIVE_FOR_S", 0.0)


Pair = tuple[Loop, LocalSite, LocalSite]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A loop that does not run yet, its site, and another one; both sites are settled."""
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        settle(bari, cnaf)
        bari.engine.site.clock = SystemClock()
        yield Loop(bari, replace(QUICK, rescan_s=31_536_000)), bari, cnaf


def newest_hint(site: LocalSite) -> Hint:
    stored = site.engine.last_stored()
    assert stored is not None
    return Hint(site.engine.site.actor, stored)


@pytest.mark.usefixtures("at_rest")
def test_polls_ask_the_store_for_nothing_while_hints_vouch_for_all_logs(
    pair: Pair,
) -> None:
    loop, bari, cnaf = pair
    with running(loop):
        assert asks(loop, bari) >= {"get"}  # nobody says anything
        hints = [newest_hint(cnaf)]
        with heard(loop, hints):
            await_condition(lambda: not asks(loop, bari), "it asks for nothing")
            status = loop.state.queue.call(ControlLoop.observe, 30.0)
            assert status.daemon is not None
            assert status.daemon.lag_s is not None
            cnaf.write(b"file", b"by cnaf")
            settle(cnaf)
            assert newest_hint(cnaf).sequence > hints[0].sequence
            hints.append(newest_hint(cnaf))
            await_condition(lambda: os.path.exists(bari.path(b"file")), "the hint is heeded")
            assert bari.read(b"file") == b"by cnaf"


def test_while_changes_arrive_a_few_logs_are_looked_at_whatever_hints_say(
    pair: Pair,
) -> None:
    loop, bari, cnaf = pair
    with running(loop), heard(loop, [newest_hint(cnaf)]):
        for _ in range(3):
            assert asks(loop, bari) >= {"get"}


@pytest.mark.usefixtures("at_rest")
def test_polls_look_at_the_store_now_and_then_whatever_hints_say(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_loop, "LOOK_EVERY_S", 2.0)
    loop, bari, cnaf = pair
    with running(loop), heard(loop, [newest_hint(cnaf)]):
        await_condition(lambda: not asks(loop, bari), "it asks for nothing")
        cnaf.write(b"file", b"by cnaf")
        settle(cnaf)
        await_condition(lambda: os.path.exists(bari.path(b"file")), "a look finds it")
