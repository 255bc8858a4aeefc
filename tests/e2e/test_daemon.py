"""Real daemons on real directories: they converge, end cleanly, and survive what happens."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, directory_store

MakeSite = Callable[..., RealSite]
QUEUED_EVENTS_MAX = Path("/proc/sys/fs/inotify/max_queued_events")


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
def two_sites(make_site: MakeSite) -> tuple[RealSite, RealSite]:
    """Two sites whose daemons run and know each other."""
    sites = make_site("bari"), make_site("paris")
    for site in sites:
        site.start()
    for site in sites:
        await_condition(lambda site=site: site.status()["sites"], "they hear of each other")
    return sites


def test_files_of_every_kind_made_on_either_site_are_on_both(two_sites) -> None:
    bari, paris = two_sites
    (bari.root / "deep" / "deeper").mkdir(parents=True)
    (bari.root / "deep" / "deeper" / "file").write_bytes(b"x" * 300_000)
    (paris.root / "link").symlink_to("deep/deeper")
    (paris.root / os.fsdecode(b"not \xff UTF-8\nand a line")).write_text("name")
    bari.wait()
    paris.wait()
    await_same(two_sites)
    assert len(bari.tree()) == 5
    (paris.root / "deep").rename(paris.root / "renamed")
    (bari.root / "link").unlink()
    bari.wait()
    paris.wait()
    await_same(two_sites)
    assert (bari.root / "renamed" / "deeper" / "file").stat().st_size == 300_000
    assert "link" not in bari.tree()


def test_sigterm_ends_the_daemon_with_exit_code_0_and_leaves_nothing_open(make_site) -> None:
    site = make_site("bari")
    site.start()
    assert site.stop() == 0
    assert not (site.state_dir / "control.sock").exists()
    assert "Traceback" not in site.log_text()
    with sqlite3.connect(site.state_dir / "journal.sqlite") as journal:
        assert journal.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_ctrl_c_ends_the_daemon_with_exit_code_0(make_site) -> None:
    site = make_site("bari")
    site.start()
    site.daemon.send_signal(signal.SIGINT)
    assert site.daemon.wait(30) == 0


def test_the_service_manager_hears_ready_status_watchdog_and_stopping(make_site, tmp_path) -> None:
    site = make_site("bari")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        site.start({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"})
        heard = _hear(manager, {"READY=1", "WATCHDOG=1"})
        assert any(message.startswith("STATUS=bari: ") for message in heard)
        assert site.stop() == 0
        _hear(manager, {"STOPPING=1"})


def _hear(manager: socket.socket, wanted: set[str]) -> list[str]:
    heard: list[str] = []
    while not wanted <= set(heard):
        heard.append(manager.recv(4096).decode())
    return heard


def test_sigio_does_not_end_the_daemon(make_site) -> None:
    site = make_site("bari")
    site.start()
    site.daemon.send_signal(signal.SIGIO)
    assert site.status()["is_daemon_running"]


def test_a_killed_daemon_loses_nothing_and_goes_on_after_its_restart(two_sites) -> None:
    bari, paris = two_sites
    for number in range(50):
        (bari.root / f"file {number}").write_bytes(os.urandom(1000))
    bari.kill()
    (bari.root / "while it was dead").write_text("news")
    paris.kill()
    paris.start()
    bari.start()
    bari.wait()
    await_same(two_sites)
    assert len(paris.tree()) == 51


def test_a_second_daemon_is_refused_and_told_the_process_id_of_the_first(make_site) -> None:
    site = make_site("bari")
    site.start()
    refused = site.run("run")
    assert refused.returncode == 1
    assert f"process id {site.daemon.pid}," in refused.stderr
    assert site.status()["daemon"]["process_id"] == site.daemon.pid


def test_a_daemon_that_failed_says_where_in_its_log_and_ends_with_1(make_site) -> None:
    site = make_site("bari")
    site.start()
    journal = sqlite3.connect(site.state_dir / "journal.sqlite")
    journal.execute("DROP TABLE live_link")
    journal.commit()
    journal.close()
    (site.root / "file").write_text("this needs the table")
    assert site.daemon.wait(60) == 1
    assert "event=daemon_failed" in site.log_text()
    assert "no such table: live_link" in site.log_text()


def test_a_root_that_goes_away_is_no_deletion_and_all_goes_on_when_it_is_back(two_sites) -> None:
    bari, paris = two_sites
    (bari.root / "file").write_text("precious")
    bari.wait()
    away = bari.root.with_name("away")
    bari.root.rename(away)
    bari.root.mkdir()  # an empty mount point
    await_condition(
        lambda: any(each["subject"] == "disk" for each in bari.status()["problems"]),
        "the status says that the root is lost",
    )
    (paris.root / "meanwhile").write_text("goes on")
    paris.must("sync", "--timeout", "60")
    assert paris.tree()["file"] == b"precious"
    assert list(bari.root.iterdir()) == []
    bari.root.rmdir()
    (away / "while it was away").write_text("is captured later")
    away.rename(bari.root)
    await_same(two_sites)
    assert paris.tree()["while it was away"] == b"is captured later"
    await_condition(lambda: not bari.status()["problems"], "no problem is left")
    (bari.root / "afterwards").write_text("is noticed as ever")
    await_same(two_sites)
    assert "afterwards" in paris.tree()


def test_a_queue_of_events_that_overflows_leads_to_convergence_all_the_same(two_sites) -> None:
    bari, paris = two_sites
    events_max = int(QUEUED_EVENTS_MAX.read_text())
    bari.daemon.send_signal(signal.SIGSTOP)
    for number in range(events_max // 2):  # each makes at least three events
        path = bari.root / f"short-lived {number % 2}"
        path.touch()
        path.unlink()
    (bari.root / "after the overflow" / "below").mkdir(parents=True)
    (bari.root / "after the overflow" / "below" / "file").write_text("no event tells of me")
    bari.daemon.send_signal(signal.SIGCONT)
    await_condition(
        lambda: bari.status()["daemon"]["watcher"]["overflow_count"] > 0, "the queue overflows"
    )
    await_same(two_sites)
    assert paris.tree()["after the overflow/below/file"] == b"no event tells of me"


def test_a_store_that_goes_away_stops_nothing_and_what_was_captured_follows(
    two_sites, tmp_path
) -> None:
    bari, _ = two_sites
    store, away = tmp_path / "store", tmp_path / "store is away"
    store.rename(away)
    (bari.root / "file").write_text("captured without a store")
    await_condition(lambda: bari.status()["to_publish"]["operations"] > 0, "it is captured")
    assert [each["subject"] for each in bari.status()["problems"]] == ["store"]
    bari.kill()
    bari.start()  # also without a store
    away.rename(store)
    await_same(two_sites)
    await_condition(lambda: not bari.status()["problems"], "no problem is left")
