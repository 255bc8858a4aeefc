"""Broken rules of collecting are noticed: each by the history in which it would lose a content.

In most of them the content of a file that is gone comes back while its pack is being collected.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from geosync.engine.reuse import verdicts
from tests.simulation.collecting_mutants import BREAKS
from tests.simulation.garbage_world import Dangling, GarbageWorld, garbage_world
from tests.support.local_sites import LocalSite, run, settle

CONTENT = b"what comes back" * 200
ROUNDS_MAX = 60


def _let_die(world: GarbageWorld) -> tuple[LocalSite, LocalSite, LocalSite]:
    """Makes a pack of which nothing is needed any more, as all know."""
    bari, cnaf, lyon = world.sites
    bari.write(b"first", CONTENT)
    settle(*world.sites)
    os.unlink(cnaf.path(b"first"))
    settle(*world.sites)
    assert not verdicts(bari.journal).forbidden
    return bari, cnaf, lyon


def _until_condemned(site: LocalSite, *others: LocalSite) -> None:
    for _ in range(ROUNDS_MAX):
        if verdicts(site.journal).forbidden:
            run(site, rounds=1)  # it publishes that
            return
        run(site, *others, rounds=1)
    raise AssertionError("nothing was condemned")


def _written_before_it_is_condemned_and_heard_of_after(world: GarbageWorld) -> None:
    """A second look spares the pack."""
    bari, cnaf, lyon = _let_die(world)
    world.make_deaf(cnaf)
    _until_condemned(bari, lyon)
    cnaf.write(b"again", CONTENT)
    run(cnaf, rounds=3)
    world.make_deaf()
    run(*world.sites, rounds=12)


def _written_by_one_who_knows_that_it_is_condemned(world: GarbageWorld) -> None:
    """It stores the content anew."""
    bari, cnaf, lyon = _let_die(world)
    _until_condemned(bari)
    run(cnaf, lyon, rounds=3)  # they know, and have told; of what follows bari hears late
    hear_all = world.let_hear_only_what_is_told(bari, cnaf)
    cnaf.write(b"again", CONTENT)
    cnaf.cycle()
    run(bari, lyon, rounds=15)
    hear_all()
    run(*world.sites, rounds=12)


def _written_by_one_who_has_not_told_that_it_knows(world: GarbageWorld) -> None:
    """Its word is waited for, however long that takes."""
    bari, cnaf, lyon = _let_die(world)
    world.make_deaf(cnaf)
    world.make_mute(cnaf)
    _until_condemned(bari, lyon)
    cnaf.write(b"again", CONTENT)
    cnaf.cycle()
    run(bari, lyon, rounds=12)
    world.make_deaf()
    world.make_mute()
    run(*world.sites, rounds=12)


def _written_before_and_sent_after_the_word_that_it_is_known(world: GarbageWorld) -> None:
    """A segment tells no more than what the operations in it, and those before, knew."""
    bari, cnaf, lyon = _let_die(world)
    world.make_deaf(cnaf)
    world.make_mute(cnaf)
    _until_condemned(bari, lyon)
    for name, content in ((b"one", b"small"), (b"two", b"small, too"), (b"again", CONTENT)):
        cnaf.write(name, content)
        cnaf.cycle()
    world.make_deaf()
    run(cnaf, rounds=3)  # now it knows, and has applied that; nothing of it was sent yet
    world.make_mute()
    refuse = world.let_pass_segments(cnaf, 2)  # the first was made before it knew
    cnaf.cycle()
    run(bari, lyon, rounds=12)
    refuse()
    run(*world.sites, rounds=12)


def _written_by_a_new_actor_whom_nobody_knows(world: GarbageWorld) -> None:
    """It refers to no pack of an owner that does not know it."""
    bari, cnaf, lyon = _let_die(world)
    with world.hidden_site("late") as late:
        run(late, rounds=6)
        late.write(b"again", CONTENT)
        run(late, rounds=3)
        _until_condemned(bari, cnaf, lyon)
        run(bari, cnaf, lyon, rounds=12)


def _edited_by_one_who_does_not_know_that_it_is_gone(world: GarbageWorld) -> None:
    """Nothing is forgotten of what it may still write of."""
    bari, cnaf, lyon = world.sites
    bari.write(b"first", CONTENT)
    settle(*world.sites)
    world.make_deaf(cnaf)
    world.make_mute(cnaf)
    os.unlink(bari.path(b"first"))
    run(bari, lyon, rounds=25)
    cnaf.write(b"first", b"written on top of what is gone elsewhere")
    cnaf.cycle()
    world.calm()
    run(*world.sites, rounds=10)
    assert bari.read(b"first") == cnaf.read(b"first")


HISTORIES: dict[str, Callable[[GarbageWorld], None]] = {
    "a condemned pack is doomed without a second look": (
        _written_before_it_is_condemned_and_heard_of_after
    ),
    "what is condemned is referred to": _written_by_one_who_knows_that_it_is_condemned,
    "packs go by their age alone": _written_by_one_who_has_not_told_that_it_knows,
    "a segment tells what is applied while older operations wait": (
        _written_before_and_sent_after_the_word_that_it_is_known
    ),
    "a new actor refers to packs of owners that do not know it": (
        _written_by_a_new_actor_whom_nobody_knows
    ),
    "what is gone is forgotten before all have told that they know": (
        _edited_by_one_who_does_not_know_that_it_is_gone
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_broken_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with garbage_world(0) as world:
        world.calm()
        HISTORIES[name](world)
    BREAKS[name](monkeypatch)
    with garbage_world(0) as world:
        world.calm()
        with pytest.raises((Dangling, OSError)):  # the file is not there
            HISTORIES[name](world)
