"""Whole daemons beside programs that keep their files open: logs, mappings, a database."""

from __future__ import annotations

import mmap
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, directory_store

RULES = """
[[capture]]
paths = ["*.log"]
open_files = "snapshot"
snapshot_every_s = 1
[[capture]]
paths = ["*.private"]
open_files = "exclude"
[[file_group]]
paths = ["data/wiki.db"]
kind = "sqlite"
open_files = "snapshot"
snapshot_every_s = 0
"""


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[tuple[RealSite, RealSite]]:
    store = directory_store(tmp_path / "store")
    both = (
        RealSite(tmp_path / "bari", "bari", store, tuning=RULES),
        RealSite(tmp_path / "cnaf", "cnaf", store),
    )
    try:
        for site in both:
            site.start()
        yield both
    finally:
        for site in both:
            site.kill()


def pages(site: RealSite, copied: Path) -> list[int]:
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(site.root / "data", copied)
    with closing(sqlite3.connect(copied / "wiki.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in connection.execute("SELECT number FROM page ORDER BY number")]


def has_all_pages(site: RealSite, copied: Path) -> bool:
    """Tells whether all arrived; a group is replaced file by file, and may be read in between."""
    try:
        return pages(site, copied) == list(range(10))
    except sqlite3.OperationalError:
        return False


def test_programs_that_keep_files_open_are_followed_and_delay_nothing(
    sites: tuple[RealSite, RealSite], tmp_path: Path
) -> None:
    bari, cnaf = sites
    (bari.root / "data").mkdir()
    (bari.root / "key.private").write_text("stays here")
    (bari.root / "mapped").write_bytes(bytes(8192))
    await_condition((cnaf.root / "mapped").exists, "what is closed arrives")
    descriptor = os.open(bari.root / "mapped", os.O_RDWR)
    with (
        open(bari.root / "app.log", "ab", buffering=0) as log,
        mmap.mmap(descriptor, 8192) as mapping,
        closing(sqlite3.connect(bari.root / "data/wiki.db", isolation_level=None)) as database,
    ):
        os.close(descriptor)
        mapping[0] = 1
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE page (number INTEGER)")
        for number in range(10):
            log.write(b"line\n")
            mapping[4096] = number
            database.execute("INSERT INTO page VALUES (?)", (number,))
        (bari.root / "other").write_text("not delayed")
        await_condition(
            lambda: (
                (cnaf.root / "other").exists()
                and (cnaf.root / "app.log").exists()
                and (cnaf.root / "app.log").read_bytes() == b"line\n" * 10
                and (cnaf.root / "data/wiki.db").exists()
            ),
            "snapshots of what is open arrive",
        )
        await_condition(lambda: has_all_pages(cnaf, tmp_path / "copy"), "all commits arrive")
        assert (cnaf.root / "mapped").read_bytes() == bytes(8192)
        status = bari.status()
        assert "mapped" in [each["path"] for each in status["daemon"]["waiting"]]
        assert status["daemon"]["excluded"] == ["key.private"]
        assert status["problems"] == []
    await_condition(
        lambda: (cnaf.root / "mapped").read_bytes()[4096] == 9, "the end of the mapping is seen"
    )
    (bari.root / "key.private").unlink()
    await_same(sites)
    assert bari.run("wait", "--timeout", "60").returncode == 0
    assert pages(cnaf, tmp_path / "copy") == list(range(10))
