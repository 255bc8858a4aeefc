"""A real replica that logs in to a real Swift as somebody who may only read."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geosync.demo.swift_server import SwiftServer
from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, swift_store
from tests.support.swift_account import SwiftAccount
from transport.object_store import AREAS

Pair = tuple[RealSite, RealSite]


def _let_read(server: SwiftServer, volume: str) -> None:
    """Does what an operator does once: lets the other user read the volume's containers."""
    account = SwiftAccount.authenticate(server.auth_url, server.user, server.key)
    for area in AREAS:
        request = urllib.request.Request(
            f"{account.storage_url}/geosync-{volume}-{area}",
            headers={"X-Auth-Token": account.token, "X-Container-Read": server.reader},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=20.0).close()


@pytest.fixture
def make_sites(
    tmp_path: Path, swift_server: SwiftServer, fresh_swift_volume_name: str
) -> Iterator[Callable[[str], Pair]]:
    """Makes a site that writes, and a replica that may only read, and starts both."""
    made: list[RealSite] = []

    def make(drift: str) -> Pair:
        store = swift_store(swift_server)
        writer = RealSite(tmp_path / "writer", "writer", store, volume=fresh_swift_volume_name)
        store = swift_store(swift_server, user=swift_server.reader)
        store = f'mode = "replica"\ndrift = "{drift}"\n{store}'
        replica = RealSite(tmp_path / "replica", "replica", store, volume=fresh_swift_volume_name)
        made.extend((writer, replica))
        (writer.root / "docs").mkdir()
        (writer.root / "docs" / "a").write_text("first")
        (writer.root / "docs" / "large").write_bytes(os.urandom(3_000_000))
        writer.start()
        writer.must("sync")
        _let_read(swift_server, fresh_swift_volume_name)
        replica.start()
        await_same(made)
        return writer, replica

    yield make
    for site in made:
        site.kill()


def test_credentials_that_may_only_read_are_enough(
    make_sites: Callable[[str], Pair], swift_server: SwiftServer
) -> None:
    writer, replica = make_sites("keep")
    (writer.root / "docs" / "a").write_text("second")
    await_same((writer, replica))
    assert (replica.root / "docs" / "a").read_text() == "second"
    status = replica.status()
    assert status["problems"] == []
    assert status["role"] == "replica"
    assert status["writes_to_store"] is False
    assert status["daemon"]["store"]["upload_bytes"] == 0
    assert "writes nothing to the store" in replica.must("status")
    assert writer.status()["sites"] == []
    writer.wait()  # for nobody
    assert replica.run("promote").returncode == 1


def test_drift_is_told_and_kept(make_sites: Callable[[str], Pair]) -> None:
    writer, replica = make_sites("keep")
    (replica.root / "docs" / "a").write_text("changed at the replica")
    (replica.root / "mine").write_text("of the replica")
    await_condition(lambda: replica.status()["drift_count"] == 2, "it is noticed")
    (writer.root / "docs" / "a").write_text("an update")
    (writer.root / "docs" / "b").write_text("another file")
    await_condition((replica.root / "docs" / "b").exists, "other files go on")
    await_condition(lambda: replica.status()["daemon"]["waiting_count"] == 1, "the update waits")
    assert (replica.root / "docs" / "a").read_text() == "changed at the replica"
    listed = replica.run("conflicts", "list")
    assert listed.returncode == 3
    assert "was changed here" in listed.stdout
    found = {each["path"]: (each["kind"], each["differs"]) for each in replica.conflicts()}
    assert found == {"docs/a": ("drift", "changed"), "mine": ("drift", "new")}
    replica.stop()
    assert {each["path"] for each in replica.conflicts()} == found.keys()


def test_drift_is_put_back_and_kept_aside(make_sites: Callable[[str], Pair]) -> None:
    writer, replica = make_sites("revert")
    (replica.root / "docs" / "a").write_text("changed at the replica")
    (replica.root / "mine").write_text("of the replica")
    os.remove(replica.root / "docs" / "large")
    await_condition(lambda: len(replica.conflicts()) == 2, f"it is kept: {replica.log_text()}")
    await_same((writer, replica))
    kept = {each["path"]: each["kept_at"] for each in replica.conflicts()}
    assert (replica.root / kept["docs/a"]).read_text() == "changed at the replica"
    assert (replica.root / kept["mine"]).read_text() == "of the replica"
    os.remove(replica.root / kept["mine"])
    assert [each["path"] for each in replica.conflicts()] == ["docs/a"]
