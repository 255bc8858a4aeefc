"""Whole daemons on machines that refuse: they stay, say why, and go on by themselves."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, directory_store

MakeSite = Callable[..., RealSite]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    made: list[RealSite] = []
    store = directory_store(tmp_path / "store")

    def make(name: str, **options: str) -> RealSite:
        made.append(RealSite(tmp_path / name, name, store, **options))
        return made[-1]

    yield make
    for site in made:
        site.kill()


def _limit(site: RealSite, kind: int, amount: int) -> tuple[int, int]:
    """Sets a limit of the running daemon; returns what it was."""
    soft, hard = resource.prlimit(site.daemon.pid, kind)
    resource.prlimit(site.daemon.pid, kind, (amount, hard))
    return soft, hard


def _texts(site: RealSite) -> str:
    return " ".join(each["text"] for each in site.status()["problems"])


def test_a_daemon_outlives_a_state_directory_that_can_not_be_written_and_goes_on(
    make_site: MakeSite,
) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    for site in (bari, paris):
        site.start()
    (bari.root / "before").write_text("before")
    await_same([bari, paris])
    process = bari.daemon.pid
    before = _limit(bari, resource.RLIMIT_FSIZE, 0)  # no file may grow, as if the disk was full
    for number in range(5):
        (bari.root / f"while it is full {number}").write_text("kept, later")
    await_condition(lambda: "neither full nor read-only" in _texts(bari), "the status says why")
    assert bari.daemon.poll() is None
    assert "at work" not in bari.status()["summary"]
    resource.prlimit(process, resource.RLIMIT_FSIZE, before)
    await_same([bari, paris])
    assert paris.tree()["while it is full 4"] == b"kept, later"
    await_condition(lambda: not bari.status()["problems"], "no problem is left")
    assert bari.daemon.pid == process
    assert bari.stop() == 0


def test_a_daemon_that_waits_for_its_state_directory_ends_at_sigterm(make_site: MakeSite) -> None:
    bari = make_site("bari")
    bari.start()
    _limit(bari, resource.RLIMIT_FSIZE, 0)
    (bari.root / "file").write_text("can't be kept")
    await_condition(lambda: "neither full nor read-only" in _texts(bari), "it waits")
    assert bari.stop() == 0


def test_a_daemon_without_descriptors_stays_and_goes_on_once_it_has_some(
    make_site: MakeSite,
) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    for site in (bari, paris):
        site.start()
    for number in range(5):
        (bari.root / f"{number}").mkdir()
        (bari.root / f"{number}" / "file").write_text("first")
    await_same([bari, paris])
    used = len(os.listdir(f"/proc/{bari.daemon.pid}/fd"))
    before = _limit(bari, resource.RLIMIT_NOFILE, used)
    for number in range(5):
        (bari.root / f"{number}" / "file").write_text("second")
        (paris.root / f"{number}" / "other").write_text("of paris")
    paris.must("sync", "--timeout", "60")
    resource.prlimit(bari.daemon.pid, resource.RLIMIT_NOFILE, before)
    await_same([bari, paris])
    assert paris.tree()["4/file"] == b"second"
    assert bari.tree()["4/other"] == b"of paris"
    assert bari.daemon.poll() is None


IN_NAMESPACE = ("unshare", "--user", "--map-root-user")


def _can_unshare() -> bool:
    done = subprocess.run([*IN_NAMESPACE, "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not _can_unshare(), reason="this machine grants no user namespaces")
@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_without_inotify_changes_are_found_by_polling_and_the_status_says_so(
    make_site: MakeSite, tmp_path: Path, limit: str
) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    script = f'echo 0 > /proc/sys/user/{limit} && exec "$@"'
    with open(bari.log, "ab") as log:
        bari._daemon = subprocess.Popen(
            [*IN_NAMESPACE, "sh", "-c", script, "sh", sys.executable, "-m", "geosync", "run",
             "--config", str(bari.configuration)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    await_condition(bari.has_started, f"bari starts: {bari.log_text()}")
    paris.start()
    (problem,) = (each for each in bari.status()["problems"] if each["subject"] == "watcher")
    assert f"fs.inotify.{limit.replace('inotify', 'user')}" in problem["text"]
    assert "changes are found by scans" in problem["text"]
    (bari.root / "directory").mkdir()
    (bari.root / "directory" / "file").write_text("no event tells of me")
    await_same([bari, paris])
    assert paris.tree()["directory/file"] == b"no event tells of me"
    (bari.root / "directory" / "file").unlink()
    await_same([bari, paris])
    assert "directory/file" not in paris.tree()


def test_a_daemon_that_runs_out_of_memory_loses_nothing(make_site: MakeSite) -> None:
    bari, paris = make_site("bari"), make_site("paris")
    for site in (bari, paris):
        site.start()
    (paris.root / "before").write_text("before")
    await_same([bari, paris])
    with open(f"/proc/{bari.daemon.pid}/statm") as file:
        used_bytes = int(file.read().split()[0]) * resource.getpagesize()
    _limit(bari, resource.RLIMIT_AS, used_bytes + 4 * 1024 * 1024)
    (bari.root / "large here").write_bytes(os.urandom(20_000_000))
    (paris.root / "large there").write_bytes(os.urandom(20_000_000))
    paris.must("sync", "--timeout", "60")
    await_condition(
        lambda: bari.daemon.poll() is not None or "large here" in paris.tree(),
        "it fails, or manages all the same",
    )
    bari.kill()
    assert bari.daemon.returncode in {0, 1, -signal.SIGKILL}
    bari.start()
    await_same([bari, paris])
    assert paris.tree().keys() == {"before", "large here", "large there"}
