"""Kills an engine at each system call of a scenario, starts it again, and checks what must hold."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.crash.crash_invariants import (
    Outcome,
    captured_operations,
    check,
    come_to_rest,
    kept_contents,
    settled_contents,
)
from tests.crash.crash_scenarios import Scenario, seed
from tests.crash.tally import Tally
from tests.support.disk_tree import contents_of
from tests.support.local_sites import LocalSite, local_sites, quick_directory, settle
from tests.support.system_call_kills import Death, Kill, Life, SystemCall, live
from tests.support.system_calls import WRITING, missing_requirement
from transport.directory_store import DirectoryStore

_DOWN_S = 1000.0
_CALLS_WHILE_RECOVERING = 120  # a start makes that many, as long as there is something to mend


def missing_tracing() -> str | None:
    """Returns why no process can be stopped at its system calls here, None when one can."""
    reason = missing_requirement()
    if reason is None:
        try:
            live(_do_nothing, None)
        except OSError as error:
            reason = f"this process may not trace its own child: {error}"
    return reason


def require_tracing() -> None:
    """Skips the test where no process can be stopped at its system calls."""
    reason = missing_tracing()
    if reason is not None:
        pytest.skip(reason)


def _do_nothing() -> None:
    """What a child does that only shows that it can be traced."""


def play(scenario: Scenario, *kills: Kill) -> tuple[list[Life], Outcome]:
    """Plays a scenario; one engine is killed in it, started again, and must recover.

    Args:
        scenario: what happens.
        kills: one after the other: the second one comes while the engine recovers from the first.

    Returns:
        The engine's lives up to the last kill, or the whole one if there was none; what came of it.

    Raises:
        AssertionError: something does not hold afterwards.
    """
    with quick_directory() as directory:
        store = DirectoryStore(directory + b"/store")
        store.prepare()
        with local_sites(store, "away") as (away,), _beside(away, "here") as here:
            seed(away)
            before = contents_of(here.root) if scenario.joins else settled_contents(away, here)
            _change(scenario, away, here)
            contents = kept_contents(before, contents_of(away.root), contents_of(here.root))
            meanwhile = scenario.meanwhile(here)
            lives: list[Life] = []
            try:
                for kill in kills or (None,):
                    lives.append(live(partial(_run, here), kill, meanwhile))
                    here.time.advance(_DOWN_S)
            finally:
                meanwhile.close()
            did_work = meanwhile.written or scenario.is_alone
            assert did_work or kills, "the program beside it never had its turn"
            captured = captured_operations(here.open())
            come_to_rest(here, away)
            return lives, check(here, away, store, captured, contents | meanwhile.written)


def all_kills(calls: list[SystemCall]) -> Iterator[Kill]:
    """Yields every place at which an engine that makes these calls can be killed.

    A kill before a call is one after the call before it, since nothing that lasts happens in
    between; so only the last one is also killed afterwards.
    """
    for call in calls:
        yield Kill(call.index)
        if call.name in WRITING:
            yield Kill(call.index, Death.HALFWAY)
    if calls:
        yield Kill(calls[-1].index, Death.AFTER)


def kill_everywhere(
    scenario: Scenario, every: int = 1, first: int = 0, *, again: bool = False
) -> Tally:
    """Kills at each of the system calls, or at some.

    Args:
        scenario: what happens.
        every: 1 for all places, n for each n-th.
        first: which one of `every`.
        again: whether the engine dies once more, somewhere while it recovers.
    """
    (whole,), expected = play(scenario)
    tally = Tally()
    for kill in list(all_kills(whole.calls))[first::every]:
        call = whole.calls[kill.index]
        kills = (kill, _kill_while_it_recovers(kill)) if again else (kill,)
        where = f"{kill.death.value} {call}"
        if again:
            where += f", then before call {kills[-1].index}"
        try:
            lives, outcome = play(scenario, *kills)
            assert lives[0].was_killed, "it lived"
            assert outcome.deletes == expected.deletes, (outcome, expected)
            assert outcome == expected or not scenario.has_one_outcome, (outcome, expected)
        except AssertionError as error:
            tally.failures[where] = str(error)
        tally.crashes += 1
    return tally


def _kill_while_it_recovers(kill: Kill) -> Kill:
    """Returns a second kill, another one for each first one."""
    return Kill(random.Random(kill.index).randrange(_CALLS_WHILE_RECOVERING))


@contextmanager
def _beside(other: LocalSite, name: str) -> Iterator[LocalSite]:
    """Yields another site that is not open yet."""
    site = LocalSite(other.base, name, other.store, other.time)
    os.mkdir(site.root)
    try:
        yield site
    finally:
        site.close()


def _change(scenario: Scenario, away: LocalSite, here: LocalSite) -> None:
    if scenario.away is not None:
        scenario.away(away)
    if scenario.here is not None:
        scenario.here(here)
    for _ in range(3):
        away.cycle()


def _run(site: LocalSite) -> None:
    site.open()
    settle(site)
