"""HTTP of real daemons: what changes something, who may, waiting, tokens, and events."""

from __future__ import annotations

import http.client
import importlib.util
import json
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from geosync.http.routes import ROUTES
from tests.support.await_condition import await_condition
from tests.support.http_client import TIMEOUT_S, Response, ask
from tests.support.real_site import RealSite, directory_store

LISTEN = "127.0.0.1:0"
RECIPES = Path(__file__).parents[2] / "recipes" / "load-balancer"
FILES_OF_A_BRAKE = 150


def _recipe() -> Any:
    path = RECIPES / "read_your_writes.py"
    found = importlib.util.spec_from_file_location("read_your_writes", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


recipe = _recipe()


@dataclass(frozen=True)
class Served:
    """A site with the address and the token of its HTTP server."""

    site: RealSite
    address: str
    token: str

    def get(self, path: str) -> Response:
        """Asks without the token."""
        return ask(self.address, path)

    def post(self, path: str, value: Any, **headers: str) -> Response:
        """Sends JSON with the token."""
        known = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        body = json.dumps(value).encode()
        return ask(self.address, path, method="POST", headers=known | headers, body=body)


def _served(site: RealSite) -> Served:
    shown = json.loads(site.must("status", "--http", "--json"))
    return Served(site, shown["url"].removeprefix("http://").rstrip("/"), shown["token"])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    """Two daemons of one volume, both with HTTP."""
    base = tmp_path_factory.mktemp("actions")
    store = directory_store(base / "store")
    sites = [RealSite(base / name, name, store, listen=LISTEN) for name in ("bari", "rome")]
    try:
        for site in sites:
            site.start()
        bari, rome = map(_served, sites)
        yield bari, rome
    finally:
        for site in sites:
            site.kill()


def _make_conflict(bari: Served, rome: Served, name: str) -> dict[str, Any]:
    """Lets both sites write a file of one name that the other has not seen."""
    (rome.site.root / name).write_bytes(b"of rome, long")
    (bari.site.root / name).write_bytes(b"of bari")
    found: list[Any] = []

    def is_there() -> bool:
        found[:] = [each for each in bari.get("/v1/conflicts").json() if each["path"] == name]
        return bool(found)

    await_condition(is_there, f"a conflict about {name}")
    conflict: dict[str, Any] = found[0]
    return conflict


def test_the_token_is_for_its_owner_only_and_stays(pair: tuple[Served, Served]) -> None:
    bari, rome = pair
    file = bari.site.state_dir / "http-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() == bari.token
    assert bari.token != rome.token
    shown = bari.site.must("status", "--http")
    assert shown == f"page   http://{bari.address}/\ntoken  {bari.token}\n"


def test_conflicts_are_listed_as_the_command_does_and_settled_with_the_token(
    pair: tuple[Served, Served],
) -> None:
    bari, rome = pair
    conflict = _make_conflict(bari, rome, "settled")
    listed = bari.get("/v1/conflicts").json()
    assert listed == bari.site.conflicts()
    compared = bari.post("/v1/conflicts/diff", {"id": conflict["id"]}).json()
    assert [line[:2] for line in compared["lines"]][:3] == ["--", "++", "@@"]
    assert compared["left_out"] == 0
    wrong = bari.post("/v1/conflicts/diff", {"id": conflict["id"], "from": "--config"})
    assert (wrong.status, "versions are" in wrong.json()["error"]) == (400, True)
    settled = bari.post("/v1/conflicts/resolve", {"id": conflict["id"], "take": "winner"})
    assert (settled.status, settled.json()) == (200, conflict)
    await_condition(lambda: rome.get("/v1/conflicts").json() == [], "it is settled at both sites")
    again = bari.post("/v1/conflicts/resolve", {"id": conflict["id"], "take": "winner"})
    assert (again.status, "error" in again.json()) == (409, True)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/conflicts/diff",
        "/v1/conflicts/resolve",
        "/v1/brakes/decide",
        "/v1/sync",
        "/v1/token",
        "/v1/wait",
    ],
)
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer x"}, 403),
        ({"Authorization": "Basic x"}, 401),
    ],
)
def test_nothing_is_done_without_the_token(
    pair: tuple[Served, Served], path: str, sent: dict[str, str], status: int
) -> None:
    answer = ask(pair[0].address, path, method="POST", headers=sent, body=b"")
    assert answer.status == status
    assert "geosync status --http" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"},
                {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
                {"Host": "evil.example"}]
)  # fmt: skip
def test_even_with_the_token_no_other_web_site_may_act(
    pair: tuple[Served, Served], headers: dict[str, str]
) -> None:
    assert pair[0].post("/v1/sync", {}, **headers).status in {403, 421}


