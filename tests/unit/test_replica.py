"""A replica follows its volume, writes nothing to it, and tells what changed on its own disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from geosync.configuration.volume_configuration import DriftPolicy, Mode
from geosync.disk.interface import Disk, Expected, Outcome, RelativePath, Staged
from geosync.engine.resolving import Choice
from geosync.errors import OperatorError
from tests.support.local_sites import LocalSite, local_sites, run, settle
from transport.memory_store import MemoryStore

Two = tuple[LocalSite, LocalSite]


@pytest.fixture
def sites() -> Iterator[Two]:
    """A site that writes, and a replica that has what it wrote."""
    with local_sites(MemoryStore(), "writer") as (writer,):
        writer.write(b"docs/a", b"first")
        writer.write(b"docs/b", b"second")
        settle(writer)
        replica = LocalSite(writer.base, "replica", writer.store, writer.time, mode=Mode.REPLICA)
        try:
            settle(writer, replica.open())
            yield writer, replica
        finally:
            replica.close()


def _drift(site: LocalSite) -> dict[bytes, str]:
    return {drift.path: drift.kind for drift in site.journal.drift.all()}


def _aside(site: LocalSite) -> dict[bytes, bytes | None]:
    """Returns what was set aside: where it was, and its content; None for a directory."""
    kept: dict[bytes, bytes | None] = {}
    for each in site.journal.drift.set_aside():
        path = site.path(each.kept_at)
        if os.path.islink(path):
            kept[each.path] = os.readlink(path)
        else:
            kept[each.path] = None if os.path.isdir(path) else site.read(each.kept_at)
    return kept


def _reverting(replica: LocalSite) -> LocalSite:
    replica.close()
    replica.drift = DriftPolicy.REVERT
    return replica.open()


def test_a_replica_applies_and_writes_nothing_to_the_store(sites: Two) -> None:
    writer, replica = sites
    before = sorted(writer.store.list_names("log/"))
    assert replica.read(b"docs/a") == b"first"
    replica.write(b"docs/of the replica", b"drift")
    run(replica)
    assert {method for method, _ in replica.link.calls} == {"get", "list_names"}
    assert replica.journal.log.outbox_counts() == (0, 0)
    assert sorted(writer.store.list_names("log/")) == before


def test_nobody_waits_for_a_replica(sites: Two) -> None:
    writer, _ = sites
    assert [log.actor for log in writer.journal.log.actors()] == [writer.engine.site.actor]


def test_a_replica_creates_no_volume() -> None:
    with local_sites(MemoryStore(), "any") as (some,):
        replica = LocalSite(some.base, "alone", MemoryStore(), some.time, mode=Mode.REPLICA)
        with pytest.raises(OperatorError, match="a replica creates none"):
            replica.open()
        replica.close()


def test_an_operator_decides_nothing_at_a_replica(sites: Two) -> None:
    _, replica = sites
    with pytest.raises(OperatorError, match="writes nothing"):
        replica.engine.decisions.resolve("any", Choice.WINNER)


def test_drift_is_listed_and_kept(sites: Two) -> None:
    writer, replica = sites
    replica.write(b"docs/new", b"nobody knows")
    replica.write(b"docs/a", b"changed here")
    os.remove(replica.path(b"docs/b"))
    os.chmod(replica.path(b"docs"), 0o711)
    run(replica)
    assert _drift(replica) == {
        b"docs": "attributes",
        b"docs/a": "changed",
        b"docs/b": "gone",
        b"docs/new": "new",
    }
    run(writer, replica)
    assert replica.read(b"docs/a") == b"changed here"
    assert writer.read(b"docs/a") == b"first"
    assert not os.path.exists(writer.path(b"docs/new"))


def test_an_update_of_a_drifted_file_waits_and_others_go_on(sites: Two) -> None:
    writer, replica = sites
    replica.write(b"docs/a", b"changed here")
    replica.write(b"docs/taken", b"of the replica")
    run(replica)
    writer.write(b"docs/a", b"news")
    writer.write(b"docs/b", b"more news")
    writer.write(b"docs/taken", b"of the volume")
    run(writer, replica)
    assert replica.read(b"docs/a") == b"changed here"
    assert replica.read(b"docs/taken") == b"of the replica"
    assert replica.read(b"docs/b") == b"more news"
    waiting = replica.engine.waiting()
    assert waiting.keys() == {(b"docs", b"a"), (b"docs", b"taken")}
    assert all("nothing is captured" in reason for reason in waiting.values())


def test_drift_that_is_undone_is_no_drift(sites: Two) -> None:
    writer, replica = sites
    stat = os.stat(replica.path(b"docs/a"))
    replica.write(b"docs/a", b"changed here")
    run(replica)
    replica.write(b"docs/a", b"first")
    os.utime(replica.path(b"docs/a"), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    run(replica)
    assert _drift(replica) == {}
    writer.write(b"docs/a", b"news")
    settle(writer, replica)
    assert replica.read(b"docs/a") == b"news"


def test_what_the_volume_gets_too_is_no_drift(sites: Two) -> None:
    writer, replica = sites
    for site in (replica, writer):
        site.write(b"docs/both", b"the same")
        os.remove(site.path(b"docs/b"))
        run(site)
    settle(writer, replica)
    assert _drift(replica) == {}


@pytest.mark.parametrize("kind", ["changed", "gone", "new", "attributes", "replaced", "symlink"])
def test_drift_is_put_back_and_what_was_there_is_kept(sites: Two, kind: str) -> None:
    writer, replica = sites
    _reverting(replica)
    path = replica.path(b"docs/a")
    kept: dict[bytes, bytes | None] = {}
    match kind:
        case "changed":
            replica.write(b"docs/a", b"changed here")
            kept = {b"docs/a": b"changed here"}
        case "gone":
            os.remove(path)
        case "new":
            replica.write(b"docs/mine", b"mine")
            os.makedirs(replica.path(b"docs/dir/below"))
            kept = {b"docs/mine": b"mine", b"docs/dir": None}
        case "attributes":
            os.chmod(path, 0o4711)
        case "replaced":
            os.rename(replica.path(b"docs"), replica.path(b"elsewhere"))
            replica.write(b"docs/mine", b"mine")
            kept = {b"docs": None, b"elsewhere": None}
        case _:
            os.remove(path)
            os.symlink(b"b", path)
            kept = {b"docs/a": b"b"}
    settle(writer, replica)
    settle(writer, replica)
    assert _drift(replica) == {}
    assert _aside(replica) == kept
    assert sorted(os.listdir(replica.path(b"docs"))) == [b"a", b"b"]
    assert not os.path.exists(replica.path(b"elsewhere"))
    for name in (b"docs/a", b"docs/b"):
        assert not os.path.islink(replica.path(name))
        assert replica.read(name) == writer.read(name)
        assert os.stat(replica.path(name)).st_mode == os.stat(writer.path(name)).st_mode
        assert os.stat(replica.path(name)).st_mtime_ns == os.stat(writer.path(name)).st_mtime_ns


def test_drift_is_put_back_to_what_the_volume_has_by_then(sites: Two) -> None:
    writer, replica = sites
    replica.write(b"docs/a", b"changed here")
    replica.write(b"docs/b", b"changed, too")
    run(replica)
    writer.write(b"docs/a", b"news")
    os.remove(writer.path(b"docs/b"))
    run(writer, replica)
    _reverting(replica)
    settle(writer, replica)
    settle(writer, replica)
    assert replica.read(b"docs/a") == b"news"
    assert not os.path.exists(replica.path(b"docs/b"))
    assert _aside(replica) == {b"docs/a": b"changed here", b"docs/b": b"changed, too"}


def test_a_directory_that_was_there_before_is_recognised(sites: Two) -> None:
    """Equal files are the volume's, old versions are replaced, and the rest is drift."""
    writer, replica = sites
    writer.write(b"docs/b", b"newer")
    settle(writer, replica)
    late = LocalSite(writer.base, "late", writer.store, writer.time, mode=Mode.REPLICA)
    late.write(b"docs/a", b"first")
    late.write(b"docs/b", b"second")
    late.write(b"docs/c", b"nobody knows")
    try:
        settle(writer, late.open())
        assert late.read(b"docs/b") == b"newer"
        assert late.read(b"docs/c") == b"nobody knows"
        assert _drift(late) == {b"docs/c": "new"}
    finally:
        late.close()


