"""Glances: where nothing changed they tell so, and whatever changes, they tell that, too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conflict.synced import ROOT_ENTRY
from geosync.disk.glances import REST_NS
from geosync.disk.interface import EntryVanished, RelativePath
from geosync.disk.posix_disk import PosixDisk
from geosync.engine.haste import Haste
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore

REST_S = REST_NS / 1e9 + 0.1
ROOT = RelativePath(b"")
DIRECTORY = RelativePath(b"d")


@pytest.fixture
def rested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, PosixDisk]]:
    """A directory with one of each kind, that is looked at some time later."""
    now_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + REST_NS + 100_000_000)
    below = tmp_path / "d"
    (below / "sub").mkdir(parents=True)
    (below / "file").write_bytes(b"content")
    (below / "link").symlink_to("file")
    (below / os.fsdecode(b"\xff\n")).write_bytes(b"")
    disk = PosixDisk(os.fsencode(tmp_path))
    disk.initialise()
    yield below, disk
    disk.close()


def test_a_glance_is_that_of_the_listing_while_nothing_changes(
    rested: tuple[Path, PosixDisk],
) -> None:
    _, disk = rested
    for path, names, directories in ((DIRECTORY, 4, (b"sub",)), (ROOT, 1, (b"d",))):
        listed = disk.list_directory(path)
        seen = disk.glance(path)
        assert seen.digest == listed.glance != b""
        assert (seen.count, seen.directories) == (names, directories)


def _replace(below: Path) -> None:
    status = (below / "file").stat()
    (below / "new").write_bytes(b"CONTENT")
    os.utime(below / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (below / "new").rename(below / "file")


def _write_with_old_time(below: Path) -> None:
    status = (below / "file").stat()
    (below / "file").write_bytes(b"CONTENT")
    os.utime(below / "file", ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: list[Callable[[Path], object]] = [
    _replace,
    _write_with_old_time,
    lambda below: (below / "file").chmod(0o600),
    lambda below: (below / "file").unlink(),
    lambda below: (below / "file").rename(below / "other"),
    lambda below: (below / "sub").chmod(0o700),
    lambda below: below.chmod(0o700),
    lambda below: os.link(below / "file", below / "sub" / "second name"),
    lambda below: os.setxattr(below / "file", "user.some", b"value"),
    lambda below: os.symlink("file", below / "one more"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_glance_shows_that_something_changed(
    rested: tuple[Path, PosixDisk], change: Callable[[Path], object]
) -> None:
    below, disk = rested
    before = disk.list_directory(DIRECTORY).glance
    try:
        change(below)
    except OSError as error:
        pytest.skip(f"not on this file system: {error}")
    assert disk.glance(DIRECTORY).digest != before


def test_what_changed_a_moment_ago_is_known_by_no_glance(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    disk = PosixDisk(os.fsencode(tmp_path))
    disk.initialise()
    try:
        assert disk.list_directory(DIRECTORY).glance == b""
        with pytest.raises(EntryVanished):
            disk.glance(RelativePath(b"nowhere"))
    finally:
        disk.close()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSite]:
    """A site whose whole directory was looked at, some time after it had changed last."""
    now_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + REST_NS + 100_000_000)
    with local_sites(MemoryStore(), "bari") as [bari]:
        for path in (b"a/one", b"a/two", b"b/c/three"):
            bari.write(path, path)
        settle(bari)
        bari.cycle()
        yield bari


def _listed(site: LocalSite, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Looks at everything; returns which directories were listed."""
    listed: list[bytes] = []
    disk = site.engine.site.disk
    list_directory = disk.list_directory

    def noting(path: RelativePath) -> object:
        listed.append(path)
        return list_directory(path)

    monkeypatch.setattr(disk, "list_directory", noting)
    site.engine.cycle({(): True}, Haste(frozenset()))
    while site.engine.is_looking():
        site.engine.cycle({}, Haste(frozenset()))
    return listed


def test_only_directories_that_changed_are_listed_again(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _listed(site, monkeypatch) == []
    site.write(b"b/c/three", b"changed")
    assert _listed(site, monkeypatch) == [b"b/c"]
    os.rename(site.path(b"a/one"), site.path(b"b/one"))
    assert set(_listed(site, monkeypatch)) >= {b"a", b"b"}


def test_what_is_known_otherwise_meanwhile_is_listed_again(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = site.journal.synced
    directory = synced.entry_at(ROOT_ENTRY, b"a")
    assert directory is not None
    with site.journal.transaction():
        synced.save_entry(next(iter(synced.entries_in(directory.entry))))
    assert _listed(site, monkeypatch) == [b"a"]