def test_malformed_requests_are_told_what_is_expected(pair: tuple[Served, Served]) -> None:
    bari, _ = pair
    resolve = "/v1/conflicts/resolve"
    assert bari.post(resolve, {"id": "x"}).status == 400
    assert bari.post(resolve, {"id": 7, "take": "winner"}).status == 400
    assert bari.post(resolve, {"id": "x", "take": "all"}).status == 400
    assert bari.post(resolve, ["x"]).status == 400
    assert bari.post(resolve, {"id": "x", "take": "winner", "why": 1}).status == 400
    assert bari.post(resolve, {"id": "x", "take": "winner"}).status == 409
    assert bari.post(resolve, {}, **{"Content-Type": "text/plain"}).status == 415
    assert bari.post(resolve, {"id": "x" * 100_000, "take": "winner"}).status == 413
    assert bari.post("/v1/sync", {"timeout_s": "soon"}).status == 400
    assert bari.post("/v1/wait", {"sites": ["nowhere"]}).status == 400
    assert bari.get("/v1/wait?token=1.x-5").status == 400
    assert bari.get("/v1/wait?token=1&timeout=61").status == 400


def test_a_token_of_one_site_is_waited_for_at_another_which_then_has_what_was_written(
    pair: tuple[Served, Served],
) -> None:
    bari, rome = pair
    for number in range(5):
        (bari.site.root / "own").write_bytes(b"write %d" % number)
        made = bari.post("/v1/token", {})
        assert (made.status, made.json()["is_captured"]) == (200, True)
        waited = rome.get(f"/v1/wait?token={made.json()['token']}")
        assert (waited.status, waited.json()["is_done"]) == (200, True), waited
        assert (rome.site.root / "own").read_bytes() == b"write %d" % number


def test_tokens_of_the_commands_are_those_of_http(pair: tuple[Served, Served]) -> None:
    bari, rome = pair
    (bari.site.root / "by command").write_bytes(b"x")
    token = bari.site.must("token").strip()
    assert rome.get(f"/v1/wait?token={token}").status == 200
    assert (rome.site.root / "by command").read_bytes() == b"x"
    assert rome.site.must("wait", "--token", token) == "applied at this site\n"
    (bari.site.root / "by command").write_bytes(b"y")
    token = json.loads(bari.site.must("token", "--json"))["token"]
    assert json.loads(rome.site.must("wait", "--json", "--token", token))["is_done"] is True
    assert (rome.site.root / "by command").read_bytes() == b"y"
    unknown = f"1.{'ab' * 16}-7"
    late = rome.site.run("wait", "--token", unknown, "--timeout", "0.1")
    assert (late.returncode, "timed out" in late.stderr) == (4, True)
    assert rome.site.run("wait", "--token", "nonsense").returncode == 2
    assert rome.site.run("wait", "--token", token, "--site", "bari").returncode == 2


def test_a_token_of_what_nobody_wrote_is_waited_for_in_vain_and_others_are_served_meanwhile(
    pair: tuple[Served, Served],
) -> None:
    bari, _ = pair
    waited = bari.get(f"/v1/wait?token=1.{'ab' * 16}-7&timeout=0.2")
    assert (waited.status, waited.json()["is_done"]) == (503, False)


