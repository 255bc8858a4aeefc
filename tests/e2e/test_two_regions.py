"""Real daemons at two regions of one real Swift, of which one goes away and comes back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geosync.demo.swift_server import SwiftServer
from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same

REGION_OF = {"bari": 1, "paris": 2}


def _store(server: SwiftServer, own: int) -> str:
    """Says in TOML where the sites meet: at their own region first."""
    lines = ['store = "swift"', "[swift]", f'user = "{server.user}"', f'key = "{server.key}"']
    for region in (own, 3 - own):
        lines += ["[[swift.endpoint]]", f'name = "region {region}"']
        lines += [f'auth_url = "{server.auth_url_of(region)}"']
    return "\n".join(lines)


@pytest.fixture
def swift(tmp_path: Path) -> Iterator[SwiftServer]:
    directory = str(tmp_path / "swift")
    with SwiftServer(directory, region_count=2, processes="region") as server:
        yield server


@pytest.fixture
def sites(tmp_path: Path, swift: SwiftServer) -> Iterator[list[RealSite]]:
    made = [RealSite(tmp_path / name, name, _store(swift, own)) for name, own in REGION_OF.items()]
    for site in made:
        site.start()
    yield made
    swift.resume()
    for site in made:
        site.kill()


def endpoints(site: RealSite) -> dict[str, Any]:
    return {each["name"]: each for each in site.status()["daemon"]["store"]["endpoints"]}


def in_use(site: RealSite) -> str:
    (name,) = (name for name, each in endpoints(site).items() if each["is_in_use"])
    return name


def test_a_region_goes_and_comes_back_and_nothing_is_lost(
    swift: SwiftServer, sites: list[RealSite]
) -> None:
    bari, _ = sites
    expected = {}
    for site in sites:
        (site.root / f"from {site.name}").write_bytes(os.urandom(100_000))
    await_same(sites)
    assert [in_use(site) for site in sites] == ["region 1", "region 2"]

    swift.kill("region-1")
    for site in sites:
        (site.root / f"{site.name} without region 1").write_bytes(os.urandom(100_000))
    await_same(sites)
    assert [in_use(site) for site in sites] == ["region 2", "region 2"]
    assert endpoints(bari)["region 1"]["problem"]
    text = bari.must("status")
    assert "endpoint     region 2, as each nearer one fails" in text
    assert "region 1 fails, for" in text
    findings = json.loads(bari.run("doctor", "--json").stdout)["findings"]
    levels = {
        each["text"][:17]: each["level"] for each in findings if each["subject"] == "endpoint"
    }
    assert levels == {"endpoint region 1": "warning", "endpoint region 2": "ok"}

    bari.stop()
    bari.start()
    (bari.root / "begun without region 1").write_bytes(os.urandom(100_000))
    bari.wait()
    assert bari.status()["problems"] == []

    swift.start()
    await_condition(lambda: in_use(bari) == "region 1", "bari is back at its own", timeout_s=60)
    assert endpoints(bari)["region 1"]["problem"] == ""
    for site in sites:
        (site.root / f"{site.name} after that").write_bytes(os.urandom(100_000))
        expected |= site.tree()
    await_same(sites)
    assert bari.tree() == expected
    assert len(expected) == 7
    for site in sites:
        site.wait()
        assert site.conflicts() == []


def test_a_region_that_hangs_holds_nobody_up_for_long(
    swift: SwiftServer, sites: list[RealSite]
) -> None:
    bari, paris = sites
    (bari.root / "before").write_bytes(b"before")
    await_same(sites)
    swift.pause("region-2")
    (paris.root / "while region 2 hangs").write_bytes(os.urandom(100_000))
    await_same(sites)
    assert in_use(paris) == "region 1"
    swift.resume("region-2")
    await_condition(lambda: in_use(paris) == "region 2", "paris is back", timeout_s=60)
    (paris.root / "after").write_bytes(b"after")
    await_same(sites)
    assert sorted(bari.tree()) == ["after", "before", "while region 2 hangs"]
