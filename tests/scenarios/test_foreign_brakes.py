"""What another site's operations would take off this disk at once waits here for a person."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from conflict.brakes import NO_BRAKES, BrakeKind, BrakeLimits
from geosync.configuration.volume_configuration import Mode
from geosync.engine.brake_verdicts import KnownBrake
from geosync.errors import OperatorError
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, run, settle
from transport.brake_record import Verdict
from transport.memory_store import MemoryStore

Three = tuple[LocalSite, LocalSite, LocalSite]
FILES = 120
DIRECTORIES = 6


@pytest.fixture
def sites() -> Iterator[Three]:
    """The first one has no brakes, as an older version or another configuration."""
    with local_sites(MemoryStore(), "careless", "here", "there") as (careless, here, there):
        careless.brake_limits = NO_BRAKES
        careless.reopen()
        for number in range(FILES):
            careless.write(_name(number), b"first %d" % number)
        settle(careless, here, there)
        yield careless, here, there


def _name(number: int) -> bytes:
    return b"directory-%d/file-%d" % (number % DIRECTORIES, number)


def _expected() -> dict[bytes, bytes]:
    return {_name(number): b"first %d" % number for number in range(FILES)}


def _files(site: LocalSite) -> dict[bytes, bytes]:
    names = disk_tree(site.root)
    return {name: site.read(name) for name in names if os.path.isfile(site.path(name))}


def _empty(site: LocalSite) -> None:
    for name in os.listdir(site.root):
        if name != b".geosync":
            shutil.rmtree(site.path(name))


def _only_brake(site: LocalSite) -> KnownBrake:
    (brake,) = site.engine.brakes()
    return brake


def test_what_a_site_without_brakes_deletes_stays_on_the_disks_of_the_others(sites: Three) -> None:
    careless, here, there = sites
    _empty(careless)
    run(*sites)
    careless.write(b"new", b"made meanwhile")
    here.write(_name(3), b"edited here")
    there.write(b"directory-1/more", b"made there")
    run(*sites)
    flowed = {
        b"new": b"made meanwhile",
        _name(3): b"edited here",
        b"directory-1/more": b"made there",
    }
    assert _files(careless) == flowed
    assert _files(here) == _files(there) == _expected() | flowed
    ours, theirs = _only_brake(here), _only_brake(there)
    assert (ours.dot, ours.kind) == (theirs.dot, BrakeKind.DELETION)
    assert ours.dot.actor == careless.engine.site.actor
    assert ours.reason in here.problems()[f"brake {ours.name}"]
    assert ours.amount.count == len(here.engine.waiting())
    assert here.engine.site.applied() != here.journal.log.received()


@pytest.mark.parametrize("decider", [1, 2])
def test_approved_at_one_site_it_is_done_at_all(sites: Three, decider: int) -> None:
    careless = sites[0]
    _empty(careless)
    run(*sites)
    sites[decider].engine.decisions.decide_brake(_only_brake(sites[decider]).name, Verdict.APPROVED)
    settle(*sites)
    for site in sites:
        assert disk_tree(site.root) == {}
        assert site.engine.brakes() == []
        assert site.problems() == {}
        assert site.engine.site.applied() == site.journal.log.received()


@pytest.mark.parametrize("decider", [1, 2])
def test_rejected_at_one_site_the_files_are_back_at_all(sites: Three, decider: int) -> None:
    careless, here, _ = sites
    before = disk_tree(here.root)
    _empty(careless)
    run(*sites)
    sites[decider].engine.decisions.decide_brake(_only_brake(sites[decider]).name, Verdict.REJECTED)
    settle(*sites)
    for site in sites:
        assert _files(site) == _expected()
        assert set(disk_tree(site.root)) == set(before)
        assert site.engine.brakes() == site.engine.conflicts() == []
        assert site.problems() == {}


def test_it_holds_over_a_restart(sites: Three) -> None:
    careless, here, _ = sites
    _empty(careless)
    run(*sites)
    brake = _only_brake(here)
    here.reopen()
    run(*sites)
    assert _only_brake(here) == brake
    assert _files(here) == _expected()
    here.engine.decisions.decide_brake(brake.name, Verdict.REJECTED)
    here.reopen()
    settle(*sites)
    assert _files(careless) == _expected()


def test_replaced_files_are_held_and_rejected_ones_become_conflicts(sites: Three) -> None:
    careless, here, there = sites
    for number in range(FILES):
        careless.write(_name(number), b"overwritten %d" % number)
    run(*sites)
    assert _files(here) == _files(there) == _expected()
    brake = _only_brake(there)
    assert brake.kind is BrakeKind.CHANGE
    careless.engine.site.brake_limits = BrakeLimits()  # which don't hold what was decided
    there.engine.decisions.decide_brake(brake.name, Verdict.REJECTED)
    settle(*sites)
    for site in sites:
        assert _files(site) == _expected()
        assert len(site.engine.conflicts()) == FILES
        assert site.engine.brakes() == []


def test_what_its_author_approved_is_not_held_again(sites: Three) -> None:
    here = sites[1]
    _empty(here)
    run(*sites)
    here.engine.decisions.decide_brake(_only_brake(here).name, Verdict.APPROVED)
    settle(*sites)
    for site in sites:
        assert disk_tree(site.root) == {}
        assert site.engine.brakes() == []


def test_few_deletions_and_any_number_of_moves_are_not_held(sites: Three) -> None:
    careless = sites[0]
    shutil.rmtree(careless.path(b"directory-0"))
    for number in range(1, DIRECTORIES):
        os.rename(careless.path(b"directory-%d" % number), careless.path(b"moved-%d" % number))
    settle(*sites)
    for site in sites:
        assert disk_tree(site.root) == disk_tree(careless.root)
        assert site.engine.brakes() == []


def test_a_held_file_that_somebody_writes_again_leaves_the_brake(sites: Three) -> None:
    careless, here, there = sites
    _empty(careless)
    run(*sites)
    for number in range(FILES):
        there.write(_name(number), b"edited %d" % number)
    there.engine.site.brake_limits = here.engine.site.brake_limits = NO_BRAKES
    settle(*sites)
    for site in sites:
        assert _files(site)[_name(3)] == b"edited 3"
        assert len(_files(site)) == FILES
        assert site.engine.brakes() == []


def test_a_replica_holds_as_well_and_its_operator_may_approve_for_it_alone() -> None:
    """A rejection writes to the volume, which a replica never does."""
    with local_sites(MemoryStore(), "careless", "copy") as (careless, copy):
        for site in (careless, copy):
            site.close()
        careless.brake_limits, copy.mode = NO_BRAKES, Mode.REPLICA
        careless.open()
        for number in range(FILES):
            careless.write(_name(number), b"first %d" % number)
        settle(careless)
        copy.open()
        settle(careless, copy)
        _empty(careless)
        run(careless, copy)
        assert _files(copy) == _expected()
        name = _only_brake(copy).name
        with pytest.raises(OperatorError, match="is a replica"):
            copy.engine.decisions.decide_brake(name, Verdict.REJECTED)
        copy.engine.decisions.decide_brake(name, Verdict.APPROVED)
        settle(careless, copy)
        assert disk_tree(copy.root) == {}
        assert copy.problems() == {}
