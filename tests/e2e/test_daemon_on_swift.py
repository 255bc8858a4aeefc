"""Real daemons that meet in a real Swift, also one that hangs, dies and comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosync.assembly.assembly import STORE_TIMEOUT_S
from geosync.demo.swift_server import SwiftServer
from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, swift_store


@pytest.fixture
def own_swift(tmp_path: Path) -> Iterator[SwiftServer]:
    """A Swift that the test may stop."""
    with SwiftServer(str(tmp_path / "swift")) as server:
        yield server


def _sites(tmp_path: Path, server: SwiftServer, volume: str = "files") -> list[RealSite]:
    return [
        RealSite(tmp_path / name, name, swift_store(server), volume=volume)
        for name in ("bari", "paris")
    ]


@pytest.fixture
def sites(tmp_path, swift_server, fresh_swift_volume_name) -> Iterator[list[RealSite]]:
    """Two sites of a new volume in the Swift that all tests share; no daemon runs yet."""
    made = _sites(tmp_path, swift_server, fresh_swift_volume_name)
    yield made
    for site in made:
        site.kill()


@pytest.fixture
def sites_of_own_swift(tmp_path, own_swift) -> Iterator[list[RealSite]]:
    """Two sites whose daemons run, in a Swift of this test's own."""
    made = _sites(tmp_path, own_swift)
    for site in made:
        site.start()
    yield made
    own_swift.resume()
    for site in made:
        site.kill()


def test_two_daemons_converge_through_a_real_swift(sites) -> None:
    bari, paris = sites
    (bari.root / "large").write_bytes(os.urandom(12_000_000))
    for number in range(40):
        (paris.root / f"small {number}").write_text(str(number))
    assert "created the volume" in bari.must("init")
    for site in sites:
        site.start()
    await_same(sites)
    await_condition(lambda: len(bari.tree()) == 41, "both hold everything")
    bari.wait()
    paris.wait()
    assert bari.status()["daemon"]["store"]["upload_bytes"] > 12_000_000
    assert [site.stop() for site in sites] == [0, 0]


def test_while_swift_hangs_capture_goes_on_status_answers_and_sigterm_ends_it(
    sites_of_own_swift, own_swift
) -> None:
    bari, paris = sites_of_own_swift
    own_swift.pause()
    for number in range(3):
        (bari.root / f"file {number}").write_text("captured while nothing answers")
        await_condition(
            lambda n=number: bari.status()["entries"] == n + 1,
            "it is captured before any operation of the store is given up",
            timeout_s=0.8 * STORE_TIMEOUT_S,
        )
    assert bari.status()["to_publish"]["operations"] > 0
    assert bari.stop() == 0  # still nothing has answered
    own_swift.resume()
    bari.start()
    await_same(sites_of_own_swift)
    assert len(paris.tree()) == 3


def test_a_swift_that_dies_and_comes_back_is_a_problem_for_so_long_only(
    sites_of_own_swift, own_swift
) -> None:
    bari, paris = sites_of_own_swift
    own_swift.kill()
    (bari.root / "file").write_text("written while there is no Swift")
    await_condition(
        lambda: [each["subject"] for each in bari.status()["problems"]] == ["store"],
        "the status says that the store cannot be reached",
    )
    failed = bari.run("sync")
    assert failed.returncode == 1
    assert own_swift.proxy_address()[0] in failed.stderr
    own_swift.start()
    await_same(sites_of_own_swift)
    assert paris.tree() == {"file": b"written while there is no Swift"}
    await_condition(lambda: not bari.status()["problems"], "the problem is over")
