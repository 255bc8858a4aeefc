"""Real daemons run real programs when something has happened, and tell when these fail."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, directory_store

RECIPES = Path(__file__).parents[2] / "recipes" / "hooks"


def hook(on: str, command: list[str], **more: str | int) -> str:
    lines = [f'[[hook]]\non = ["{on}"]\ncommand = {json.dumps(command)}\nwait_s = 0\n']
    lines += [f"{key} = {json.dumps(value)}\n" for key, value in more.items()]
    return "".join(lines)


@contextmanager
def pair(directory: Path, hooks: str) -> Iterator[tuple[RealSite, RealSite]]:
    """Two sites that run; the second one has the hooks."""
    store = directory_store(directory / "store")
    bari = RealSite(directory / "bari", "bari", store)
    cnaf = RealSite(directory / "cnaf", "cnaf", store, tuning=hooks)
    try:
        bari.start()
        cnaf.start()
        yield bari, cnaf
    finally:
        bari.kill()
        cnaf.kill()


def test_programs_hear_of_what_arrived_and_of_conflicts_that_come_and_go(tmp_path: Path) -> None:
    arrived, told = tmp_path / "arrived", tmp_path / "told"
    append = ["/bin/sh", "-c", f"cat >> {told}"]
    hooks = hook("arrived", ["/bin/sh", "-c", f"cat >> {arrived}"])
    hooks += hook("conflict", append, input="json") + hook("settled", append, input="json")
    with pair(tmp_path, hooks) as (bari, cnaf):
        (bari.root / "file").write_text("first")
        await_same([bari, cnaf])
        await_condition(
            lambda: arrived.exists() and b"file\0" in arrived.read_bytes(), "it is told"
        )
        bari.stop()
        (bari.root / "file").write_text("of bari")
        (cnaf.root / "file").write_text("of cnaf")
        cnaf.must("sync")
        bari.start()
        await_condition(lambda: len(cnaf.conflicts()) == 1, "the conflict is there")
        await_condition(lambda: told.exists() and told.read_bytes().endswith(b"\n"), "it is told")
        (conflict,) = cnaf.conflicts()
        cnaf.must("conflicts", "resolve", conflict["id"], "--take", "winner")
        await_condition(lambda: len(told.read_text().splitlines()) == 2, "its end is told")
        came, went = map(json.loads, told.read_text().splitlines())
        assert (came["occasion"], went["occasion"]) == ("conflict", "settled")
        assert came["occurrences"] == went["occurrences"]
        assert came["occurrences"][0]["conflict"] == conflict["id"]
        assert came["occurrences"][0]["path"] == "file"


def test_a_program_that_fails_is_a_problem_until_it_works(tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    hooks = hook("arrived", ["/bin/ls", str(switch)], attempts=1)
    with pair(tmp_path, hooks) as (bari, cnaf):
        (bari.root / "one").write_text("1")
        await_condition(lambda: bool(problems(cnaf)), "the failure is told")
        assert "/bin/ls was run 1 times" in problems(cnaf)[0]
        assert "No such file" in problems(cnaf)[0]
        switch.touch()
        (bari.root / "two").write_text("2")
        await_condition(lambda: not problems(cnaf), "the failure is over")


def problems(site: RealSite) -> list[str]:
    return [each["text"] for each in site.status()["problems"] if each["subject"] == "hook 1"]


# The examples

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "GEOSYNC_VOLUME": "redmine",
    "GEOSYNC_SITE": "bari",
    "GEOSYNC_COUNT": "2",
    "GEOSYNC_OCCASION": "conflict",
}


def run_recipe(name: str, *arguments: str, given: bytes = b"{}\n") -> None:
    subprocess.run([RECIPES / name, *arguments], input=given, env=ENVIRONMENT, check=True)


def test_the_example_for_mail_hands_a_whole_mail_to_sendmail(tmp_path: Path) -> None:
    sendmail, sent = tmp_path / "sendmail", tmp_path / "sent"
    sendmail.write_text(f'#!/bin/sh\necho "$@" > {sent}\ncat >> {sent}\n')
    sendmail.chmod(0o755)
    run_recipe("mail", "admin@example.org", str(sendmail))
    text = sent.read_text()
    assert text.startswith(
        "-t\nTo: admin@example.org\nSubject: geosync redmine on bari: 2 x conflict"
    )
    assert text.endswith("\n\n{}\n")


def test_the_example_for_a_cache_touches_and_removes_what_arrived(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("a b", "-rf", "kept"):
        (cache / name).write_text("cached")
    changed = tmp_path / "changed"
    run_recipe("touch-cache", str(changed), str(cache), given=b"a b\0-rf\0gone already\0")
    assert [path.name for path in cache.iterdir()] == ["kept"]
    assert changed.exists()


@pytest.mark.skipif(not Path("/usr/bin/curl").exists(), reason="curl is missing (Debian: curl)")
@pytest.mark.parametrize(("status", "is_failure"), [(204, False), (500, True)])
def test_the_example_for_a_web_hook_posts_and_fails_as_the_server_does(
    status: int, is_failure: bool
) -> None:
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        if is_failure:
            with pytest.raises(subprocess.CalledProcessError):
                run_recipe("webhook", address)
        else:
            run_recipe("webhook", address)
    assert bodies == [b"{}\n"]
