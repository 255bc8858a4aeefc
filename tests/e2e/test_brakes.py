"""Real daemons with the brakes that every site has: what waits, what flows on, what is decided."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from geosync.exit_codes import ExitCode
from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, Tree, await_same, directory_store

Pair = tuple[RealSite, RealSite]
FILES = 150


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Pair]:
    """Two sites with some directories of texts."""
    store = directory_store(tmp_path / "store")
    bari, paris = (RealSite(tmp_path / name, name, store) for name in ("bari", "paris"))
    for number in range(FILES):
        path = bari.root / f"wiki-{number % 3}" / f"page-{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"This is page {number}, and it says so often. " * 20)
    for site in (bari, paris):
        site.start()
    bari.wait()
    yield bari, paris
    for site in (bari, paris):
        site.kill()


@contextmanager
def _stopped(site: RealSite) -> Iterator[None]:
    """Stops a daemon meanwhile, or some of it would be captured before it is too much."""
    site.daemon.send_signal(signal.SIGSTOP)
    yield
    site.daemon.send_signal(signal.SIGCONT)


def _empty(site: RealSite) -> None:
    with _stopped(site):
        for path in site.root.iterdir():
            if path.name != ".geosync":
                shutil.rmtree(path)


def _brakes(site: RealSite) -> list[Any]:
    found: list[Any] = json.loads(site.run("brake", "list", "--json").stdout)
    return found


def _await_brake(site: RealSite, count: int) -> str:
    """Waits until a brake holds so much; returns its id."""
    seen: list[Any] = []

    def is_holding() -> bool:
        seen[:] = _brakes(site)
        return [brake["count"] for brake in seen] == [count]

    try:
        await_condition(is_holding)
    except AssertionError:
        pytest.fail(f"the brakes of {site.name} hold {seen}, and not {count}: {site.log_text()}")
    return str(_brakes(site)[0]["id"])


def _await_trees(sites: Pair, expected: Tree) -> None:
    await_condition(lambda: all(site.tree() == expected for site in sites), "the trees are as told")


def test_a_tree_that_is_removed_waits_visibly_and_is_brought_back_by_a_word_at_the_other_site(
    sites: Pair,
) -> None:
    bari, paris = sites
    before = paris.tree()
    _empty(bari)
    name = _await_brake(bari, FILES + 3)
    (bari.root / "new").write_text("made meanwhile at bari")
    (paris.root / "other").write_text("made meanwhile at paris")
    expected = before | {"new": b"made meanwhile at bari", "other": b"made meanwhile at paris"}
    await_condition(lambda: paris.tree() == expected, "harmless changes flow on")
    await_condition((bari.root / "other").exists, "harmless changes flow on")
    listed = paris.run("brake", "list")
    assert listed.returncode == ExitCode.NEEDS_PERSON
    assert f"{name}  at bari" in listed.stdout
    assert f"geosync brake reject {name}" in listed.stdout
    assert len(_brakes(bari)[0]["paths"]) < FILES
    plan = bari.run("brake", "list", "--plan").stdout
    assert all(f"wiki-{n % 3}/page-{n}.txt\n" in plan for n in range(FILES))
    status = bari.must("status")
    assert status.splitlines()[0].startswith("bari of volume files: 1 brake to decide about; ")
    assert f"BRAKE        {name} at bari" in status
    assert any(p["subject"] == f"brake {name}" for p in bari.status()["problems"])
    assert bari.run("sync").returncode == ExitCode.NEEDS_PERSON
    waited = bari.run("wait", "--timeout", "60")
    assert (waited.returncode, waited.stdout) == (ExitCode.NEEDS_PERSON, "applied at paris\n")
    assert f"{FILES + 3} deletions or changes here are held" in waited.stderr
    assert "brake_engaged" in bari.log_text()
    answer = paris.must("brake", "reject", name)
    assert answer.startswith(f"rejected {name} at bari: the files are as they were")
    _await_trees(sites, expected)
    await_condition(lambda: not _brakes(bari) and not _brakes(paris), "no brake is left")
    assert bari.run("brake", "list").returncode == ExitCode.DONE
    assert bari.conflicts() == []


def test_an_emptied_root_is_held_over_a_kill_and_approved_while_no_daemon_runs(
    sites: Pair,
) -> None:
    bari, paris = sites
    before = paris.tree()
    _empty(bari)
    name = _await_brake(bari, FILES + 3)
    bari.kill()
    assert bari.run("brake", "list").returncode == ExitCode.NEEDS_PERSON
    bari.start()
    assert _await_brake(bari, FILES + 3) == name
    assert paris.tree() == before
    bari.kill()
    bari.must("brake", "approve", name)
    bari.start()
    _await_trees(sites, {})


def test_a_directory_of_two_thousand_files_is_renamed_without_a_brake(sites: Pair) -> None:
    bari, paris = sites
    (bari.root / "large").mkdir()
    for number in range(2000):
        (bari.root / "large" / str(number)).write_bytes(b"%d" % number)
    bari.wait()
    (bari.root / "large").rename(bari.root / "renamed")
    bari.wait()
    assert paris.tree() == bari.tree()
    assert (paris.root / "renamed" / "1999").read_bytes() == b"1999"
    assert _brakes(bari) == _brakes(paris) == []
    assert "brake" not in bari.log_text()


def test_an_old_tree_that_is_restored_over_a_new_one_does_not_push_it_back(
    sites: Pair, tmp_path: Path
) -> None:
    bari, paris = sites
    backup = tmp_path / "backup"
    shutil.copytree(bari.root, backup, ignore=shutil.ignore_patterns(".geosync"))
    for number in range(0, FILES, 2):
        path = paris.root / f"wiki-{number % 3}" / f"page-{number}.txt"
        path.write_text(f"newer text of page {number}")
    paris.wait()
    newer = paris.tree()
    bari.stop()
    bari.configuration.write_text(
        f"{bari.configuration.read_text()}\n[brakes]\nchanged_count = 50\n"
    )
    bari.start()
    with _stopped(bari):
        shutil.copytree(backup, bari.root, dirs_exist_ok=True)
    name = _await_brake(bari, FILES // 2)
    assert paris.tree() == newer
    bari.must("brake", "reject", name)
    _await_trees(sites, newer)
    assert bari.conflicts() == []


def test_files_that_are_all_encrypted_raise_an_alarm_and_stay_at_the_other_site(
    sites: Pair,
) -> None:
    bari, paris = sites
    before = paris.tree()
    with _stopped(bari):
        for path in bari.root.glob("wiki-*/*.txt"):
            path.with_suffix(".new").write_bytes(os.urandom(900))
            path.with_suffix(".new").rename(path)
    name = _await_brake(bari, FILES)
    told = {p["subject"]: p["text"] for p in bari.status()["problems"]}
    assert "encryption looks like that" in told["encryption"]
    assert "encryption_suspected" in bari.log_text()
    assert paris.tree() == before
    paris.must("brake", "reject", name)
    _await_trees(sites, before)
    await_condition(lambda: len(bari.conflicts()) == FILES, "what was written is kept")
    await_same(sites)
