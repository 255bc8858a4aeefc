"""Real daemons, a real Swift: checkpoints are written, logs are cut, and a new site joins."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from geosync.demo.swift_server import SwiftServer
from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, swift_store
from transport.object_names import SegmentName, recognise
from transport.object_store import ObjectStore
from transport.swift_credentials import resolve_credentials
from transport.swift_store import open_swift_store


@pytest.fixture
def store(swift_server: SwiftServer, fresh_swift_volume_name: str) -> Iterator[ObjectStore]:
    """The volume's store, to look into."""
    table = {
        "auth_url": swift_server.auth_url,
        "user": swift_server.user,
        "key": swift_server.key,
    }
    opened = open_swift_store(resolve_credentials(table, {}), fresh_swift_volume_name, timeout_s=10)
    with closing(opened):
        yield opened


@pytest.fixture
def sites(
    tmp_path: Path, swift_server: SwiftServer, fresh_swift_volume_name: str
) -> Iterator[list[RealSite]]:
    """Three sites of a new volume; no daemon runs yet."""
    made = [
        RealSite(
            tmp_path / name,
            name,
            swift_store(swift_server),
            volume=fresh_swift_volume_name,
            tuning="checkpoint_operations = 10",
        )
        for name in ("bari", "paris", "late")
    ]
    yield made
    for site in made:
        site.kill()


def _first_segments(store: ObjectStore) -> dict[bytes, int]:
    """Returns with which segment each log begins in the store."""
    found = [recognise(name) for name in store.list_names("log/")]
    segments = [each for each in found if isinstance(each, SegmentName)]
    return {
        actor: min(each.sequence for each in segments if each.actor == actor)
        for actor in {each.actor for each in segments}
    }


def _write_everywhere(sites: tuple[RealSite, ...], number: int) -> None:
    """Lets each site write a file, and waits until all have it: in a hurry none keeps order."""
    names = [f"file {number} of {site.name}" for site in sites]
    for site, name in zip(sites, names, strict=True):
        (site.root / name).write_text(f"{site.name} {number}")
    paths = [site.root / name for site in sites for name in names]
    await_condition(lambda: all(path.exists() for path in paths), f"{names} are everywhere")


@pytest.mark.timeout(300)
def test_a_new_site_joins_from_a_checkpoint_when_the_early_segments_are_gone(
    sites: list[RealSite], store: ObjectStore
) -> None:
    bari, paris, late = sites
    bari.start()
    paris.start()
    numbers = itertools.count()

    def are_logs_cut() -> bool:
        _write_everywhere((bari, paris), next(numbers))
        return sum(first > 0 for first in _first_segments(store).values()) == 2

    await_condition(are_logs_cut, "checkpoints took the place of old segments", timeout_s=120)
    await_same([bari, paris])
    old = bari.root / "file 0 of bari"
    old.write_text("changed since")
    (late.root / "file 0 of bari").write_text("bari 0")
    (late.root / "file 1 of paris").write_text("paris 1")
    os.utime(late.root / "file 1 of paris", ns=(1, 1))
    late.start()
    await_same(sites)
    assert late.tree()["file 0 of bari"] == b"changed since"
    assert late.conflicts() == []
    assert "checkpoint_loaded" in late.log_text()
    assert not [problem for site in sites for problem in site.status()["problems"]]
