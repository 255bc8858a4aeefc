"""What would take much away at once waits for a person: at the site where it happened."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from conflict.brakes import BrakeKind, BrakeLimits, Limit, OnEncryption
from conflict.operations import Delete, Put
from geosync.engine.brake_verdicts import KnownBrake
from geosync.engine.encryption_alarm import TOLD_FOR_S
from geosync.errors import OperatorError
from tests.support.disk_tree import disk_tree
from tests.support.local_sites import LocalSite, local_sites, operations_of, run, settle
from transport.brake_record import Verdict
from transport.memory_store import MemoryStore

Two = tuple[LocalSite, LocalSite]
FILES = 120
DIRECTORIES = 6


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[Two]:
    """Two sites with 126 entries: more than 50 of them may not go at once."""
    with local_sites(store, "bari", "cnaf") as (bari, cnaf):
        for number in range(FILES):
            bari.write(_name(number), b"first %d" % number)
        settle(bari, cnaf)
        yield bari, cnaf


def _name(number: int) -> bytes:
    return b"directory-%d/file-%d" % (number % DIRECTORIES, number)


def _empty(site: LocalSite) -> None:
    for name in os.listdir(site.root):
        if name != b".geosync":
            shutil.rmtree(site.path(name))


def _only_brake(site: LocalSite) -> KnownBrake:
    (brake,) = site.engine.brakes()
    return brake


def _files(site: LocalSite) -> dict[bytes, bytes]:
    return {
        name: site.read(name) for name in disk_tree(site.root) if os.path.isfile(site.path(name))
    }


def _expected() -> dict[bytes, bytes]:
    return {_name(number): b"first %d" % number for number in range(FILES)}


def _deletions(site: LocalSite, store: MemoryStore) -> int:
    return sum(isinstance(operation, Delete) for operation in operations_of(site, store))


# Deletions


def test_a_tree_that_is_deleted_at_one_site_stays_at_the_others_and_legitimate_changes_flow_on(
    sites: Two, store: MemoryStore
) -> None:
    bari, cnaf = sites
    _empty(bari)
    run(bari, cnaf)
    bari.write(b"new", b"made meanwhile")
    cnaf.write(b"from-cnaf", b"made there")
    settle(bari, cnaf)
    assert _files(cnaf) == _expected() | {b"new": b"made meanwhile", b"from-cnaf": b"made there"}
    assert _files(bari) == {b"new": b"made meanwhile", b"from-cnaf": b"made there"}
    assert _deletions(bari, store) == 0
    brake = _only_brake(bari)
    assert (brake.kind, brake.amount.count) == (BrakeKind.DELETION, FILES + DIRECTORIES)
    assert brake.reason in bari.problems()[f"brake {brake.name}"]
    assert len(bari.engine.waiting()) == FILES + DIRECTORIES


@pytest.mark.parametrize("decider", [0, 1])
def test_what_is_approved_at_any_site_is_done_at_all(sites: Two, decider: int) -> None:
    bari, cnaf = sites
    _empty(bari)
    run(bari, cnaf)
    sites[decider].engine.decisions.decide_brake(_only_brake(sites[decider]).name, Verdict.APPROVED)
    settle(bari, cnaf)
    for site in sites:
        assert disk_tree(site.root) == {}
        assert site.engine.brakes() == []
        assert site.problems() == {}


@pytest.mark.parametrize("decider", [0, 1])
def test_what_is_rejected_at_any_site_comes_back(
    sites: Two, store: MemoryStore, decider: int
) -> None:
    bari, cnaf = sites
    before = disk_tree(cnaf.root)
    _empty(bari)
    run(bari, cnaf)
    sites[decider].engine.decisions.decide_brake(_only_brake(sites[decider]).name, Verdict.REJECTED)
    settle(bari, cnaf)
    for site in sites:
        assert _files(site) == _expected()
        assert site.engine.brakes() == []
        assert site.engine.conflicts() == []
        assert site.problems() == {}
    assert disk_tree(cnaf.root) == before
    assert _deletions(bari, store) == 0


def test_a_brake_holds_and_is_decided_after_restarts(sites: Two) -> None:
    bari, cnaf = sites
    _empty(bari)
    run(bari, cnaf)
    held = _only_brake(bari)
    bari.reopen()
    run(bari, cnaf)
    assert _only_brake(bari) == held
    assert _files(cnaf) == _expected()
    bari.engine.decisions.decide_brake(held.name, Verdict.REJECTED)
    bari.reopen()  # killed before anything was brought back
    settle(bari, cnaf)
    assert _files(bari) == _expected()
    assert bari.engine.brakes() == []


def test_what_was_deleted_while_no_engine_ran_is_held_as_well(sites: Two) -> None:
    bari, cnaf = sites
    bari.close()
    _empty(bari)
    bari.open()
    run(bari, cnaf)
    assert _only_brake(bari).amount.count == FILES + DIRECTORIES
    assert _files(cnaf) == _expected()


def test_what_comes_back_by_itself_leaves_the_batch_and_an_empty_one_releases_itself(
    sites: Two, store: MemoryStore
) -> None:
    """Somebody restores the directories from a backup: they are other inodes."""
    bari, cnaf = sites
    backup = bari.base + b"/backup"
    shutil.copytree(bari.root, backup, ignore=lambda *_: [".geosync", b".geosync"])
    _empty(bari)
    run(bari, cnaf)
    shutil.copytree(backup + b"/directory-0", bari.path(b"directory-0"))
    run(bari, cnaf)
    assert _only_brake(bari).amount.count == (FILES + DIRECTORIES) * 5 // 6
    shutil.copytree(backup, bari.root, dirs_exist_ok=True)
    settle(bari, cnaf)
    for site in sites:
        assert site.engine.brakes() == []
        assert _files(site) == _expected()
    assert _deletions(bari, store) == 0


def test_few_files_may_go(sites: Two) -> None:
    bari, cnaf = sites
    shutil.rmtree(bari.path(b"directory-0"))
    settle(bari, cnaf)
    assert bari.engine.brakes() == []
    assert disk_tree(cnaf.root) == disk_tree(bari.root)


def test_deletions_one_after_the_other_count_together_within_the_window_and_no_longer(
    sites: Two,
) -> None:
    bari, cnaf = sites
    for name in (b"directory-0", b"directory-1"):
        shutil.rmtree(bari.path(name))
        settle(bari, cnaf)
    bari.time.advance(bari.brake_limits.window_s)
    shutil.rmtree(bari.path(b"directory-2"))
    settle(bari, cnaf)
    assert bari.engine.brakes() == []
    for name in (b"directory-3", b"directory-4"):
        shutil.rmtree(bari.path(name))
        run(bari, cnaf)
    assert _only_brake(bari).amount.count == FILES // DIRECTORIES + 1
    assert set(disk_tree(cnaf.root)) > {b"directory-4"}


def test_a_single_deletion_flows_once_the_storm_is_over(sites: Two) -> None:
    bari, cnaf = sites
    for number in range(1, DIRECTORIES):
        shutil.rmtree(bari.path(b"directory-%d" % number))
    run(bari, cnaf)
    held = _only_brake(bari).amount
    bari.time.advance(bari.brake_limits.window_s)
    os.unlink(bari.path(_name(0)))
    settle(bari, cnaf)
    assert _name(0) not in disk_tree(cnaf.root)
    assert _only_brake(bari).amount == held


def test_what_is_held_stays_so_while_the_directories_above_it_go(
    sites: Two, store: MemoryStore
) -> None:
    """A removal takes its time: files first, then their directories, while cycles go on."""
    bari, cnaf = sites
    for number in range(60):
        bari.write(b"above/below/%d" % number, b"content")
    settle(bari, cnaf)
    for number in range(1, 60):
        os.unlink(bari.path(b"above/below/%d" % number))
    run(bari, cnaf)
    shutil.rmtree(bari.path(b"above/below"))
    bari.cycle()
    shutil.rmtree(bari.path(b"above"))
    run(bari, cnaf)
    assert _only_brake(bari).amount.count == 62
    assert _deletions(bari, store) == 0
    assert len(os.listdir(cnaf.path(b"above/below"))) == 60


def test_an_emptied_root_is_held_although_it_held_little(store: MemoryStore) -> None:
    with local_sites(store, "bari", "cnaf") as (bari, cnaf):
        for number in range(15):
            bari.write(b"%d" % number, b"content")
        settle(bari, cnaf)
        for number in range(15):
            os.unlink(bari.path(b"%d" % number))
        run(bari, cnaf)
        assert "the directory is empty" in _only_brake(bari).reason
        assert len(disk_tree(cnaf.root)) == 15


def test_moves_and_renames_of_any_number_engage_no_brake(sites: Two, store: MemoryStore) -> None:
    bari, cnaf = sites
    os.rename(bari.path(b"directory-0"), bari.path(b"renamed"))
    settle(bari, cnaf)
    os.mkdir(bari.path(b"all"))
    for name in list(_files(bari)):
        os.rename(bari.path(name), bari.path(b"all/" + os.path.basename(name)))
    settle(bari, cnaf)
    assert bari.engine.brakes() == []
    assert _deletions(bari, store) == 0
    assert disk_tree(cnaf.root) == disk_tree(bari.root)


def test_an_edit_elsewhere_of_a_file_whose_deletion_is_held_survives_both_verdicts(
    sites: Two,
) -> None:
    bari, cnaf = sites
    _empty(bari)
    run(bari, cnaf)
    cnaf.write(_name(7), b"edited at cnaf")
    run(bari, cnaf)
    assert not os.path.exists(bari.path(_name(7)))
    bari.engine.decisions.decide_brake(_only_brake(bari).name, Verdict.APPROVED)
    settle(bari, cnaf)
    for site in sites:
        assert _files(site) == {_name(7): b"edited at cnaf"}


# Changes


def test_many_replaced_files_are_held_and_only_they(sites: Two, store: MemoryStore) -> None:
    bari, cnaf = sites
    _replace_all(bari, b"replaced")
    bari.write(b"new", b"made meanwhile")
    settle(bari, cnaf)
    assert _files(cnaf) == _expected() | {b"new": b"made meanwhile"}
    brake = _only_brake(cnaf)
    assert (brake.kind, brake.amount.count) == (BrakeKind.CHANGE, FILES)
    cnaf.engine.decisions.decide_brake(brake.name, Verdict.APPROVED)
    settle(bari, cnaf)
    for site in sites:
        assert _files(site)[_name(3)] == b"replaced 3"
        assert site.engine.conflicts() == site.engine.brakes() == []


def test_rejected_changes_are_kept_as_conflicts_and_the_files_are_as_they_were(sites: Two) -> None:
    bari, cnaf = sites
    _replace_all(bari, b"replaced")
    run(bari, cnaf)
    bari.engine.decisions.decide_brake(_only_brake(bari).name, Verdict.REJECTED)
    settle(bari, cnaf)
    for site in sites:
        assert _files(site) == _expected()
        conflicts = site.engine.conflicts()
        assert len(conflicts) == FILES
        assert {len(conflict.loser.content.chunks) for conflict in conflicts} == {1}
        assert site.engine.brakes() == []


def test_an_old_tree_that_was_restored_over_a_new_one_is_put_right_without_conflicts(
    sites: Two,
) -> None:
    """What the volume once had is known to be old."""
    bari, cnaf = sites
    backup = bari.base + b"/backup"
    shutil.copytree(bari.root, backup, ignore=lambda *_: [".geosync", b".geosync"])
    bari.time.advance(bari.brake_limits.window_s)
    for number in range(FILES):  # a day's work, not at once
        cnaf.write(_name(number), b"newer %d" % number)
        if number % 30 == 29:
            settle(bari, cnaf)
            bari.time.advance(bari.brake_limits.window_s)
    newer = _files(cnaf)
    shutil.copytree(backup, bari.root, dirs_exist_ok=True)
    run(bari, cnaf)
    assert _files(cnaf) == newer
    bari.engine.decisions.decide_brake(_only_brake(bari).name, Verdict.REJECTED)
    settle(bari, cnaf)
    for site in sites:
        assert _files(site) == newer
        assert site.engine.conflicts() == []


def test_a_file_that_changes_again_and_again_counts_once(sites: Two, store: MemoryStore) -> None:
    bari, cnaf = sites
    few = Limit(count=3, percent=1, size_mib=0, per_hour=0)
    bari.engine.site.brake_limits = BrakeLimits(changes=few)
    for number in range(10):
        bari.write(_name(0), b"version %d" % number)
        bari.cycle()
    settle(bari, cnaf)
    assert bari.engine.brakes() == []
    assert _files(cnaf)[_name(0)] == b"version 9"
    written = [o for o in operations_of(bari, store) if isinstance(o, Put)]
    assert len(written) >= FILES + 8


def test_a_held_change_that_is_undone_is_forgotten(sites: Two, store: MemoryStore) -> None:
    bari, cnaf = sites
    _replace_all(bari, b"replaced")
    run(bari, cnaf)
    _replace_all(bari, b"first")
    settle(bari, cnaf)
    for site in sites:
        assert _files(site) == _expected()
        assert site.engine.brakes() == site.engine.conflicts() == []


def test_limits_by_size_and_by_the_hour_hold_as_well(store: MemoryStore) -> None:
    by_size = Limit(count=50, percent=10, size_mib=1, per_hour=0)
    by_hour = Limit(count=50, percent=10, size_mib=0, per_hour=3)
    for limit, expected in ((by_size, "2 MiB"), (by_hour, "4 files")):
        with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
            bari.engine.site.brake_limits = BrakeLimits(deletions=limit, window_s=60)
            for number in range(30):
                bari.write(b"%d" % number, os.urandom(1 << 19))
            settle(bari, cnaf)
            for number in range(4):
                os.unlink(bari.path(b"%d" % number))
            run(bari, cnaf)
            assert expected in _only_brake(bari).reason


# What looks like encryption


@pytest.mark.parametrize("way", ["over", "renamed", "beside"])
def test_files_that_stop_to_compress_raise_an_alarm(way: str) -> None:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        for number in range(30):
            bari.write(b"%d" % number, b"a text as people write it, %d\n" % number * 50)
        settle(bari, cnaf)
        for number in range(30):
            _encrypt(bari, b"%d" % number, way)
        settle(bari, cnaf)
        told = bari.problems()["encryption"]
        assert "30 files were replaced within 10 minutes by contents that do not compress" in told
        assert (way == "over") == (".locked" not in told)
        assert bari.engine.brakes() == []
        assert disk_tree(cnaf.root) == disk_tree(bari.root)
        bari.time.advance(TOLD_FOR_S)
        bari.write(b"later", b"content")
        settle(bari, cnaf)
        assert "encryption" not in bari.problems()


def test_what_looks_encrypted_is_held_if_the_configuration_says_so() -> None:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        bari.engine.site.brake_limits = BrakeLimits(on_encryption=OnEncryption.BRAKE)
        for number in range(30):
            bari.write(b"%d" % number, b"a text as people write it, %d\n" % number * 50)
        settle(bari, cnaf)
        before = _files(cnaf)
        for number in range(30):
            _encrypt(bari, b"%d" % number, "over")
        run(bari, cnaf)
        assert _files(cnaf) == before
        assert _only_brake(bari).kind is BrakeKind.ENCRYPTION
        bari.engine.decisions.decide_brake(_only_brake(bari).name, Verdict.REJECTED)
        settle(bari, cnaf)
        assert _files(bari) == _files(cnaf) == before


@pytest.mark.parametrize("suffix", [b".gz", b".new"])
def test_compressing_files_or_replacing_texts_by_texts_raises_no_alarm(suffix: bytes) -> None:
    with local_sites(MemoryStore(), "bari", "cnaf") as (bari, cnaf):
        for number in range(30):
            bari.write(b"%d" % number, b"a text as people write it, %d\n" % number * 50)
        settle(bari, cnaf)
        for number in range(30):
            content = os.urandom(1000) if suffix == b".gz" else b"another text, %d\n" % number * 90
            bari.write(b"%d%s" % (number, suffix), content)
            os.unlink(bari.path(b"%d" % number))
        settle(bari, cnaf)
        assert bari.problems() == {}


def _encrypt(site: LocalSite, name: bytes, way: str) -> None:
    target = name + (b"" if way == "over" else b".locked")
    if way == "renamed":
        os.rename(site.path(name), site.path(target))
    site.write(target, os.urandom(2000))
    if way == "beside":
        os.unlink(site.path(name))


# Decisions


def test_a_brake_that_nobody_knows_or_that_was_decided_is_told_apart(sites: Two) -> None:
    bari, cnaf = sites
    with pytest.raises(OperatorError, match="no brake is called 'nothing'"):
        bari.engine.decisions.decide_brake("nothing", Verdict.APPROVED)
    _empty(bari)
    run(bari, cnaf)
    brake = _only_brake(cnaf)
    cnaf.engine.decisions.decide_brake(brake.name, Verdict.REJECTED)
    with pytest.raises(OperatorError, match="was rejected already"):
        cnaf.engine.decisions.decide_brake(brake.name, Verdict.APPROVED)


def _replace_all(site: LocalSite, content: bytes) -> None:
    """Saves every file as editors do: a new file, renamed over the old one."""
    for number in range(FILES):
        site.write(_name(number) + b".tmp", b"%s %d" % (content, number))
        os.rename(site.path(_name(number) + b".tmp"), site.path(_name(number)))
