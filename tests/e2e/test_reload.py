"""A running daemon takes in its configuration again, or refuses it and goes on as before."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, directory_store


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RealSite]:
    site = RealSite(tmp_path / "bari", "bari", directory_store(tmp_path / "store"))
    yield site
    site.kill()


def _add(site: RealSite, text: str) -> None:
    site.configuration.write_text(site.configuration.read_text() + text)


def _received(manager: socket.socket) -> list[str]:
    """Returns what the service manager has got so far, without its watchdog and status lines."""
    found: list[str] = []
    manager.setblocking(False)
    while True:
        try:
            lines = manager.recv(4096).decode().splitlines()
        except BlockingIOError:
            return found
        found += [line for line in lines if not line.startswith(("STATUS=", "WATCHDOG="))]


def test_what_the_file_says_now_counts_and_the_site_stays_ready(
    site: RealSite, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        site.start({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        process = site.daemon.pid
        lag_before = site.status()["daemon"]["lag_s"]
        assert lag_before is not None
        assert _received(manager)[-1] == "READY=1"
        _add(site, f'\n[[hook]]\non = ["arrived"]\ncommand = ["{sys.executable}"]\n')
        text = site.configuration.read_text().replace("volume =", 'drift = "revert"\nvolume =', 1)
        site.configuration.write_text(text)
        assert json.loads(site.must("reload", "--json")) == {"changed": ["drift", "hooks"]}
        told: list[str] = []

        def is_told() -> bool:
            told.extend(_received(manager))
            return told[-1:] == ["READY=1"]

        await_condition(is_told, "the service manager hears of it")
        assert told[0] == "RELOADING=1"
        assert told[1].startswith("MONOTONIC_USEC=")
    status = site.status()
    assert status["daemon"]["process_id"] == process
    assert status["daemon"]["lag_s"] is not None
    (site.root / "after").write_text("the daemon works")
    site.must("sync", "--timeout", "60")
    assert site.status()["entries"] == 1


def test_a_client_that_waits_is_not_cut_off_by_a_signal_that_reloads(
    site: RealSite, tmp_path: Path
) -> None:
    rome = RealSite(tmp_path / "rome", "rome", directory_store(tmp_path / "store"))
    site.start()
    rome.must("sync", "--timeout", "60")
    await_condition(lambda: site.status()["sites"], "they hear of each other")
    (site.root / "file").write_text("for rome")
    command = ["wait", "--timeout", "60", "--config", str(site.configuration)]
    waiting = subprocess.Popen([sys.executable, "-m", "geosync", *command])
    await_condition(lambda: site.status()["sites"][0]["operations_it_lacks"], "rome lacks it")
    for count in (1, 2):
        site.daemon.send_signal(signal.SIGHUP)
        await_condition(
            lambda count=count: site.log_text().count("event=configuration_reloaded") == count,
            "the file is taken in",
        )
    assert waiting.poll() is None
    rome.must("sync", "--timeout", "60")
    assert waiting.wait(60) == 0


def test_what_is_wrong_or_wants_a_restart_is_refused_and_the_daemon_goes_on(
    site: RealSite, tmp_path: Path
) -> None:
    site.start()
    before = site.configuration.read_text()
    site.configuration.write_text(before.replace("poll_idle_ms = 300", "poll_idle_ms = 7"))
    refused = site.run("reload")
    assert refused.returncode == 2
    assert "poll_idle_ms" in refused.stderr
    site.daemon.send_signal(signal.SIGHUP)
    await_condition(lambda: "event=reload_refused" in site.log_text(), "the log says so")
    assert "to_do=" in site.log_text()
    other = tmp_path / "elsewhere"
    other.mkdir()
    site.configuration.write_text(before.replace(f'"{site.root}"', f'"{other}"'))
    refused = site.run("reload")
    assert refused.returncode == 2
    assert "root can't change while the daemon runs" in refused.stderr
    assert os.listdir(other) == []
    assert site.status()["root"] == str(site.root)
    site.configuration.write_text(before)
    assert "nothing in the file" in site.must("reload")
    assert site.status()["daemon"]["process_id"] == site.daemon.pid


def test_without_a_daemon_there_is_nothing_to_reload(site: RealSite) -> None:
    assert site.run("reload").returncode == 5
