"""Real daemons, a real Swift: new sites with files and without, clones, machines set back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosync.demo.swift_server import SwiftServer
from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, swift_store

LARGE_SIZE_BYTES = 2_000_000  # far more than all logs, so that it shows whether it was transferred


class Volume:
    """A volume of the test's own in the Swift of all tests."""

    def __init__(self, directory: Path, server: SwiftServer, name: str) -> None:
        self._directory = directory
        self._name = name
        self._store = swift_store(server)
        self.sites: list[RealSite] = []

    def site(self, name: str, machine: str = "") -> RealSite:
        """Adds a site, whose daemon does not run yet."""
        directory = self._directory / (machine or name)
        self.sites.append(RealSite(directory, name, self._store, volume=self._name))
        return self.sites[-1]


@pytest.fixture
def volume(
    tmp_path: Path, swift_server: SwiftServer, fresh_swift_volume_name: str
) -> Iterator[Volume]:
    made = Volume(tmp_path, swift_server, fresh_swift_volume_name)
    yield made
    for site in made.sites:
        site.kill()


def _copied(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


def _received_size_bytes(site: RealSite) -> int:
    return int(site.status()["daemon"]["store"]["download_bytes"])


def test_a_site_that_has_the_files_already_transfers_none_and_has_no_conflicts(
    volume: Volume,
) -> None:
    """Its copy is of yesterday: a file was edited since, and another one deleted."""
    bari, late = volume.site("bari"), volume.site("late")
    for name in ("same", "also the same"):
        (bari.root / name).write_bytes(os.urandom(LARGE_SIZE_BYTES))
    (bari.root / "edited").write_text("first version")
    (bari.root / "deleted").write_text("not there any more")
    bari.start()
    bari.must("sync")
    for path in bari.root.iterdir():
        if path.is_file():
            shutil.copy2(path, late.root)
    (bari.root / "edited").write_text("second version")
    (bari.root / "deleted").unlink()
    bari.must("sync")
    late.start()
    late.must("sync")
    await_same((bari, late))
    assert (late.root / "edited").read_text() == "second version"
    assert not (bari.root / "deleted").exists()
    assert bari.conflicts() == late.conflicts() == []
    assert _received_size_bytes(late) < LARGE_SIZE_BYTES


@pytest.mark.timeout(300)
def test_a_site_joins_while_others_write_is_killed_on_its_way_and_goes_on(volume: Volume) -> None:
    bari, late = volume.site("bari"), volume.site("late")
    for number in range(60):
        (bari.root / f"file {number}").write_bytes(os.urandom(20_000))
    bari.start()
    bari.must("sync")
    late.spawn()
    await_condition((late.root / ".geosync" / "stage").exists, "it begins")
    (bari.root / "file 1").write_text("written while the other one joins")
    late.kill()
    (late.root / "at late").write_text("written between two attempts")
    late.spawn()
    await_condition((late.root / "file 7").exists, f"it brings files: {late.log_text()}")
    late.kill()
    (bari.root / "file 2").write_text("written while the other one is dead")
    late.start()
    await_condition((bari.root / "at late").exists, f"it has joined: {late.log_text()}")
    await_same((bari, late))
    assert (late.root / "file 1").read_text() == "written while the other one joins"
    assert (late.root / "file 2").read_text() == "written while the other one is dead"
    assert len(late.tree()) == 61
    assert bari.conflicts() == []


def test_two_sites_that_create_one_volume_at_the_same_moment_share_it(volume: Volume) -> None:
    bari, paris = volume.site("bari"), volume.site("paris")
    (bari.root / "by bari").write_text("1")
    (paris.root / "by paris").write_text("2")
    for site in (bari, paris):
        site.spawn()
    for site in (bari, paris):
        await_condition(site.has_started, f"{site.name} starts: {site.log_text()}")
    await_condition(lambda: len(bari.tree()) == len(paris.tree()) == 2, "both have both files")
    await_same((bari, paris))
    assert bari.status()["problems"] == paris.status()["problems"] == []


@pytest.mark.timeout(300)
def test_a_machine_that_was_set_back_and_its_clone_push_nothing_old(
    volume: Volume, tmp_path: Path
) -> None:
    """Disk and journal are of one earlier moment; only the store tells that time has gone on."""
    bari, paris = volume.site("bari"), volume.site("paris")
    (bari.root / "edited").write_text("first version")
    bari.start()
    paris.start()
    bari.wait()
    bari.stop()
    clone = volume.site("bari", machine="clone")
    for machine in (tmp_path / "backup", clone.root.parent):
        _copied(bari.root, machine / "root")
        _copied(bari.state_dir, machine / "state")
    bari.start()
    actor = bari.status()["actor"]
    (bari.root / "edited").write_text("second version")
    (bari.root / "new").write_text("after the backup")
    bari.wait()
    bari.stop()
    _copied(tmp_path / "backup" / "root", bari.root)
    _copied(tmp_path / "backup" / "state", bari.state_dir)
    for site in (bari, clone):
        site.start()
    everyone = (bari, clone, paris)
    await_condition(lambda: all(len(site.tree()) == 2 for site in everyone), "all have both files")
    await_same(everyone)
    assert (paris.root / "edited").read_text() == "second version"
    assert len({actor, *(site.status()["actor"] for site in (bari, clone))}) == 3
    assert bari.conflicts() == clone.conflicts() == paris.conflicts() == []
