"""Parts of the HTTP server that need no socket: the token's file, the gate, events, tokens."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace

import pytest

from geosync.errors import OperatorError
from geosync.http.access import Gate, is_loopback, load_token, server_names
from geosync.http.events import Events, encode_event
from geosync.http.exchange import Request, RequestRefused
from geosync.reporting.status import StatusProblem
from geosync.reporting.written_token import barrier_of, token_of
from tests.support.sample_status import DAEMON, TAKEN_AT_MS, peer, sample_status
from transport.object_store import StoreCounters

ACTORS = ["0123456789abcdef" * 2, "ff" * 16]


@pytest.fixture
def state_dir(tmp_path):
    return os.fsencode(tmp_path)


def test_a_token_is_made_once_for_its_owner_only(state_dir, tmp_path):
    before = os.umask(0)
    try:
        token = load_token(state_dir)
    finally:
        os.umask(before)
    file = tmp_path / "http-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(token) >= 43
    assert load_token(state_dir) == token
    assert [each.name for each in tmp_path.iterdir()] == ["http-token"]


def test_what_a_crash_left_is_written_anew(state_dir, tmp_path):
    (tmp_path / "http-token.new").write_text("half")
    assert load_token(state_dir) != "half"


@pytest.mark.parametrize(
    ("content", "mode", "text"), [("x" * 43, 0o640, "has the mode 0640"), ("", 0o600, "no token")]
)
def test_a_token_that_others_may_know_or_that_is_none_is_refused(
    state_dir, tmp_path, content, mode, text
):
    file = tmp_path / "http-token"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(OperatorError, match=text):
        load_token(state_dir)


def test_a_symlink_in_place_of_the_token_is_not_followed(state_dir, tmp_path):
    secret = tmp_path / "elsewhere"
    secret.write_text("x" * 43)
    secret.chmod(0o600)
    (tmp_path / "http-token").symlink_to(secret)
    with pytest.raises(OperatorError, match="cannot use the token"):
        load_token(state_dir)


def test_names_from_the_configuration_are_answered_in_any_case():
    gate = Gate("t", server_names(["Files.example.org"]))
    for host in ("files.example.org", "FILES.EXAMPLE.ORG:8484", "localhost", "[fe80::1]:1"):
        gate.check(Request("GET", "/", headers={"host": host}))
    for host in ("example.org", "files.example.org.evil.test", "", "localhost@evil.test"):
        with pytest.raises(RequestRefused):
            gate.check(Request("GET", "/", headers={"host": host}))


def test_a_health_check_without_a_host_is_answered_and_a_page_without_one_is_not():
    gate = Gate("t", server_names([]))
    gate.check(Request("GET", "/ready"))
    with pytest.raises(RequestRefused):
        gate.check(Request("GET", "/ready", headers={"origin": "http://evil.test"}))


def test_a_page_that_was_followed_from_another_web_site_is_shown_and_no_more():
    gate = Gate("t", server_names([]))
    followed = {"host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    gate.check(Request("GET", "/", headers=followed))
    with pytest.raises(RequestRefused):
        gate.check(Request("POST", "/act", headers=followed))


@pytest.mark.parametrize(
    ("host", "answer"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("files", False)],
)  # fmt: skip
def test_only_loopback_is_loopback(host, answer):
    assert is_loopback(host) is answer


def _names(events, status, now_ms=TAKEN_AT_MS):
    return [name for name, _ in events.news(status, now_ms)]


def test_ages_and_counters_alone_are_no_news():
    events = Events()
    status = sample_status(sites=(peer("rome"),))
    assert _names(events, status) == ["status", "conflicts", "problems"]
    assert _names(events, status) == []
    busy = replace(DAEMON, store=StoreCounters(99, 1, 1), lag_s=7.0)
    later = replace(status, taken_at_ms=TAKEN_AT_MS + 5000, daemon=busy)
    assert _names(events, later, TAKEN_AT_MS + 9000) == []


def test_each_kind_of_news_comes_when_it_changed():
    events = Events()
    _names(events, sample_status())
    problems = (StatusProblem("disk", 0, "full"),)
    assert _names(events, sample_status(problems=problems)) == ["status", "problems"]
    shown = replace(DAEMON, conflicts_shown=({"id": "a"},))
    found = dict(events.news(sample_status(problems=problems, daemon=shown), TAKEN_AT_MS))
    assert found == {"conflicts": [{"id": "a"}]}
    assert _names(events, None) == []


def test_an_event_is_one_line_of_data_whatever_it_holds():
    event = encode_event("status", {"path": "a\nevent: forged\n\n\u2028"})
    lines = event.decode().split("\n")
    assert lines[0] == "event: status"
    assert json.loads(lines[1].removeprefix("data: ")) == {"path": "a\nevent: forged\n\n\u2028"}
    assert lines[2:] == ["", ""]


@pytest.mark.parametrize("barrier", [{}, {ACTORS[0]: 7}, {ACTORS[1]: 1, ACTORS[0]: 2**62}])
def test_a_token_names_its_barrier_and_needs_no_quoting_in_a_url(barrier):
    token = token_of(barrier)
    assert barrier_of(token) == barrier
    assert set(token) <= set("0123456789abcdef-.")


@pytest.mark.parametrize(
    "token", ["", "2", "1.", f"1.{ACTORS[0]}", f"1.{ACTORS[0]}-", f"1.{ACTORS[0]}-x", "1." * 9000]
)
def test_what_is_no_token_is_refused(token):
    with pytest.raises(OperatorError, match="is no token"):
        barrier_of(token)
