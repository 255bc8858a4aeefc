"""Two daemons and a real Swift: a small change passes a large file that is on its way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosync.configuration.large_files import MIB, LargeFiles
from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, swift_store

SIZE_BYTES = LargeFiles().size_bytes_min
UPLOAD = 12 * MIB  # in a second: so long the large file takes, at least


@pytest.fixture
def sites(tmp_path: Path, swift_server, fresh_swift_volume_name) -> Iterator[list[RealSite]]:
    made = [
        RealSite(tmp_path / name, name, swift_store(swift_server), volume=fresh_swift_volume_name)
        for name in ("bari", "paris")
    ]
    with made[0].configuration.open("a") as file:
        file.write(f"\n[bandwidth]\nupload_kib_per_s = {UPLOAD // 1024}\n")
    try:
        for site in made:
            site.start()
        yield made
    finally:
        for site in made:
            site.kill()


def test_a_small_change_is_there_while_a_large_file_is_read_and_sent(
    sites: list[RealSite],
) -> None:
    bari, paris = sites
    large = os.urandom(SIZE_BYTES)
    (bari.root / "large").write_bytes(large)
    await_condition(
        lambda: "a large file: " in str(bari.status()["daemon"]["waiting"]),
        "the large file is being read",
    )
    (bari.root / "small").write_text("a small change")
    await_condition((paris.root / "small").exists, "the small change is there")
    assert not (paris.root / "large").exists()
    await_same(sites)
    assert (paris.root / "large").read_bytes() == large
