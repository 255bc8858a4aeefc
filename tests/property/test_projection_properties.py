"""What holds of every history of users on several sites: they converge, and nothing is lost."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conflict.memory_nodes import MemoryNodes
from conflict.merged_tree import MergedTree
from conflict.node import Location
from conflict.operations import ROOT, Place, Put
from conflict.policy import ConflictPolicy, PolicyRule
from conflict.projection import project
from conflict.stamp import AHEAD_TOLERANCE_MS, LOGICAL_BITS
from tests.support.history import Site, deliver, text_of
from tests.support.history_checks import (
    assert_conflicts_are_bounded,
    assert_converged,
    assert_nothing_is_lost,
    assert_stamps_are_causal,
    assert_times_belong_to_contents,
    assert_tree_is_sound,
    assert_tree_is_the_defined_one,
    in_another_order,
)
from tests.support.random_users import RandomHistory

histories = st.tuples(
    st.integers(0, 2**32), st.integers(2, 4), st.integers(1, 70)
)  # seed, sites, steps


Looks = dict[Location, list[str]]


def many(examples: int) -> Callable[..., Any]:
    """Runs a property so often, however long one example takes.

    The examples are the same each time, unless GEOSYNC_RANDOM_HISTORIES asks for new ones: what
    those find becomes a test with a name.
    """
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize="GEOSYNC_RANDOM_HISTORIES" not in os.environ,
        suppress_health_check=[HealthCheck.too_slow],
    )


def healed(history: tuple[int, int, int], *features: str) -> RandomHistory:
    """Plays a history to its end, until every disk shows everything."""
    seed, site_count, steps = history
    running = RandomHistory(seed, site_count, features)
    for _ in range(steps):
        running.step()
    running.heal()
    return running


@many(200)
@given(histories)
def test_incremental_tree_is_the_defined_one_after_every_step(
    history: tuple[int, int, int],
) -> None:
    """The merged tree never differs from the projection of what was received."""
    seed, site_count, steps = history
    running = RandomHistory(seed, site_count)
    for _ in range(steps):
        assert_tree_is_the_defined_one(running.step())


@many(100)
@given(histories)
def test_one_name_is_where_all_names_together_say(history: tuple[int, int, int]) -> None:
    """What a node tells of one name, and of their number, is what it tells of all of them."""
    seed, site_count, steps = history
    running = RandomHistory(seed, site_count)
    for _ in range(steps):
        for state in project(running.step().operations).states.values():
            present = state.presence()
            assert {link: state.location_of(link) for link in present} == present
            assert all(state.location_of(link) is None for link in state.links.keys() - present)
            assert state.is_present == bool(present)
            assert state.has_several_names == (not state.is_directory and len(present) > 1)


@many(150)
@given(histories)
def test_sites_converge(history: tuple[int, int, int]) -> None:
    """Sites that received the same show the same, in whatever order it came (I2)."""
    running = healed(history)
    assert_converged(running.sites, running.rng)


@many(100)
@given(histories)
def test_tree_has_live_parents_and_legal_names(history: tuple[int, int, int]) -> None:
    """Every entry is in a directory that is there, under a name it may have (I3)."""
    assert_tree_is_sound(healed(history).sites[0].disk)


@many(200)
@given(histories)
def test_no_version_is_lost(history: tuple[int, int, int]) -> None:
    """Whatever was written is shown until a user who had it on the disk parts with it (I1)."""
    assert_nothing_is_lost(healed(history).sites)


@many(40)
@given(histories)
def test_what_was_received_is_refused(history: tuple[int, int, int]) -> None:
    """A second delivery changes nothing (I12).

    Its guard is the version vector of what was received: the merged tree itself takes each
    operation for a new one.
    """
    running = healed(history)
    for site in running.sites:
        before = site.operations
        for transaction in running.sites[0].transactions:
            assert not site.receive(transaction)
        assert before == site.operations


@many(150)
@given(histories)
def test_contexts_name_what_was_on_the_disk(history: tuple[int, int, int]) -> None:
    """On disks that lag behind what was received, no change replaces what they don't show (I6).

    `Site.act` asserts it of each operation.
    """
    assert "stale disks" in healed(history, "stale disks").features


@many(60)
@given(histories)
def test_conflicts_are_bounded(history: tuple[int, int, int]) -> None:
    """A path has one conflict at most for each version that could be there and is not (I14)."""
    assert_conflicts_are_bounded(healed(history).sites[0])


@many(100)
@given(histories)
def test_modification_time_is_that_of_the_content(history: tuple[int, int, int]) -> None:
    """No file has the time of a version that lost."""
    assert_times_belong_to_contents(healed(history).sites[0].disk)


@many(60)
@given(histories)
def test_what_is_written_about_a_node_has_a_later_stamp(history: tuple[int, int, int]) -> None:
    """Causality beats clocks: a change is later than each one of the same node its author had."""
    assert_stamps_are_causal(healed(history, "skew").sites[0])


@many(60)
@given(histories)
def test_stamps_of_directory_moves_are_unique(history: tuple[int, int, int]) -> None:
    """The history of moves is sorted by stamps, even where clocks are far apart."""
    moves = [
        operation.stamp
        for operation in healed(history, "skew").sites[0].operations
        if isinstance(operation, Place) and operation.is_directory and not operation.creates_link
    ]
    assert len(set(moves)) == len(moves)


@many(60)
@given(histories)
def test_broken_clock_drags_no_other(history: tuple[int, int, int]) -> None:
    """Whoever was far ahead, other clocks stay near their own physical ones."""
    for site in healed(history, "skew").sites:
        assert site.clock.ticks >> LOGICAL_BITS <= site.now_ms + AHEAD_TOLERANCE_MS


@many(100)
@given(histories)
def test_apply_tells_every_name_that_looks_different(history: tuple[int, int, int]) -> None:
    """What `apply` returns is all that has to be rendered anew (policies apart)."""
    running = healed(history)
    store = MemoryNodes()
    tree = MergedTree(store)
    before: Looks = {}
    for operation in in_another_order(running.sites[0], running.rng):
        touched = tree.apply(operation)
        after = looks_of(store)
        different = {at for at in before.keys() | after.keys() if before.get(at) != after.get(at)}
        assert different <= touched
        before = after


def looks_of(store: MemoryNodes) -> Looks:
    """Returns all that rendering may look at, by name: not which names a version has lost."""
    looks: Looks = {}
    for parent in [ROOT, *store._states]:
        for live in store.live_links_in(parent):
            state = store.node(live.node)
            assert state is not None
            versions = [replace(v, unlinked=frozenset()) for v in state.visible_versions()]
            look = (live, state.links[live.link], versions, state.registers)
            looks.setdefault(Location(parent, live.name), []).append(repr(look))
    return looks


@st.composite
def two_edits(draw: st.DrawFn, *rules: PolicyRule) -> list[Site]:
    """Draws two sites of which each wrote its own name to `f`; either may be later."""
    sites = [Site(1), Site(2)]
    for site in sites:
        site.announce()
        site.now_ms += draw(st.integers(0, 10_000))
    deliver(sites)
    if rules:
        sites[0].set_policy(*rules)
    sites[0].create("f", "0")
    deliver(sites)
    for site in draw(st.permutations(sites)):
        site.edit("f", site.name.decode())
    deliver(sites)
    return sites


def _later(sites: list[Site]) -> str:
    versions = [o for o in sites[0].operations if isinstance(o, Put)]
    return text_of(max(versions, key=lambda put: put.stamp).content)


@many(20)
@given(two_edits())
def test_outside_keeps_the_loser_away_from_the_directory(sites: list[Site]) -> None:
    """Without a policy the later version has the name, and the other one is no entry."""
    entry = sites[0].disk[(b"f",)]
    assert (_later(sites), 1) == (text_of(entry.content), len(entry.copies))
    assert not entry.shows_copies_beside


@many(20)
@given(two_edits(PolicyRule(b"*", ConflictPolicy.BESIDE)))
def test_beside_shows_the_loser_in_the_directory(sites: list[Site]) -> None:
    """With `beside` the loser is an entry next to the file."""
    entry = sites[0].disk[(b"f",)]
    assert (_later(sites), 1) == (text_of(entry.content), len(entry.copies))
    assert entry.shows_copies_beside


@many(20)
@given(two_edits(PolicyRule(b"*", ConflictPolicy.NEWEST)))
def test_newest_shows_no_loser(sites: list[Site]) -> None:
    """With `newest` there is no copy; the next change replaces the loser for good."""
    entry = sites[0].disk[(b"f",)]
    assert (_later(sites), 0) == (text_of(entry.content), len(entry.copies))
    sites[1].edit("f", "next")
    sites[1].set_policy()
    deliver(sites)
    assert sites[0].disk[(b"f",)].copies == ()


@many(20)
@given(
    two_edits(PolicyRule(b"f", ConflictPolicy.SITE_PRIORITY, (b"site1", b"site2"))),
)
def test_site_priority_prefers_the_first_site(sites: list[Site]) -> None:
    """With `site-priority` the first site wins, whoever was later; the other one is kept."""
    entry = sites[1].disk[(b"f",)]
    assert text_of(entry.content) == "site1"
    assert [text_of(copy.version.content) for copy in entry.copies] == ["site2"]


Change = Callable[[Site], object]
KINDS: dict[str, list[Change]] = {
    "put": [lambda s: s.edit("f", s.name.decode()), lambda s: s.edit("d/x", s.name.decode())],
    "attributes": [lambda s: s.chmod("f", 0o600), lambda s: s.chmod("d", 0o700)],
    "unlink": [lambda s: s.delete("f"), lambda s: s.delete("d/x"), lambda s: s.delete("h")],
    "create": [lambda s: s.create("n", s.name.decode()), lambda s: s.create("d/n", "same")],
    "move file": [
        lambda s: s.move("f", "n"),
        lambda s: s.move("f", "d/n"),
        lambda s: s.move("d/x", "n"),
    ],
    "replace": [
        lambda s: s.replace("g", "f"),
        lambda s: s.replace("f", "d/x"),
        lambda s: s.rewrite_name("h", s.name.decode()),
    ],
    "exchange": [lambda s: s.exchange("f", "d/x"), lambda s: s.exchange("d", "e")],
    "link": [lambda s: s.link("f", "n"), lambda s: s.link("g", "d/n")],
    "mkdir": [lambda s: s.mkdir("n"), lambda s: s.mkdir("d/n")],
    "remove tree": [lambda s: s.delete("d"), lambda s: s.delete("e")],
    "move tree": [
        lambda s: s.move("d", "n"),
        lambda s: s.move("d", "e/d"),
        lambda s: s.move("e", "d/e"),
        lambda s: s.move("e", "n"),
    ],
}


@pytest.mark.parametrize(
    ("first", "second"),
    list(combinations_with_replacement(KINDS, 2)),
    ids=lambda kind: kind.replace(" ", "-"),
)
def test_each_pair_of_changes(first: str, second: str) -> None:
    """Whatever two kinds of change meet, sites converge and nothing is lost."""
    for one in KINDS[first]:
        for other in KINDS[second]:
            sites = [Site(1), Site(2), Site(3)]
            _make_common_tree(sites[0])
            deliver(sites)
            one(sites[0])
            other(sites[1])
            for heard in (*sites[1].log, *sites[0].log):
                sites[2].receive(heard)
            deliver(sites)
            assert_converged(sites, random.Random(0))
            assert_nothing_is_lost(sites)


def _make_common_tree(site: Site) -> None:
    site.mkdir("d")
    site.mkdir("e")
    for path in ("f", "g", "d/x", "e/y"):
        site.create(path, path)
    site.link("g", "h")