def test_what_a_program_writes_to_a_replaced_file_is_kept(sites: Two) -> None:
    writer, replica = sites
    program = os.open(replica.path(b"docs/a"), os.O_RDONLY)
    writer.write(b"docs/a", b"news")
    settle(writer, replica)
    with open(f"/proc/self/fd/{program}", "wb") as late:
        late.write(b"to the old one")
    os.close(program)
    run(writer, replica, rounds=8)
    settle(writer, replica)
    assert replica.read(b"docs/a") == b"news"
    assert _aside(replica) == {b"docs/a": b"to the old one"}
    assert os.listdir(replica.path(b".geosync/trash")) == []


@dataclass(slots=True)
class _WatchedDisk:
    """Notes in which order files appear."""

    disk: Disk
    appeared: list[bytes]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.disk, name)

    def place_new(self, staged: Staged, path: RelativePath) -> Outcome:
        self.appeared.append(path)
        return self.disk.place_new(staged, path)

    def replace(self, staged: Staged, path: RelativePath, expected: Expected) -> Outcome:
        self.appeared.append(path)
        return self.disk.replace(staged, path, expected)


def test_files_appear_in_the_order_in_which_they_were_published(sites: Two) -> None:
    """Also when all of it arrives at once; names and directories do not count."""
    writer, replica = sites
    replica.close()
    appeared: list[bytes] = []
    replica.wrap_disk = lambda disk: cast("Disk", _WatchedDisk(disk, appeared))
    published = [b"z/data", b"docs/b", b"m/more", b"a/index", b"docs/a"]
    for path in published:
        writer.write(path, b"published: " + path)
        settle(writer)
    settle(writer, replica.open())
    assert appeared == published


def test_a_replica_that_becomes_a_writer_captures_its_drift(sites: Two) -> None:
    writer, replica = sites
    replica.write(b"docs/mine", b"mine")
    run(replica)
    replica.close()
    replica.mode = Mode.MULTI_MASTER
    settle(writer, replica.open())
    assert writer.read(b"docs/mine") == b"mine"
