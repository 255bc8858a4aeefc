"""Real daemons whose machine was restored, cloned, or lost its journal: they notice and join anew.

No operation gets a name that is taken, no old file is pushed over a new one, nothing counts as
deleted, and what was on a disk only is kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, directory_store

Pair = tuple[RealSite, RealSite]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return directory_store(tmp_path / "store")


@pytest.fixture
def sites(tmp_path: Path, store: str) -> Iterator[Pair]:
    """Two sites with a file that was edited; `bari` is stopped."""
    bari, paris = (RealSite(tmp_path / name, name, store) for name in ("bari", "paris"))
    for site in (bari, paris):
        site.start()
    (bari.root / "kept").write_text("never touched again")
    (bari.root / "edited").write_text("first version")
    bari.wait()
    bari.stop()
    yield bari, paris
    for site in (bari, paris):
        site.kill()


def _copied(source: Path, target: Path) -> None:
    """Copies as a backup of a machine does: with times, links and everything."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


def _go_on_a_while(bari: RealSite, paris: RealSite) -> None:
    """What happens after the backup: both sites write, and bari publishes."""
    bari.start()
    (bari.root / "edited").write_text("second version")
    (bari.root / "after the backup").write_text("published after the backup")
    (paris.root / "by paris").write_text("written at the other site")
    bari.wait()
    paris.wait()
    await_same((bari, paris))
    bari.stop()


def _must_have_all(bari: RealSite, paris: RealSite) -> None:
    await_same((bari, paris))
    assert (bari.root / "edited").read_text() == "second version"
    assert (bari.root / "after the backup").read_text() == "published after the backup"
    assert (bari.root / "by paris").read_text() == "written at the other site"
    assert (bari.root / "kept").read_text() == "never touched again"
    for site in (bari, paris):
        assert site.conflicts() == []
        assert not [p for p in site.status()["problems"] if p["subject"] != "incarnation"]


def _actor(site: RealSite) -> str:
    return str(site.status()["actor"])


def _lose_journal(bari: RealSite, _backup: Path) -> None:
    shutil.rmtree(bari.state_dir)


def _restore_journal(bari: RealSite, backup: Path) -> None:
    _copied(backup / "state", bari.state_dir)


def _restore_directory(bari: RealSite, backup: Path) -> None:
    _copied(backup / "root", bari.root)


def _restore_machine(bari: RealSite, backup: Path) -> None:
    _restore_journal(bari, backup)
    _restore_directory(bari, backup)


@pytest.mark.parametrize(
    "restore", [_lose_journal, _restore_journal, _restore_directory, _restore_machine]
)
def test_what_was_restored_joins_anew(
    sites: Pair, tmp_path: Path, restore: Callable[[RealSite, Path], None]
) -> None:
    bari, paris = sites
    before = _actor(bari)
    for part, directory in (("state", bari.state_dir), ("root", bari.root)):
        _copied(directory, tmp_path / "backup" / part)
    _go_on_a_while(bari, paris)
    restore(bari, tmp_path / "backup")
    bari.start()
    await_condition(lambda: _actor(bari) != before, f"it notices: {bari.log_text()}")
    _must_have_all(bari, paris)


def test_a_directory_that_was_restored_to_a_moment_of_the_last_run_joins_anew(
    sites: Pair, tmp_path: Path
) -> None:
    """Nobody restarted the daemon between the backup and what happened after it."""
    bari, paris = sites
    bari.start()
    (bari.root / "before the backup").write_text("the backup has it")
    bari.wait()
    before = _actor(bari)
    _copied(bari.root, tmp_path / "backup" / "root")
    (bari.root / "edited").write_text("second version")
    (bari.root / "after the backup").write_text("published after the backup")
    (paris.root / "by paris").write_text("written at the other site")
    bari.wait()
    paris.wait()
    bari.stop()
    _restore_directory(bari, tmp_path / "backup")
    bari.start()
    await_condition(lambda: _actor(bari) != before, f"it notices: {bari.log_text()}")
    _must_have_all(bari, paris)


def test_what_only_a_restored_machine_has_is_kept(sites: Pair, tmp_path: Path) -> None:
    """It was written while the daemon did not run, on the machine that was set back."""
    bari, paris = sites
    for part, directory in (("state", bari.state_dir), ("root", bari.root)):
        _copied(directory, tmp_path / "backup" / part)
    _go_on_a_while(bari, paris)
    _restore_machine(bari, tmp_path / "backup")
    (bari.root / "only here").write_text("by a program before the daemon came")
    bari.start()
    await_condition((paris.root / "only here").exists, f"it is kept: {bari.log_text()}")
    assert (paris.root / "only here").read_text() == "by a program before the daemon came"
    _must_have_all(bari, paris)


def test_of_a_cloned_machine_both_go_on_and_one_is_another_actor(
    sites: Pair, tmp_path: Path, store: str
) -> None:
    bari, paris = sites
    clone = RealSite(tmp_path / "clone", "bari", store)
    _copied(bari.root, clone.root)
    _copied(bari.state_dir, clone.state_dir)
    bari.start()
    clone.start()
    (bari.root / "by the first").write_text("one")
    (clone.root / "by the clone").write_text("two")
    try:
        everyone = (bari, clone, paris)
        for name in ("by the first", "by the clone"):
            for site in everyone:
                await_condition(
                    (site.root / name).exists, f"{name} at {site.root}: {clone.log_text()}"
                )
        await_same(everyone)
        assert _actor(bari) != _actor(clone)
    finally:
        clone.kill()


def test_the_operator_is_told_why_a_site_joined_anew(sites: Pair, tmp_path: Path) -> None:
    bari, paris = sites
    _copied(bari.state_dir, tmp_path / "backup" / "state")
    _go_on_a_while(bari, paris)
    _restore_journal(bari, tmp_path / "backup")
    bari.start()
    await_condition(lambda: bari.status()["problems"], f"it tells: {bari.log_text()}")
    (problem,) = bari.status()["problems"]
    assert "restored" in problem["text"]
    assert "compared with the volume" in problem["text"]
    assert [p.name for p in bari.state_dir.glob("superseded-*-journal.sqlite")]
    bari.stop()
    os.remove(bari.log)
    bari.start()
    assert bari.status()["problems"] == []
