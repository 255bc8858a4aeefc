"""Whoever dies while the primary changes, at whatever step: one primary is left, with all.

A site is killed before each step of its disk, its store and its journal: while it is demoted, or
promoted, cleanly or by force; while it comes back as a former primary; while the new primary hears
what was written late; and while a standby puts drift back. Then it starts again, and the operator
types the same command once more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from conflict.brakes import NO_BRAKES
from geosync.configuration.volume_configuration import DriftPolicy, Mode
from geosync.engine.promoting import PromotionState
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.disk_tree import contents_of, disk_tree
from tests.support.kill_points import KillPoints, kill_before_each_step, run_to_death
from tests.support.local_sites import LocalSite, quick_directory, run, settle
from transport.memory_store import MemoryStore

EVERY = 11  # steps; with 1, all of the 30 to 90 steps of each scenario were survived as well
FILES = {b"a": b"before", b"b": b"before, too", b"dir/c": b"in a directory"}


@dataclass(frozen=True)
class Scenario:
    """Who is killed, and when.

    Attributes:
        prepare: leads to where it begins; both sites run.
        victim: the site that is killed.
        command: what the operator types there.
        contents: that have to be somewhere in the end, besides what was there before.
        primary: who is it in the end.
    """

    victim: str
    primary: str
    contents: tuple[bytes, ...]
    prepare: Callable[[LocalSite, LocalSite], None]
    command: Callable[[LocalSite], None]


def force(site: LocalSite) -> None:
    assert site.engine.promote(is_forced=True).state is PromotionState.DONE


def nothing(site: LocalSite) -> None:
    """It is about what a site does by itself."""


def write_last(bari: LocalSite, cnaf: LocalSite) -> None:
    bari.write(b"a", b"written last")
    bari.write(b"last", b"new")


def switch(bari: LocalSite, cnaf: LocalSite) -> None:
    bari.engine.demote()
    settle(bari, cnaf)
    drift(bari, cnaf)


def drift(bari: LocalSite, cnaf: LocalSite) -> None:
    cnaf.write(b"mine", b"drift at cnaf")


def promote(site: LocalSite) -> None:
    assert site.engine.promote(is_forced=False).state is PromotionState.DONE


def part(bari: LocalSite, cnaf: LocalSite) -> None:
    """The line is down: both sites write, and cnaf does not know of it."""
    for number in range(2):
        bari.write(b"a", b"late %d" % number)
        bari.write(b"late", b"late, new")
        bari.cycle_alone()
    os.rename(bari.path(b"b"), bari.path(b"b late"))
    cnaf.write(b"a", b"at the new primary")


def replace_by_force(bari: LocalSite, cnaf: LocalSite) -> None:
    part(bari, cnaf)
    for _ in range(3):
        bari.cycle_alone()
    force(cnaf)
    run(cnaf, rounds=3)


def bring_back(bari: LocalSite, cnaf: LocalSite) -> None:
    """What bari wrote late is in the store, and cnaf has yet to hear of it."""
    replace_by_force(bari, cnaf)
    run(bari, rounds=4)


def revert(bari: LocalSite, cnaf: LocalSite) -> None:
    cnaf.drift = DriftPolicy.REVERT
    cnaf.write(b"a", b"drift that is put back")
    cnaf.write(b"mine", b"drift of no name")
    os.remove(cnaf.path(b"b"))


LATE = (b"late 1", b"late, new", b"at the new primary")
SCENARIOS = {
    "demote": Scenario(
        "bari", "", (b"written last", b"new"), write_last, lambda s: s.engine.demote()
    ),
    "promote": Scenario("cnaf", "cnaf", (b"drift at cnaf",), switch, promote),
    "force": Scenario("cnaf", "cnaf", LATE, part, force),
    "yield": Scenario("bari", "cnaf", LATE, replace_by_force, nothing),
    "hear": Scenario("cnaf", "cnaf", LATE, bring_back, nothing),
    "revert": Scenario("cnaf", "bari", (), revert, nothing),
}


@contextmanager
def two_sites() -> Iterator[tuple[LocalSite, LocalSite]]:
    store, time = MemoryStore(), SimulatedTime()
    with quick_directory() as base:
        sites = bari, cnaf = (
            LocalSite(base, "bari", store, time, mode=Mode.PRIMARY, brake_limits=NO_BRAKES),
            LocalSite(base, "cnaf", store, time, mode=Mode.STANDBY, brake_limits=NO_BRAKES),
        )
        for path, content in FILES.items():
            bari.write(path, content)
        try:
            for site in sites:
                site.open()
            settle(*sites)
            yield bari, cnaf
        finally:
            for site in sites:
                site.close()


def is_killed(scenario: Scenario, points: KillPoints) -> bool:
    """Plays a scenario; returns whether the victim was killed."""

    def command(site: LocalSite) -> None:
        scenario.command(site)
        run(site, rounds=5)

    with two_sites() as (bari, cnaf):
        scenario.prepare(bari, cnaf)
        victim = bari if scenario.victim == "bari" else cnaf
        was_killed = run_to_death(victim, points, command)
        victim.open()
        run(victim, rounds=3)
        scenario.command(victim)
        run(bari, cnaf, rounds=8)
        settle(bari, cnaf)
        run(bari, cnaf, rounds=5)
        check(scenario, bari, cnaf, points.where)
    return was_killed


def check(scenario: Scenario, bari: LocalSite, cnaf: LocalSite, where: str) -> None:
    primaries = [s.name for s in (bari, cnaf) if s.engine.site.role.name == "primary"]
    assert primaries == ([scenario.primary] if scenario.primary else []), where
    for site in (bari, cnaf):
        found = contents_of(site.root)
        assert found >= {*scenario.contents, *(set(FILES.values()) - {FILES[b"a"]})}, (
            site.name,
            where,
        )
        assert site.journal.drift.count() == 0, where
        assert site.problems() == {}, where
    trees = [
        {path: shown.content for path, shown in disk_tree(s.root).items()} for s in (bari, cnaf)
    ]
    assert trees[0] == trees[1], where
    if scenario.contents == LATE:
        assert bari.read(b"a") == b"at the new primary", where
        assert {each.path for each in cnaf.journal.drift.late_writes()} >= {b"a", b"late"}, where
    if scenario.primary == "bari":
        assert trees[1] == {**FILES, b"dir": b""}, where
        kept = {cnaf.read(each.kept_at) for each in cnaf.journal.drift.set_aside()}
        assert kept == {b"drift that is put back", b"drift of no name"}, where


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_step_loses_nothing_and_leaves_one_primary(name: str) -> None:
    first = len(name) % EVERY  # so that the scenarios do not all leave out the same steps
    killed_at = kill_before_each_step(partial(is_killed, SCENARIOS[name]), first=first, every=EVERY)
    assert len(killed_at) >= 2, killed_at
