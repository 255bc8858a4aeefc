"""HTTP of a real daemon: what health checks, programs and monitoring systems are answered."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.http_client import ask
from tests.support.real_site import RealSite, directory_store

LISTEN = "127.0.0.1:0"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSite]:
    """A daemon that serves HTTP, for all tests that do not stop it."""
    base = tmp_path_factory.mktemp("http")
    site = RealSite(base / "bari", "bari", directory_store(base / "store"), listen=LISTEN)
    site.start()
    yield site
    site.kill()


@pytest.fixture(scope="module")
def address(site: RealSite) -> str:
    """Where it listens."""
    return str(site.status()["daemon"]["http_address"])


def test_live_and_ready_say_yes(address: str) -> None:
    assert ask(address, "/live").body == b"live\n"
    await_condition(lambda: ask(address, "/ready").status == 200, "the site becomes ready")
    assert ask(address, "/ready").body.startswith(b"ready: ")


def test_ready_says_no_with_a_reason_in_text_or_json(address: str) -> None:
    answer = ask(address, "/ready?max_lag=0")
    assert answer.status == 503
    assert answer.body.startswith(b"not ready: what the other sites wrote in the last ")
    answer = ask(address, "/ready?max_lag=0s", headers={"Accept": "application/json"})
    assert answer.status == 503
    found = answer.json()
    assert (found["is_ready"], found["max_lag_s"], len(found["reasons"])) == (False, 0, 1)


@pytest.mark.parametrize("value", ["", "x", "-1", "inf", "nan"])
def test_a_wrong_max_lag_is_told(address: str, value: str) -> None:
    answer = ask(address, f"/ready?max_lag={value}")
    assert (answer.status, b"max_lag is a number of seconds" in answer.body) == (400, True)


def test_the_status_has_the_keys_of_the_command(site: RealSite, address: str) -> None:
    assert ask(address, "/v1/status").json().keys() == site.status().keys()


def test_metrics_are_those_of_this_process_and_site(address: str) -> None:
    answer = ask(address, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    text = answer.body.decode()
    assert 'site="bari"' in text
    assert "\nprocess_resident_memory_bytes " in text
    (size,) = [line for line in text.splitlines() if line.startswith("geosync_journal_bytes ")]
    assert float(size.split()[1]) > 4096


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/v1/no", 404),
                                   ("DELETE", "/live", 405), ("POST", "/v1/status", 405)]
)  # fmt: skip
def test_what_is_not_there_is_said(address: str, method: str, path: str, status: int) -> None:
    answer = ask(address, path, method=method)
    assert answer.status == status
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.nip.io"])
def test_another_name_is_refused_as_it_may_be_a_web_site_that_points_here(
    address: str, host: str
) -> None:
    answer = ask(address, "/v1/status", headers={"Host": host})
    assert (answer.status, b"is not called" in answer.body) == (421, True)


@pytest.mark.parametrize("host", ["localhost:9", "LOCALHOST", "[::1]:80", "10.1.2.3"])
def test_addresses_and_own_names_are_answered(address: str, host: str) -> None:
    assert ask(address, "/live", headers={"Host": host}).status == 200


def test_a_health_check_in_http_1_0_is_answered_as_load_balancers_send_it(address: str) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as balancer:
        balancer.sendall(b"GET /live HTTP/1.0\r\n\r\n")
        assert balancer.makefile("rb").read().endswith(b"\r\n\r\nlive\n")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_what_another_web_site_makes_a_browser_ask_is_refused(
    address: str, headers: dict[str, str]
) -> None:
    answer = ask(address, "/v1/status", headers=headers)
    assert (answer.status, b"another web site" in answer.body) == (403, True)


def test_connections_that_say_nothing_or_nonsense_disturb_nobody(address: str) -> None:
    host, _, port = address.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(40)]
    with socket.create_connection((host, int(port))) as nonsense:
        nonsense.sendall(b"\x00\xff GET\r\n\r\n")
        assert nonsense.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection((host, int(port))) as long:
        long.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000)
        assert long.recv(100).startswith(b"HTTP/1.1 4")
    assert ask(address, "/live").status == 200
    for each in silent:
        each.close()


def test_more_connections_than_are_allowed_are_cut_and_the_daemon_goes_on(
    site: RealSite, address: str
) -> None:
    host, _, port = address.rpartition(":")
    many = [socket.create_connection((host, int(port))) for _ in range(100)]

    def is_served() -> bool:
        try:
            return ask(address, "/live").status == 200
        except (OSError, http.client.HTTPException):
            return False

    (site.root / "meanwhile").write_bytes(b"x")
    await_condition(lambda: site.status()["entries"] > 0, "changes are captured meanwhile")
    for each in many:
        each.close()
    await_condition(is_served, "others are served again")


def test_a_second_daemon_on_the_same_port_goes_on_without_http_and_says_what_to_do(
    address: str, tmp_path: Path
) -> None:
    store = directory_store(tmp_path / "store")
    second = RealSite(tmp_path / "rome", "rome", store, volume="other", listen=address)
    try:
        second.start()
        status = second.status()
        (problem,) = status["problems"]
        assert problem["subject"] == "http"
        assert problem["text"].startswith(f"cannot listen on {address}: Address already in use.")
        assert "give each its own `listen`" in problem["text"]
        assert status["daemon"]["http_address"] == ""
        assert "event=http_not_served" in second.log_text()
        (second.root / "file").write_bytes(b"x")
        await_condition(lambda: second.status()["entries"] == 1, "the site is kept in sync")
        site_without = second.configuration.read_text().replace(address, "")
        second.stop()
        second.configuration.write_text(site_without)
        second.start()
        assert second.status()["problems"] == []
    finally:
        second.kill()


def test_an_address_that_others_reach_is_announced_loudly(tmp_path: Path) -> None:
    store = directory_store(tmp_path / "store")
    site = RealSite(tmp_path / "bari", "bari", store, listen="0.0.0.0:0")
    try:
        site.spawn()
        loud = "level=warning event=http_open_to_the_network"
        await_condition(lambda: loud in site.log_text(), "it is announced")
    finally:
        site.kill()


def test_lags_are_told_while_a_site_or_the_store_is_gone_and_are_over_when_it_is_back(
    tmp_path: Path,
) -> None:
    store = directory_store(tmp_path / "store")
    bari = RealSite(tmp_path / "bari", "bari", store, listen=LISTEN)
    rome = RealSite(tmp_path / "rome", "rome", store)
    try:
        bari.start()
        rome.start()
        address = bari.status()["daemon"]["http_address"]

        def peer_lag_s() -> float:
            text = ask(address, "/metrics").body.decode()
            found = re.search(r'^geosync_peer_lag_seconds{peer="rome"} (.+)$', text, re.MULTILINE)
            return -1.0 if found is None else float(found[1])

        await_condition(lambda: peer_lag_s() == 0, "the other site has everything")
        rome.stop()
        (bari.root / "file").write_bytes(b"x")
        await_condition(lambda: peer_lag_s() > 1, "the other site falls behind")
        os.rename(tmp_path / "store", tmp_path / "away")
        await_condition(
            lambda: b"; the store: " in ask(address, "/ready?max_lag=1").body,
            "the site is not ready",
        )
        assert ask(address, "/ready?max_lag=1").status == 503
        code, line = _check(bari, "-c", "lag=1")
        assert (code, "behind" in line) == (2, True)
        os.rename(tmp_path / "away", tmp_path / "store")
        await_condition(lambda: ask(address, "/ready?max_lag=1").status == 200, "it is ready again")
        rome.spawn()
        await_condition(lambda: peer_lag_s() == 0, "the other site has caught up")
    finally:
        bari.kill()
        rome.kill()


def _check(site: RealSite, *words: str) -> tuple[int, str]:
    done: subprocess.CompletedProcess[str] = site.run("check", *words)
    assert done.stdout.count("\n") == 1, done
    return done.returncode, done.stdout


def test_check_follows_the_conventions_of_monitoring_plugins(site: RealSite) -> None:
    await_condition(lambda: _check(site)[0] == 0, "the site is well")
    assert _check(site)[1].startswith("GEOSYNC OK - bari of volume files: ")
    code, line = _check(site, "-w", "lag=0")
    assert (code, line.split(" - ")[0]) == (1, "GEOSYNC WARNING")
    code, line = _check(site, "--critical", "lag=0,waiting=5")
    assert (code, line.split(" - ")[0]) == (2, "GEOSYNC CRITICAL")
    code, line = _check(site, "-w", "size=1")
    assert (code, line.split(" - ")[0]) == (3, "GEOSYNC UNKNOWN")
    assert site.run("check", "--no-such-option").returncode == 3


def test_check_is_critical_without_a_daemon_and_unknown_without_a_configuration(
    tmp_path: Path,
) -> None:
    site = RealSite(tmp_path / "bari", "bari", directory_store(tmp_path / "store"))
    code, line = _check(site)
    assert (code, line.split(" - ")[0]) == (2, "GEOSYNC CRITICAL")
    assert "no daemon answers" in line
    site.configuration.unlink()
    code, line = _check(site)
    assert (code, line.split(" - ")[0]) == (3, "GEOSYNC UNKNOWN")


def test_json_is_valid_for_every_answer_under_v1(address: str) -> None:
    assert json.loads(ask(address, "/v1/nothing").body)["error"]
