"""Daemons with a configuration: the map of owners and the choice of FIFOs reach the disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.real_site import RealSite, directory_store


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owners_and_fifos_are_as_each_site_says(tmp_path: Path) -> None:
    store = directory_store(tmp_path / "store")
    here = RealSite(tmp_path / "here", "here", f"fifos = true\n{store}")
    mapped = '[owners]\ndaemon = "#61240"\n[groups]\nbin = "#61241"\n'
    there = RealSite(tmp_path / "there", "there", store, tuning=mapped)
    try:
        (here.root / "file").write_text("1")
        os.chown(here.root / "file", 1, 2)  # daemon, bin
        os.mkfifo(here.root / "fifo")
        os.mkfifo(there.root / "own-fifo")
        here.start()
        there.start()
        here.wait()
        status = (there.root / "file").stat()
        assert (status.st_uid, status.st_gid) == (61240, 61241)
        assert stat.S_ISFIFO((there.root / "fifo").stat().st_mode)
        problems = {problem["subject"]: problem["text"] for problem in there.status()["problems"]}
        assert "fifos = true" in problems["path own-fifo"]
        assert not (here.root / "own-fifo").exists()
    finally:
        here.kill()
        there.kill()