def test_waiting_for_other_sites_is_what_the_command_does(pair: tuple[Served, Served]) -> None:
    bari, rome = pair
    (bari.site.root / "for rome").write_bytes(b"x")
    waited = bari.post("/v1/wait", {"sites": ["rome"]})
    assert waited.status == 200
    assert (rome.site.root / "for rome").read_bytes() == b"x"
    assert waited.json().keys() == json.loads(bari.site.must("wait", "--json")).keys()


def test_sync_tells_how_far_all_is(pair: tuple[Served, Served]) -> None:
    progress = pair[0].post("/v1/sync", {}).json()
    assert (progress["is_captured"], progress["is_settled"]) == (True, True)


@contextmanager
def _events(served: Served) -> Iterator[Iterator[tuple[str, Any]]]:
    connection = http.client.HTTPConnection(served.address, timeout=TIMEOUT_S)
    connection.request("GET", "/v1/events")
    answer = connection.getresponse()
    assert answer.getheader("content-type", "").startswith("text/event-stream")

    def read() -> Iterator[tuple[str, Any]]:
        name = ""
        while line := answer.readline().decode().rstrip("\n"):
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))
                answer.readline()
            else:
                answer.readline()

    try:
        yield read()
    finally:
        connection.close()


def test_events_tell_the_status_first_and_then_what_changes(pair: tuple[Served, Served]) -> None:
    bari, rome = pair
    with _events(bari) as events:
        seen = dict([next(events), next(events), next(events)])
        assert seen.keys() == {"status", "conflicts", "problems"}
        assert seen["status"].keys() == bari.site.status().keys()
        conflict = _make_conflict(bari, rome, "told")
        told = next(value for name, value in events if name == "conflicts")
        assert [each["id"] for each in told] == [conflict["id"]]
        bari.post("/v1/conflicts/resolve", {"id": conflict["id"], "take": "loser"})
        assert next(value for name, value in events if name == "conflicts") == []


def test_readers_of_events_are_limited_and_those_that_leave_make_room(
    pair: tuple[Served, Served],
) -> None:
    bari, _ = pair
    readers = [http.client.HTTPConnection(bari.address, timeout=TIMEOUT_S) for _ in range(17)]
    statuses = []
    for each in readers:
        each.request("GET", "/v1/events")
        answer = each.getresponse()
        statuses.append(answer.status)
        if answer.status == 200:
            answer.readline()
    assert statuses == [200] * 16 + [503]
    assert bari.get("/live").status == 200
    for each in readers:
        each.close()

    def is_room() -> bool:
        reader = http.client.HTTPConnection(bari.address, timeout=TIMEOUT_S)
        reader.request("GET", "/v1/events")
        status = reader.getresponse().status
        reader.close()
        return status == 200

    await_condition(is_room, "there is room again")


def test_the_form_of_the_page_settles_a_conflict_and_says_why_it_did_not(
    pair: tuple[Served, Served],
) -> None:
    bari, rome = pair
    conflict = _make_conflict(bari, rome, "by form")

    def send(token: str) -> Response:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        body = f"token={token}&act=conflict+both+{conflict['id']}".encode()
        return ask(bari.address, "/act", method="POST", headers=form, body=body)

    refused = send("wrong")
    assert (refused.status, b"that is not the token" in refused.body) == (403, True)
    assert send("").status == 401
    done = send(bari.token)
    assert (done.status, done.headers["location"]) == (303, "/")
    await_condition(lambda: bari.get("/v1/conflicts").json() == [], "the conflict is settled")


