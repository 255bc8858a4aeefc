"""`geosync verify` on real sites: finds what is damaged or lost, and repairs it."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.await_condition import await_condition
from tests.support.local_sites import quick_directory
from tests.support.real_site import RealSite, await_same, directory_store

LARGE = os.urandom(300_000)  # more than a segment carries


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory in memory: there, a store through a mapping changes no time, as damage does."""
    with quick_directory() as made:
        yield Path(os.fsdecode(made))


@pytest.fixture
def sites(base: Path) -> Iterator[list[RealSite]]:
    store = directory_store(base / "store")
    made = [RealSite(base / name, name, store) for name in ("bari", "paris")]
    for site in made:
        site.start()
    (made[0].root / "large").write_bytes(LARGE)
    (made[0].root / "small").write_bytes(b"small")
    (made[0].root / "link").symlink_to("small")
    await_same(made)
    made[0].wait()
    yield made
    for site in made:
        site.kill()


def packs_of(base: Path) -> set[Path]:
    return set((base / "store" / "packs").glob("*/*"))


def damage_unseen(path: Path, offset: int) -> None:
    """Changes a byte as a failing disk does: neither size nor times tell."""
    before = path.stat()
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[offset] ^= 1
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)


def verify(site: RealSite, *options: str) -> tuple[int, Any]:
    done = site.run("verify", "--json", "--fast", *options)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def kinds(found: Any) -> list[str]:
    return [each["kind"] for each in found["findings"]]


def test_damage_is_found_and_repaired_beside_a_running_daemon(
    base: Path, sites: list[RealSite]
) -> None:
    bari, paris = sites
    code, found = verify(bari, "--deep")
    assert (code, found["is_sound"], found["findings"]) == (0, True, [])
    damage_unseen(bari.root / "large", 200_000)
    for pack in packs_of(base):
        pack.unlink()
    code, found = verify(paris, "--repair")
    assert (code, kinds(found)) == (0, ["pack_missing"])
    await_condition(lambda: packs_of(base), "paris supplies what the store has lost")
    damaged = (bari.root / "large").read_bytes()
    code, found = verify(bari)
    assert (code, kinds(found)[0]) == (3, "file_damaged")
    assert (bari.root / "large").read_bytes() == damaged, "verify changes nothing by itself"
    await_condition(lambda: kinds(verify(bari)[1]) == ["file_damaged"], "told of the new pack")
    code, found = verify(bari, "--repair")
    assert (code, found["repair"]["files"], found["repair"]["failed"]) == (0, 1, [])
    assert (bari.root / "large").read_bytes() == LARGE == (paris.root / "large").read_bytes()
    (kept,) = (bari.state_dir / "damaged").iterdir()
    assert kept.read_bytes() == damaged
    assert bari.conflicts() == []


def test_damage_is_found_and_repaired_without_a_daemon(base: Path, sites: list[RealSite]) -> None:
    bari, _ = sites
    bari.stop()
    damage_unseen(bari.root / "large", 0)
    done = bari.run("verify", "--fast")
    assert done.returncode == 3
    assert "damage  large" in done.stdout
    assert "repair what can be repaired with: geosync verify --repair" in done.stdout
    done = bari.run("verify", "--fast", "--repair")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 files put back" in done.stdout
    assert (bari.root / "large").read_bytes() == LARGE
    assert "all is as it should be" in bari.must("verify")
