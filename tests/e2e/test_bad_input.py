"""Wrong input: one clear paragraph, the right exit code, never a traceback, nothing changed."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from geosync.demo.swift_server import SwiftServer
from tests.support.canned_server import Answer, CannedServer
from tests.support.real_site import RealSite, directory_store, run_geosync

COMMANDS = (["init"], ["run"], ["sync"])
HTML = b"<!DOCTYPE html><html><body>It works!</body></html>"


@pytest.fixture
def site(tmp_path: Path) -> RealSite:
    """A site with one file of its user."""
    made = RealSite(tmp_path / "bari", "bari", directory_store(tmp_path / "store"))
    (made.root / "file").write_text("the user's")
    return made


def _everything(directory: Path) -> dict[str, tuple[int, bytes | None]]:
    """Returns every path below a directory, with its mode and content."""
    return {
        str(path.relative_to(directory)): (
            stat.S_IMODE(path.lstat().st_mode),
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(directory.rglob("*"))
    }


def _check(done: Any, exit_code: int, *texts: str) -> None:
    """The command ended as told, with all texts in one paragraph and no traceback."""
    assert done.returncode == exit_code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    said = done.stderr[done.stderr.index("geosync: ") :]
    assert "\n\n" not in said
    for text in texts:
        assert text in said


def _replace(site: RealSite, old: str, new: str) -> None:
    text = site.configuration.read_text()
    assert old in text
    site.configuration.write_text(text.replace(old, new))


@pytest.mark.parametrize("command", [*COMMANDS, ["status"], ["wait"], ["conflicts", "list"]])
def test_an_unknown_configuration_key_is_named_and_nothing_is_done(site, command, tmp_path) -> None:
    _replace(site, "[http]", '[http]\nlissten = "127.0.0.1:1"')
    before = _everything(tmp_path)
    _check(site.run(*command), 2, "lissten", "to do:")
    assert _everything(tmp_path) == before


def test_a_configuration_file_that_is_not_there_is_named() -> None:
    done = run_geosync("run", "--config", "/no/such/geosync.toml")
    _check(done, 2, "/no/such/geosync.toml", "geosync init")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_root_that_is_not_there_is_never_made(site, command) -> None:
    shutil.rmtree(site.root)
    _check(site.run(*command), 1, str(site.root), "mount")
    assert not site.root.exists()


def test_a_root_that_is_another_directory_than_before_is_left_alone(site) -> None:
    site.must("sync")
    site.root.rename(site.root.with_name("moved"))
    site.root.mkdir()
    for command in (["run"], ["sync"]):
        _check(site.run(*command), 1, str(site.root))
    assert [path.name for path in site.root.iterdir()] == [".geosync"]
    assert [path.name for path in (site.root / ".geosync").iterdir()] == ["lock"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_state_directory_that_is_read_only_is_named(site, command, tmp_path) -> None:
    site.state_dir.mkdir(mode=0o500)
    before = _everything(tmp_path / "bari")
    # Root without its capabilities obeys the modes of files like everybody else.
    as_root = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    done = run_geosync(*command, "--config", str(site.configuration), prefix=as_root)
    _check(done, 1, "cannot use the state directory", str(site.state_dir), "write there")
    assert _everything(tmp_path / "bari") == before


@pytest.mark.parametrize("command", [["run"], ["sync"]])
@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('site = "bari"', 'site = "rome"', "belongs to the site 'bari'"),
        ('volume = "files"', 'volume = "other"', "belongs to the volume 'files'"),
    ],
)
def test_a_state_directory_of_another_site_or_volume_is_refused(
    site, command, old, new, found
) -> None:
    site.must("sync")
    before = _everything(site.root)
    _replace(site, old, new)
    _check(site.run(*command), 1, found, "state_dir of its own")
    after = _everything(site.root)
    assert {key: after[key] for key in after if key != ".geosync/lock"} == {
        key: before[key] for key in before if key != ".geosync/lock"
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_volume_record_is_told_and_nothing_is_joined(site, command, tmp_path) -> None:
    RealSite(tmp_path / "paris", "paris", directory_store(tmp_path / "store")).must("init")
    record = tmp_path / "store" / "volume" / "record"
    record.chmod(0o600)
    record.write_bytes(record.read_bytes()[:-1] + b"?")
    before = _everything(tmp_path / "store")
    _check(site.run(*command), 1, "cannot join the volume 'files'", "Nothing was changed")
    assert _everything(tmp_path / "store") == before
    _is_unharmed(site)


def test_a_journal_that_is_no_database_is_told_and_left_alone(site) -> None:
    site.must("sync")
    for name in ("journal.sqlite-wal", "journal.sqlite-shm"):
        (site.state_dir / name).unlink(missing_ok=True)
    journal = site.state_dir / "journal.sqlite"
    journal.write_bytes(b"not a database" * 1000)
    before = journal.read_bytes()
    for command in (["run"], ["sync"], ["status"]):
        _check(site.run(*command), 1, "is damaged", "Move the file away")
    assert journal.read_bytes() == before


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_credentials_are_told_without_the_key(
    tmp_path, swift_server: SwiftServer, fresh_swift_volume_name, command
) -> None:
    site = _swift_site(tmp_path, swift_server.auth_url, "a wrong secret", fresh_swift_volume_name)
    done = site.run(*command)
    _check(done, 1, swift_server.user, "refused (401)", "correct the user and the key")
    assert "a wrong secret" not in done.stderr
    _is_unharmed(site)


@pytest.mark.parametrize("command", COMMANDS)
def test_credentials_that_are_missing_are_a_wrong_configuration(tmp_path, command) -> None:
    site = RealSite(tmp_path / "bari", "bari", 'store = "swift"\n[swift]\nuser = "a:b"')
    (site.root / "file").write_text("the user's")
    before = _everything(tmp_path)
    _check(site.run(*command), 2, "key", "auth_url")
    assert _everything(tmp_path) == before


@pytest.fixture
def web_server() -> Iterator[CannedServer]:
    """A server that has never heard of Swift and says 200 to everything."""
    with CannedServer(Answer(200, {"Content-Type": "text/html"}, HTML)) as server:
        yield server


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_that_answers_nonsense_is_no_store(
    tmp_path, web_server: CannedServer, command
) -> None:
    site = _swift_site(tmp_path, f"{web_server.url}/auth/v1.0", "key", "files")
    _check(site.run(*command), 1, web_server.url)
    _is_unharmed(site)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_that_nobody_serves_is_told(tmp_path, command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    site = _swift_site(tmp_path, f"http://127.0.0.1:{port}/auth/v1.0", "key", "files")
    _check(site.run(*command), 1, f"127.0.0.1:{port}", "refused")
    _is_unharmed(site)


def _swift_site(tmp_path: Path, auth_url: str, key: str, volume: str) -> RealSite:
    store = (
        f'store = "swift"\n[swift]\nauth_url = "{auth_url}"\nuser = "demo:geosync"\nkey = "{key}"'
    )
    site = RealSite(tmp_path / "bari", "bari", store, volume=volume)
    (site.root / "file").write_text("the user's")
    return site


def _is_unharmed(site: RealSite) -> None:
    """The user's files are as they were, and the site has not joined anything."""
    assert site.tree() == {"file": b"the user's"}
    assert site.run("status").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "COMMAND"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["status", "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["wait", "--timeout", "soon"], "invalid number of seconds value: 'soon'"),
        (["wait", "--timeout", "-1"], "number of seconds"),
        (["conflicts"], "ACTION"),
        (["conflicts", "resolve", "page"], "--take"),
        (["conflicts", "resolve", "page", "--take", "mine"], "invalid choice: 'mine'"),
        (["init", "--conflict-policy", "coin-toss"], "known are outside, beside, newest"),
        (["init", "--volume", "Upper Case", "--config", "/no/such"], "volume"),
    ],
)
def test_a_wrong_command_line_ends_with_exit_code_2(arguments: Sequence[str], found: str) -> None:
    done = run_geosync(*arguments)
    assert done.returncode == 2
    assert found in done.stderr
    assert "Traceback" not in done.stderr