def test_a_brake_keeps_traffic_away_until_it_is_decided_by_a_program_or_the_form(
    pair: tuple[Served, Served],
) -> None:
    bari, rome = pair
    directory = bari.site.root / "archive"
    directory.mkdir()
    for number in range(FILES_OF_A_BRAKE):
        (directory / f"page-{number}").write_bytes(b"page %d" % number)
    bari.site.wait()
    before = bari.site.tree()
    await_condition(lambda: rome.site.tree() == before, "rome has it too")

    def removed() -> dict[str, Any]:
        shutil.rmtree(directory)
        await_condition(lambda: len(bari.get("/v1/brakes").json()) == 1, "a brake holds it")
        brake: dict[str, Any] = bari.get("/v1/brakes").json()[0]
        return brake

    brake = removed()
    listed = json.loads(bari.site.run("brake", "list", "--json").stdout)
    assert [each["id"] for each in listed] == [brake["id"]]
    assert listed[0].keys() == brake.keys()
    await_condition(lambda: b"brake" in bari.get("/ready").body, "the site gets no traffic")
    assert f"brake reject {brake['id']}".encode() in bari.get("/").body
    wrong = bari.post("/v1/brakes/decide", {"id": brake["id"], "verdict": "maybe"})
    assert wrong.status == 400
    rejected = bari.post("/v1/brakes/decide", {"id": brake["id"], "verdict": "rejected"})
    assert (rejected.status, rejected.json()["id"]) == (200, brake["id"])
    await_condition(lambda: bari.site.tree() == before, "the files are as they were")
    await_condition(lambda: bari.get("/ready").status == 200, "the site gets traffic again")

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"token={bari.token}&act=brake+approve+{removed()['id']}".encode()
    assert ask(bari.address, "/act", method="POST", headers=form, body=body).status == 303
    await_condition(lambda: not (rome.site.root / "archive").exists(), "it is done at all sites")


def test_the_description_names_exactly_what_is_served(pair: tuple[Served, Served]) -> None:
    described = pair[0].get("/v1/openapi.json").json()
    paths = {(path, method) for path, methods in described["paths"].items() for method in methods}
    for_programs = {
        (route.path, route.method.lower())
        for route in ROUTES
        if route.path.startswith(("/v1/", "/live", "/ready", "/metrics"))
    }
    assert paths == for_programs
    for path, method in paths:
        operation = described["paths"][path][method]
        assert ("security" in operation) == (method == "post")
        assert operation["responses"]["200"]


def test_a_daemon_ends_at_once_whoever_listens_or_waits(tmp_path: Path) -> None:
    site = RealSite(tmp_path / "bari", "bari", directory_store(tmp_path / "s"), listen=LISTEN)
    try:
        site.start()
        served = _served(site)
        waiting = http.client.HTTPConnection(served.address, timeout=TIMEOUT_S)
        with _events(served) as events, closing(waiting):
            next(events)
            waiting.request("GET", f"/v1/wait?token=1.{'ab' * 16}-7&timeout=60")
            assert site.stop() == 0
    finally:
        site.kill()


# The example for applications and load balancers


def test_an_application_reads_elsewhere_what_it_has_written(pair: tuple[Served, Served]) -> None:
    bari, rome = pair
    (bari.site.root / "written").write_text("at bari")
    token = recipe.token_of_what_was_written(bari.address, bari.token)
    assert recipe.has_arrived(rome.address, token, timeout_s=60)
    assert (rome.site.root / "written").read_text() == "at bari"


def test_the_same_goes_through_the_socket_without_http(pair: tuple[Served, Served]) -> None:
    bari, rome = pair
    (bari.site.root / "by socket").write_text("at bari")
    state_dir = str(bari.site.state_dir)
    captured = recipe.ask_socket(state_dir, "sync", {"until": "captured", "timeout_s": 20})
    asked = {"barrier": captured["barrier"], "sites": ["rome"], "timeout_s": 20}
    assert recipe.ask_socket(state_dir, "wait", asked)["is_done"] is True
    assert (rome.site.root / "by socket").exists()
    with pytest.raises(RuntimeError, match="knows no command"):
        recipe.ask_socket(state_dir, "nonsense", {})


def test_haproxy_takes_its_example_and_the_health_check_in_it_is_answered(
    pair: tuple[Served, Served],
) -> None:
    example = RECIPES / "haproxy.cfg"
    checks = re.findall(r"http-check send meth GET uri (\S+) ver HTTP/1.1 hdr Host (\S+)",
                        example.read_text())  # fmt: skip
    assert len(checks) == 2
    for path, host in checks:
        answer = ask(pair[0].address, path, headers={"Host": host})
        assert (answer.status, answer.body[:5]) == (200, b"ready")
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is missing: apt-get install haproxy")
    checked = subprocess.run(["haproxy", "-c", "-f", example], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
