"""Sites that were away, stopped, or lost their state: what they find, and what the others keep."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conflict.brakes import NO_BRAKES
from geosync.exit_codes import ExitCode
from tests.support.disk_tree import contents_of, disk_tree
from tests.support.local_sites import LocalSite, local_sites, settle
from tests.support.real_site import RealSite, directory_store
from transport.memory_store import MemoryStore

Two = tuple[LocalSite, LocalSite]
DAY_S = 86_400


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[Two]:
    with local_sites(store, "bari", "cnaf") as (bari, cnaf):
        yield bari, cnaf


def test_what_programs_did_while_the_engine_was_stopped_is_what_the_others_get(sites: Two) -> None:
    bari, cnaf = sites
    for name in (b"kept", b"edited", b"removed", b"renamed", b"directory/inside", b"becomes"):
        bari.write(name, b"first content of " + name)
    settle(*sites)
    bari.close()
    bari.write(b"edited", b"edited meanwhile")
    os.unlink(bari.path(b"removed"))
    os.rename(bari.path(b"renamed"), bari.path(b"directory/renamed"))
    os.rename(bari.path(b"directory"), bari.path(b"elsewhere"))
    os.unlink(bari.path(b"becomes"))
    bari.write(b"becomes/a directory", b"new")
    os.symlink(b"kept", bari.path(b"link"))
    bari.open()
    settle(*sites)
    assert disk_tree(cnaf.root) == disk_tree(bari.root)
    assert cnaf.read(b"edited") == b"edited meanwhile"
    assert cnaf.read(b"elsewhere/renamed") == b"first content of renamed"
    assert not os.path.lexists(cnaf.path(b"removed"))
    assert not cnaf.engine.conflicts()


def test_what_was_deleted_while_a_site_was_away_for_a_year_does_not_come_back(sites: Two) -> None:
    """But what somebody edited there does: nobody who deleted it had seen that."""
    bari, cnaf = sites
    bari.engine.site.brake_limits = NO_BRAKES
    for number in range(20):
        bari.write(b"directory/%d" % number, b"content %d" % number)
    settle(*sites)
    cnaf.close()
    shutil.rmtree(bari.path(b"directory"))
    settle(bari)
    bari.time.advance(365 * DAY_S)
    cnaf.write(b"directory/7", b"edited at the site that was away")
    cnaf.open()
    settle(*sites)
    for site in sites:
        assert set(disk_tree(site.root)) == {b"directory", b"directory/7"}
        assert site.read(b"directory/7") == b"edited at the site that was away"


def test_two_sites_that_rewrite_one_file_all_the_time_have_one_conflict_not_many(
    sites: Two, store: MemoryStore
) -> None:
    sites[0].write(b"file", b"first")
    settle(*sites)
    for number in range(25):
        for site in sites:
            site.write(b"file", b"%d by %s" % (number, site.name.encode()))
            site.cycle()
    settle(*sites)
    for site in sites:
        assert len(site.engine.conflicts()) <= 1
        last = {b"24 by bari", b"24 by cnaf"} & contents_of(site.root)
        assert last, "the last version of nobody is there"
        assert len(contents_of(site.root)) <= 2


def test_a_directory_that_its_owner_may_not_write_gets_and_loses_files(sites: Two) -> None:
    bari, cnaf = sites
    bari.write(b"directory/first", b"first")
    os.chmod(bari.path(b"directory"), 0o555)
    settle(*sites)
    os.chmod(bari.path(b"directory"), 0o755)
    bari.write(b"directory/second", b"second")
    os.unlink(bari.path(b"directory/first"))
    os.chmod(bari.path(b"directory"), 0o555)
    settle(*sites)
    assert set(disk_tree(cnaf.root)) == {b"directory", b"directory/second"}
    assert os.stat(cnaf.path(b"directory")).st_mode & 0o7777 == 0o555
    for site in sites:
        os.chmod(site.path(b"directory"), 0o755)


def test_equal_directories_that_two_sites_rename_alike_are_one(sites: Two) -> None:
    sites[0].write(b"old/file", b"content")
    settle(*sites)
    for site in sites:
        os.rename(site.path(b"old"), site.path(b"new"))
        site.cycle_alone()
    settle(*sites)
    for site in sites:
        assert set(disk_tree(site.root)) == {b"new", b"new/file"}
        assert not site.engine.conflicts()


def test_a_directory_is_renamed_while_others_edit_and_create_in_it(store: MemoryStore) -> None:
    with local_sites(store, "bari", "cnaf", "pisa") as (bari, cnaf, pisa):
        bari.write(b"old/file", b"content")
        settle(bari, cnaf, pisa)
        os.rename(bari.path(b"old"), bari.path(b"new"))
        cnaf.write(b"old/file", b"edited by cnaf")
        pisa.write(b"old/other", b"created by pisa")
        for site in (bari, cnaf, pisa):
            site.cycle_alone()
        settle(bari, cnaf, pisa)
        for site in (bari, cnaf, pisa):
            assert set(disk_tree(site.root)) == {b"new", b"new/file", b"new/other"}
            assert site.read(b"new/file") == b"edited by cnaf"
            assert site.read(b"new/other") == b"created by pisa"


# With another journal


@pytest.fixture
def real_sites(tmp_path: Path) -> tuple[RealSite, RealSite]:
    where = directory_store(tmp_path / "store")
    (tmp_path / "store").mkdir()
    bari, cnaf = (RealSite(tmp_path / name, name, where) for name in ("bari", "cnaf"))
    (bari.root / "both").write_bytes(b"as it is everywhere")
    (bari.root / "changed").write_bytes(b"first")
    bring_together(bari, cnaf)
    return bari, cnaf


def bring_together(*sites: RealSite) -> None:
    """Lets one site after the other look once, without any daemon."""
    for site in sites:
        done = site.run("sync")
        assert done.returncode in (ExitCode.DONE, ExitCode.NEEDS_PERSON), done.stderr


def test_a_site_that_lost_its_state_joins_anew_and_has_no_conflict_about_what_is_equal(
    real_sites: tuple[RealSite, RealSite],
) -> None:
    bari, cnaf = real_sites
    shutil.rmtree(cnaf.state_dir)
    (cnaf.root / "changed").write_bytes(b"by cnaf, which forgot what it knew")
    (bari.root / "changed").write_bytes(b"by bari")
    (bari.root / "new").write_bytes(b"new")
    bring_together(bari, cnaf, bari)
    assert bari.tree() == cnaf.tree()
    assert set(bari.tree()) == {"both", "changed", "new"}
    assert [conflict["path"] for conflict in bari.conflicts()] == ["changed"]


def test_a_site_that_is_installed_again_with_an_empty_disk_deletes_nothing(
    real_sites: tuple[RealSite, RealSite],
) -> None:
    bari, cnaf = real_sites
    before = bari.tree()
    shutil.rmtree(cnaf.state_dir)
    shutil.rmtree(cnaf.root)
    cnaf.root.mkdir()
    bring_together(cnaf, bari)
    assert bari.tree() == before
    assert cnaf.tree() == before


def test_an_empty_root_beside_an_old_state_is_refused(
    real_sites: tuple[RealSite, RealSite],
) -> None:
    """A disk that was exchanged, or is not mounted: nothing is taken for deleted."""
    bari, cnaf = real_sites
    before = bari.tree()
    shutil.rmtree(cnaf.root)
    cnaf.root.mkdir()
    refused = cnaf.run("sync")
    assert refused.returncode != 0
    assert not cnaf.tree()
    bari.must("sync")
    assert bari.tree() == before


def test_old_files_put_back_beside_a_newer_journal_are_new_versions(sites: Two) -> None:
    """A backup of the files alone was restored: that is an edit, like any other, and told."""
    bari, cnaf = sites
    bari.write(b"file", b"first")
    settle(*sites)
    backup = bari.read(b"file")
    bari.write(b"file", b"second")
    bari.write(b"younger than the backup", b"content")
    settle(*sites)
    bari.close()
    bari.write(b"file", backup)
    os.unlink(bari.path(b"younger than the backup"))
    bari.open()
    settle(*sites)
    assert set(disk_tree(cnaf.root)) == {b"file"}
    assert cnaf.read(b"file") == b"first"
