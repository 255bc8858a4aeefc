"""Policies with real daemons: what two sites write at once is merged, or left with a reason."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, directory_store

Pair = tuple[RealSite, RealSite]
FAILING = "import sys; sys.exit('can not make sense of it')"
HANGING = "import time; time.sleep(1000)"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    store = directory_store(tmp_path / "store")
    bari, cnaf = (RealSite(tmp_path / name, name, store) for name in ("bari", "cnaf"))
    for site in (bari, cnaf):
        with site.configuration.open("a") as file:
            for name, script in (("failing", FAILING), ("hanging", HANGING)):
                command = json.dumps([sys.executable, "-c", script])
                file.write(f"[merge_program.{name}]\ncommand = {command}\ntimeout_s = 2\n")
        site.start()
    yield bari, cnaf
    for site in (bari, cnaf):
        site.kill()


def write_at_once(pair: Pair, files: dict[str, tuple[bytes, bytes]]) -> None:
    """Lets each site write while it has no daemon, so that neither has seen the other's."""
    for site in pair:
        site.stop()
    for name, contents in files.items():
        for site, content in zip(pair, contents, strict=True):
            (site.root / name).write_bytes(content)
    for site in pair:
        site.start()


def test_files_that_both_sites_wrote_at_once_are_as_their_policies_say(pair: Pair) -> None:
    bari, cnaf = pair
    for name, content in (("CHANGELOG", b"1.0\n"), ("page.txt", b"one\ntwo\nthree\n")):
        (bari.root / name).write_bytes(content)
    (bari.root / "a.failing").write_bytes(b"0")
    (bari.root / "a.hanging").write_bytes(b"0")
    bari.wait()
    bari.must("policy", "set", "CHANGELOG", "union")  # while the daemon runs
    cnaf.must("policy", "set", "*.txt", "merge")
    bari.stop()
    bari.must("policy", "set", "*.failing", "command:failing")  # and while it does not
    bari.must("policy", "set", "*.hanging", "command:hanging")
    bari.start()
    await_condition(lambda: len(policies_of(cnaf)) == 5, "policies reach the other site")
    write_at_once(
        pair,
        {
            "CHANGELOG": (b"1.0\nby bari\n", b"1.0\nby cnaf\n"),
            "page.txt": (b"ONE\ntwo\nthree\n", b"one\ntwo\nTHREE\n"),
            "a.failing": (b"1", b"2"),
            "a.hanging": (b"1", b"2"),
        },
    )
    await_condition(lambda: all(reasons(site) for site in pair), "both programs were tried")
    await_same(pair)
    (log, page) = ((bari.root / name).read_bytes() for name in ("CHANGELOG", "page.txt"))
    assert sorted(log.splitlines()) == [b"1.0", b"by bari", b"by cnaf"]
    assert page == b"ONE\ntwo\nTHREE\n"
    for site in pair:
        assert [each["path"] for each in site.conflicts()] == ["a.failing", "a.hanging"]
        assert site.run("conflicts", "list").returncode == 3
        failing, hanging = reasons(site)
        assert "ended with code 1; it said: can not make sense of it" in failing
        assert "took longer than 2 s and was ended" in hanging
    assert "can not make sense of it" in bari.must("conflicts", "show", "a.failing")
    assert "policy          merge (rule *.txt)" in bari.must("why", "page.txt")
    (own := bari.root.parent / "own").write_bytes(b"decided")
    bari.must("conflicts", "resolve", "a.failing", "--file", str(own))  # through the daemon
    bari.wait()
    assert (cnaf.root / "a.failing").read_bytes() == b"decided"
    bari.must("conflicts", "undo")
    await_condition(lambda: len(cnaf.conflicts()) == 2, "both versions are back")


def policies_of(site: RealSite) -> list[object]:
    found: list[object] = json.loads(site.must("policy", "list", "--json"))
    return found


def reasons(site: RealSite) -> list[str]:
    """Returns why conflicts were left, once that is known of all that are open."""
    found = [each["left_because"] for each in site.conflicts()]
    return found if len(found) == 2 and all(found) else []
