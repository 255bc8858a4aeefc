"""`geosync site` and `geosync gc`, with real daemons."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, directory_store

Two = tuple[RealSite, RealSite]


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Two]:
    """Two sites that are at work."""
    store = directory_store(tmp_path / "store")
    bari, cnaf = (RealSite(tmp_path / name, name, store) for name in ("bari", "cnaf"))
    try:
        for site in (bari, cnaf):
            site.start()
        (bari.root / "file").write_bytes(os.urandom(100_000))
        bari.must("sync")
        await_condition((cnaf.root / "file").exists, "the file arrives")
        await_condition(lambda: "cnaf" in _states(bari), "bari has heard of cnaf")
        yield bari, cnaf
    finally:
        for site in (bari, cnaf):
            site.kill()


def _states(site: RealSite) -> dict[str, str]:
    return {row["site"]: row["state"] for row in json.loads(site.must("site", "list", "--json"))}


def test_a_site_that_is_gone_is_listed_and_retired(sites: Two) -> None:
    bari, cnaf = sites
    assert _states(bari) == {"bari": "this site", "cnaf": "live"}
    cnaf.stop()
    refused = bari.run("site", "retire", "cnaf")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert bari.run("site", "retire", "paris", "--yes").returncode == 1
    assert "is being retired" in bari.must("site", "retire", "cnaf", "--yes")
    await_condition(lambda: _states(bari)["cnaf"] == "retired", "cnaf is retired")
    assert "retired" in bari.must("site", "list")


def test_a_retired_site_that_is_started_again_takes_part_as_another_actor(sites: Two) -> None:
    bari, cnaf = sites
    cnaf.stop()
    (cnaf.root / "written while it was away").write_text("news")
    bari.must("site", "retire", "cnaf", "--yes")
    await_condition(lambda: _states(bari)["cnaf"] == "retired", "cnaf is retired")
    cnaf.start()
    arrived = bari.root / "written while it was away"
    await_condition(arrived.exists, "what cnaf wrote arrives")
    rows = json.loads(bari.must("site", "list", "--json"))
    states = sorted(row["state"] for row in rows if row["site"] == "cnaf")
    assert states == ["live", "retired"]


def test_the_collection_is_explained_and_begun(sites: Two) -> None:
    bari, _ = sites
    report = json.loads(bari.must("gc", "--explain", "--json"))
    assert (report["packs"], report["condemned"], report["doubt"]) == (1, 0, None)
    assert report["needed_size_bytes"] == report["size_bytes"] > 100_000
    (bari.root / "file").unlink()
    bari.must("sync")
    assert json.loads(bari.must("gc", "--json"))["kept_versions"] == 1
    bari.stop()
    text = bari.must("gc")
    assert "in the care of this site: 1 pack" in text
    assert "condemned: 0 packs" in text, "what was deleted is kept for 30 days"
