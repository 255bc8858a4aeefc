"""Drills with real daemons in a real Swift: a clean switch, a forced one in a partition, and back.

The lines to Swift are real connections through relays that break; the programs are plain writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from geosync.demo.swift_server import SwiftServer
from geosync.demo.wan_relay import WanRelay
from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, swift_store

Two = tuple[RealSite, RealSite]


@pytest.fixture
def lines(
    swift_server: SwiftServer, wan_relay: Callable[..., WanRelay]
) -> tuple[WanRelay, WanRelay]:
    """The lines of the two sites to Swift."""
    address = swift_server.proxy_address()
    return wan_relay(address, one_way_delay_s=0.0), wan_relay(address, one_way_delay_s=0.0)


@pytest.fixture
def sites(
    tmp_path: Path,
    swift_server: SwiftServer,
    fresh_swift_volume_name: str,
    lines: tuple[WanRelay, WanRelay],
) -> Iterator[Two]:
    """`bari` is the primary and `paris` follows; both have three files of bari."""
    made = []
    for (name, mode), line in zip((("bari", "primary"), ("paris", "standby")), lines, strict=True):
        store = swift_store(swift_server, auth_url=f"http://127.0.0.1:{line.port}/auth/v1.0")
        store = f'mode = "{mode}"\n{store}'
        made.append(RealSite(tmp_path / name, name, store, volume=fresh_swift_volume_name))
    bari, paris = made
    for name in ("one", "two", "three"):
        (bari.root / name).write_text(f"{name}, of the first epoch")
    bari.start()
    bari.must("sync")
    paris.start()
    await_same(made)
    await_condition(lambda: len(paris.tree()) == 3, "paris has all")
    yield bari, paris
    for site in made:
        site.kill()


def _role(site: RealSite) -> str:
    return str(site.status()["role"])


def _late(site: RealSite) -> dict[str, Any]:
    report = json.loads(site.must("promote", "--report", "--json"))
    return {each["path"]: each for each in report["late_writes"]}


def _await_role(site: RealSite, role: str) -> None:
    await_condition(lambda: _role(site) == role, f"{site.name} is {role}: {site.log_text()}")


def _contents(site: RealSite) -> set[str]:
    """Returns all contents below the root, those of conflicts and of what was set aside, too."""
    return {
        path.read_text()
        for path in site.root.rglob("*")
        if path.is_file() and not {"trash", "stage", "generation", "marker"} & {*path.parts}
    }


def test_a_clean_switch_and_failback_lose_nothing(sites: Two) -> None:
    bari, paris = sites
    refused = paris.run("promote", "--timeout", "0")
    assert refused.returncode == 3
    assert "bari is the primary (epoch 1)" in refused.stderr
    (bari.root / "one").write_text("written right before the switch")
    (paris.root / "early").write_text("written at the standby")
    assert "nothing is captured any more" in bari.must("demote")
    assert "paris is the primary (epoch 2)" in paris.must("promote", "--timeout", "60")
    assert (_role(bari), _role(paris)) == ("standby", "primary")
    assert (paris.root / "one").read_text() == "written right before the switch"
    await_condition((bari.root / "early").exists, "what was drift is captured by the new primary")
    (paris.root / "two").write_text("of the second epoch")
    os.remove(paris.root / "three")
    paris.wait()
    await_same(sites)
    paris.must("demote")
    bari.must("promote", "--timeout", "60")
    (bari.root / "two").write_text("of the third epoch")
    bari.wait()
    assert (paris.root / "two").read_text() == "of the third epoch"
    for site in sites:
        assert site.conflicts() == []
        assert _late(site) == {}


def test_a_promotion_names_the_drift_that_is_in_its_way_and_the_command_that_goes_on(
    sites: Two,
) -> None:
    bari, paris = sites
    (paris.root / "one").write_text("changed at the standby")
    await_condition(lambda: "one" in paris.run("conflicts", "list").stdout, "drift is noticed")
    (bari.root / "one").write_text("written right before the switch")
    bari.must("demote")
    command = ("promote", "--timeout", "2")
    await_condition(lambda: "programs changed" in paris.run(*command).stderr, "it is in the way")
    refused = paris.run(*command)
    assert refused.returncode == 3
    assert "  one\nNothing else is missing." in refused.stderr
    assert "type: geosync promote --force\n" in refused.stderr
    assert _role(paris) == "standby"
    paris.must("promote", "--force")
    await_condition(lambda: len(bari.conflicts()) == 1, "both versions are kept")
    await_same(sites)
    kept = {"changed at the standby", "written right before the switch"}
    assert all(kept <= _contents(site) for site in sites)


def test_a_forced_switch_during_a_partition_loses_nothing_and_the_report_names_all(
    sites: Two, lines: tuple[WanRelay, WanRelay]
) -> None:
    bari, paris = sites
    lines[0].partition()
    (bari.root / "one").write_text("late, on both sides")
    (bari.root / "two").write_text("late, here only")
    os.remove(bari.root / "three")
    (bari.root / "new").write_text("late and new")
    await_condition(
        lambda: bari.status()["to_publish"]["operations"] >= 4, "all of it is captured at bari"
    )
    forced = paris.must("promote", "--force")
    assert "bari was not demoted" in forced
    assert "all that this site knows of is on its disk" in forced
    (paris.root / "one").write_text("by the new primary")
    paris.must("sync")
    assert _role(bari) == "primary"  # it can't know
    assert json.loads(paris.must("promote", "--report", "--json"))["not_back"] == ["bari"]
    lines[0].heal()
    _await_role(bari, "standby")
    await_condition(lambda: len(_late(paris)) == 4, f"all is told: {paris.log_text()}")
    await_condition(lambda: (bari.root / "two").read_text().endswith("epoch"), "bari follows")
    await_same(sites)
    expected = {
        "one": "by the new primary",
        "two": "two, of the first epoch",
        "three": "three, of the first epoch",
        "new": "late and new",
    }
    for site in sites:
        assert site.tree() == {name: text.encode() for name, text in expected.items()}
        assert {name: each["what"] for name, each in _late(site).items()} == {
            "one": "written",
            "two": "written",
            "three": "deleted",
            "new": "created",
        }
        kept = {each["path"] for each in site.conflicts()}
        assert kept == {"one", "two"}
        await_condition(
            lambda s=site: {"late, on both sides", "late, here only"} <= _contents(s),  # type: ignore[misc]
            "what lost can be read",
        )
    assert json.loads(paris.must("promote", "--report", "--json"))["not_back"] == []
    assert "late writes of a former primary" in paris.must("status")
    # And back: the old primary is the primary again.
    paris.must("demote")
    bari.must("promote", "--timeout", "60")
    (bari.root / "one").write_text("of the third epoch")
    bari.wait()
    assert (paris.root / "one").read_text() == "of the third epoch"
    assert len(_late(paris)) == 4


def test_only_the_primary_is_ready(sites: Two) -> None:
    for primary, standby in (sites, sites[::-1]):
        await_condition(lambda s=primary: "; ready" in s.must("status"), "it is ready")  # type: ignore[misc]
        assert "; not ready: it is a standby" in standby.must("status")
        primary.must("demote")
        assert "; not ready: it is a standby" in primary.must("status")
        standby.must("promote", "--timeout", "60")


def test_an_old_primary_that_was_off_publishes_nothing_as_the_primary(sites: Two) -> None:
    bari, paris = sites
    bari.kill()
    (bari.root / "one").write_text("written while its daemon was dead")
    paris.must("promote", "--force")
    (paris.root / "two").write_text("by the new primary")
    paris.must("sync")
    bari.start()
    _await_role(bari, "standby")
    await_condition(lambda: "one" in _late(paris), f"it is told: {paris.log_text()}")
    await_same(sites)
    for site in sites:
        assert (site.root / "one").read_text() == "one, of the first epoch"
        assert (site.root / "two").read_text() == "by the new primary"
        assert [each["path"] for each in site.conflicts()] == ["one"]


def test_of_two_sites_that_are_promoted_at_once_one_stays_the_primary(
    sites: Two, lines: tuple[WanRelay, WanRelay]
) -> None:
    bari, paris = sites
    bari.must("demote")
    await_condition(
        lambda: json.loads(paris.must("promote", "--report", "--json"))["is_released"],
        "paris has heard of it",
    )
    for line in lines:
        line.partition()
    for site in sites:
        assert "is the primary (epoch 2)" in site.must("promote", "--force")
        (site.root / "one").write_text(f"by {site.name}")
        (site.root / f"of {site.name}").write_text("new")
        await_condition(
            lambda s=site: s.status()["to_publish"]["operations"] >= 3,  # type: ignore[misc]
            "it is captured",
        )
    for line in lines:
        line.heal()
    await_condition(
        lambda: sorted(map(_role, sites)) == ["primary", "standby"], "one of them yields"
    )
    await_same(sites)
    winner = next(site for site in sites if _role(site) == "primary")
    for site in sites:
        assert (site.root / "one").read_text() == f"by {winner.name}"
        assert {"of bari", "of paris"} <= site.tree().keys()
        await_condition(
            lambda s=site: {"by bari", "by paris"} <= _contents(s),  # type: ignore[misc]
            "what lost can be read",
        )
