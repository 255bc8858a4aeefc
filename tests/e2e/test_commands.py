"""The commands as their users give them: what they print, their exit codes, what they change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, directory_store, run_geosync

MakeSite = Callable[..., RealSite]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """Makes sites that meet in one directory; their daemons end with the test."""
    made: list[RealSite] = []
    store = directory_store(tmp_path / "store")

    def make(name: str, **options: str) -> RealSite:
        made.append(RealSite(tmp_path / name, name, store, **options))
        return made[-1]

    yield make
    for site in made:
        site.kill()


@pytest.fixture
def conflict(make_site: MakeSite) -> tuple[RealSite, RealSite]:
    """Two sites without daemons that hold two versions of one file; bari wrote the loser."""
    bari, paris = make_site("bari"), make_site("paris")
    (bari.root / "page").write_text("from the start")
    bari.must("sync")
    paris.must("sync")
    (bari.root / "page").write_text("bari's")
    (paris.root / "page").write_text("written in Paris")
    assert bari.run("sync").returncode == 0
    assert paris.run("sync").returncode == 3
    assert bari.run("sync").returncode == 3
    return bari, paris


# init


def test_init_writes_a_configuration_creates_the_volume_and_does_nothing_twice(tmp_path) -> None:
    (tmp_path / "root").mkdir()
    options = (
        "init", "--volume", "files", "--site", "bari", "--root", str(tmp_path / "root"),
        "--state-dir", str(tmp_path / "state"), "--store", "directory",
        "--directory-path", str(tmp_path / "store"), "--config", str(tmp_path / "geosync.toml"),
    )  # fmt: skip
    first = run_geosync(*options)
    assert (first.returncode, first.stderr) == (0, "")
    assert "created the volume files, with bari as its first site" in first.stdout
    assert f"geosync run --config {tmp_path / 'geosync.toml'}" in first.stdout
    written = (tmp_path / "geosync.toml").read_bytes()
    again = run_geosync(*options)
    assert again.returncode == 0
    assert "bari is a site of the volume files already" in again.stdout
    assert (tmp_path / "geosync.toml").read_bytes() == written


def test_init_with_a_configuration_joins_the_volume_that_another_site_created(make_site) -> None:
    make_site("bari").must("init")
    joined = make_site("paris").must("init")
    assert "joined the volume files, which bari created" in joined


def test_init_leaves_a_configuration_alone_that_says_something_else(make_site) -> None:
    site = make_site("bari")
    written = site.configuration.read_bytes()
    refused = site.run("init", "--volume", "files", "--site", "paris", "--root", str(site.root))
    assert refused.returncode == 2
    assert "says something else than the options" in refused.stderr
    assert site.configuration.read_bytes() == written
    assert not site.state_dir.exists()


def test_the_conflict_policy_of_a_new_volume_holds_on_every_site(make_site) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    bari.must("init", "--conflict-policy", "beside")
    bari.must("sync")
    paris.must("sync")
    for site in (bari, paris):
        (site.root / "page").write_text(f"written in {site.name}")
    for site in (bari, paris, bari):
        site.run("sync")
    await_same([bari, paris])
    assert sorted(bari.tree().values()) == [b"written in bari", b"written in paris"]
    assert bari.conflicts()[0]["kept_at"] in bari.tree()


def test_the_conflict_policy_of_a_volume_that_is_there_is_not_changed_by_init(make_site) -> None:
    make_site("bari").must("init")
    paris = make_site("paris")
    refused = paris.run("init", "--conflict-policy", "newest")
    assert refused.returncode == 2
    assert "leave out --conflict-policy" in refused.stderr
    assert not paris.state_dir.exists()


# sync


def test_sync_without_a_daemon_brings_two_sites_together(make_site) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    (bari.root / "file").write_bytes(b"x" * 3_000_000)
    (paris.root / "other").write_text("other")
    for site in (bari, paris, bari):
        assert site.must("sync") == "in sync\n"
    await_same([bari, paris])
    assert bari.tree().keys() == {"file", "other"}
    (seen,) = bari.status()["sites"]
    assert seen["operations_it_lacks"] == 0  # paris told what it has applied before it ended


def test_sync_with_a_daemon_returns_when_the_site_is_in_sync(make_site) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    paris.start()
    (paris.root / "file").write_text("new")
    assert paris.must("sync") == "in sync\n"
    bari.must("sync")
    assert bari.tree() == {"file": b"new"}


def test_sync_times_out_while_a_program_has_a_changed_file_open(make_site) -> None:
    site = make_site("bari")
    with open(site.root / "log", "w") as file:
        file.write("not finished")
        file.flush()
        timed_out = site.run("sync", "--timeout", "6")
        assert timed_out.returncode == 4
        assert "log: a program has the file open for writing" in timed_out.stderr
    assert site.run("sync").returncode == 0


def test_sync_says_that_the_store_failed(make_site, tmp_path) -> None:
    site = make_site("bari")
    site.must("sync")
    (tmp_path / "store").rename(tmp_path / "away")
    failed = site.run("sync")
    assert failed.returncode == 1
    assert "there is no directory" in failed.stderr


# status


def test_status_tells_the_same_site_with_and_without_a_daemon(make_site) -> None:
    site = make_site("bari")
    (site.root / "file").write_text("x")
    site.start()
    site.must("sync")
    running = site.status()
    assert (running["is_daemon_running"], running["is_settled"]) == (True, True)
    assert running["daemon"]["process_id"] == site.daemon.pid
    assert running["entries"] == 1
    site.stop()
    resting = site.status()
    assert (resting["is_daemon_running"], resting["is_settled"]) == (False, None)
    same = ("format", "volume", "site", "root", "actor", "entries", "to_publish", "sites")
    assert {key: resting[key] for key in same} == {key: running[key] for key in same}
    assert "the daemon is not running" in site.must("status")


def test_status_without_a_daemon_changes_nothing_on_the_disk(make_site) -> None:
    site = make_site("bari")
    site.must("sync")
    before = (site.state_dir / "journal.sqlite").read_bytes()
    site.must("status")
    assert (site.state_dir / "journal.sqlite").read_bytes() == before


def test_status_shows_a_site_that_lags_and_one_screen_of_plain_words(make_site) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    paris.must("sync")
    bari.must("sync")
    bari.start()
    (bari.root / "file").write_text("x")
    bari.must("sync")
    (seen,) = bari.status()["sites"]
    assert (seen["site"], seen["operations_we_lack"]) == ("paris", 0)
    assert seen["operations_it_lacks"] > 0
    lines = bari.must("status").splitlines()
    assert lines[0].startswith("bari of volume files: in sync here; other sites have yet")
    assert len(lines) < 24


# wait


def test_wait_returns_when_the_other_site_has_applied_what_was_written_before(make_site) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    bari.start()
    paris.start()
    await_condition(lambda: bari.status()["sites"], "bari hears of paris")
    (bari.root / "file").write_text("written before the call")
    told = json.loads(bari.must("wait", "--site", "paris", "--timeout", "60", "--json"))
    assert paris.tree() == {"file": b"written before the call"}
    assert told["sites"] == [{"site": "paris", "operations_it_lacks": 0}]
    assert (told["is_done"], told["is_captured"]) == (True, True)


def test_wait_looks_at_everything_itself_instead_of_waiting_for_events(make_site) -> None:
    site = make_site("bari", tuning="settle_ms = 600000")
    site.start()
    (site.root / "file").write_text("the watcher would hand this out in ten minutes")
    site.must("wait", "--timeout", "60")
    assert site.status()["entries"] == 1


def test_wait_times_out_with_exit_code_4_and_names_the_site_that_is_late(make_site) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    paris.must("sync")
    bari.start()
    await_condition(lambda: bari.status()["sites"], "bari hears of paris")
    (bari.root / "file").write_text("x")
    late = bari.run("wait", "--timeout", "0.5")
    assert late.returncode == 4
    assert "paris has yet to apply" in late.stderr


def test_wait_for_a_site_that_never_joined_names_those_that_did(make_site) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    paris.must("sync")
    bari.start()
    await_condition(lambda: bari.status()["sites"], "bari hears of paris")
    refused = bari.run("wait", "--site", "rome", "--site", "paris")
    assert refused.returncode == 2
    assert "no other site is called 'rome'; known are: paris" in refused.stderr


def test_wait_does_not_return_while_a_changed_file_cannot_be_captured(make_site) -> None:
    site = make_site("bari")
    site.start()
    with open(site.root / "log", "w") as file:
        file.write("not finished")
        file.flush()
        timed_out = site.run("wait", "--timeout", "0.5")
    assert timed_out.returncode == 4
    assert "log: a program has the file open for writing" in timed_out.stderr
    assert site.run("wait", "--timeout", "60").returncode == 0


def test_wait_without_a_daemon_ends_with_exit_code_5(make_site) -> None:
    refused = make_site("bari").run("wait")
    assert refused.returncode == 5
    assert "start it with: geosync run" in refused.stderr


# conflicts


@pytest.mark.parametrize("has_daemon", [True, False])
def test_a_conflict_is_listed_shown_and_settled(conflict, has_daemon) -> None:
    bari, paris = conflict
    if has_daemon:
        bari.start()
    listed = bari.run("conflicts", "list")
    assert listed.returncode == 3
    (found,) = bari.conflicts()
    assert found["id"] in listed.stdout
    assert (found["path"], found["kind"]) == ("page", "content")
    assert (found["winner"]["site"], found["loser"]["site"]) == ("paris", "bari")
    assert (bari.root / found["kept_at"]).read_text() == "bari's"
    assert json.loads(bari.must("conflicts", "show", "page", "--json")) == found
    assert found["kept_at"] in bari.must("conflicts", "show", found["id"])
    bari.must("conflicts", "resolve", str(bari.root / "page"), "--take", "loser")
    bari.must("sync")
    paris.must("sync")
    for site in conflict:
        assert site.run("conflicts", "list").returncode == 0
        assert site.tree() == {"page": b"bari's"}


@pytest.mark.parametrize(
    ("take", "expected"),
    [("winner", [b"written in Paris"]), ("both", [b"bari's", b"written in Paris"])],
)
def test_a_conflict_can_be_settled_either_way(conflict, take, expected) -> None:
    bari, paris = conflict
    paris.must("conflicts", "resolve", "page", "--take", take)
    paris.must("sync")
    bari.must("sync")
    for site in conflict:
        assert sorted(site.tree().values()) == expected
        assert site.conflicts() == []


def test_a_conflict_that_is_not_there_cannot_be_settled(make_site) -> None:
    site = make_site("bari")
    site.must("sync")
    refused = site.run("conflicts", "resolve", "no such page", "--take", "winner")
    assert refused.returncode == 1
    assert "no open conflict is called 'no such page'" in refused.stderr
