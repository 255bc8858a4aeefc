"""`geosync doctor` finds what is wrong with a machine or a store, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geosync.cli import main
from geosync.clock import SystemClock
from geosync.configuration.volume_configuration import Configuration, load_configuration
from geosync.examination import object_store, watching_limits
from geosync.examination.finding import Finding, Level, Subject
from geosync.examination.process import find_worker
from geosync.examination.state_directory import remember
from tests.support.real_site import RealSite, directory_store, swift_store
from transport.directory_store import DirectoryStore
from transport.errors import StoreRefused
from transport.memory_store import MemoryStore
from transport.object_names import VOLUME_RECORD
from transport.volume_record import VolumeRecord, encode_volume_record

is_root = os.geteuid() == 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RealSite]:
    (tmp_path / "store").mkdir()
    site = RealSite(tmp_path / "bari", "bari", directory_store(tmp_path / "store"))
    yield site
    site.kill()


@pytest.fixture
def joined(site: RealSite, tmp_path: Path) -> RealSite:
    """A site that has joined a volume, which another one created."""
    store = DirectoryStore(bytes(tmp_path / "store"))
    store.prepare()
    store.put_once(VOLUME_RECORD, encode_volume_record(VolumeRecord("files", b"j" * 32, "roma", 1)))
    assert _run(site, "sync")[1] == 0
    return site


def _run(site: RealSite, *arguments: str) -> tuple[str, int]:
    """Runs a command in this process, which is quicker than in one of its own."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        code = main([*arguments, "--config", str(site.configuration)])
    return shown.getvalue(), code


def _examined(site: RealSite) -> tuple[dict[str, Any], int]:
    shown, code = _run(site, "doctor", "--json")
    found = json.loads(shown)
    wrong = [each for each in found["findings"] if each["level"] in {"warning", "failure"}]
    assert [each for each in wrong if not each["remedy"]] == []
    return {each["subject"]: each for each in found["findings"]}, code


def _everything_in(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_before_the_volume_is_created_it_says_how_to_create_it(site: RealSite) -> None:
    found, code = _examined(site)
    assert found["store"]["level"] == "warning"
    assert "geosync init" in found["store"]["remedy"]
    assert code == 3
    assert os.listdir(site.root) == []
    assert not site.state_dir.exists()


@pytest.mark.parametrize("has_daemon", [False, True])
def test_a_healthy_site_has_no_failure_and_everything_was_looked_at(
    joined: RealSite, tmp_path: Path, has_daemon: bool
) -> None:
    if has_daemon:
        joined.start()
    before = _everything_in(joined.root), _everything_in(tmp_path / "store")
    found, code = _examined(joined)
    several = {Subject.ENDPOINT}  # there is one only
    assert found.keys() == {str(subject) for subject in set(Subject) - several}
    # A machine that runs tests may be short of room or limits, which is a warning.
    assert code in {0, 3}
    healthy = ["root", "marker", "journal", "store", "volume", "store_rights", "clock"]
    assert [found[subject]["level"] for subject in healthy] == ["ok"] * len(healthy)
    assert found["store_rights"]["facts"]["may_remove"]
    assert found["daemon"]["level"] == ("ok" if has_daemon else "note")
    if has_daemon:
        assert found["daemon"]["facts"]["process_id"] == joined.daemon.pid
        protocol = joined.status()["daemon"]["protocol"]
        assert found["exchange"]["facts"]["is_available"] == protocol["exchange"]
    assert (_everything_in(joined.root), _everything_in(tmp_path / "store")) == before


def test_the_text_names_each_subject_and_what_to_do(site: RealSite) -> None:
    shown, code = _run(site, "doctor")
    assert code == 3
    lines = shown.splitlines()
    assert any(line.startswith("warning store ") for line in lines)
    assert any("to do: " in line and "geosync init" in line for line in lines)
    assert "geosync works" in lines[-1]


def test_a_root_that_is_not_there_is_a_failure(joined: RealSite) -> None:
    joined.root.rename(joined.root.with_name("elsewhere"))
    found, code = _examined(joined)
    assert code == 1
    assert found["root"]["level"] == "failure"
    assert "mount it" in found["root"]["remedy"]
    assert found["store"]["level"] == "ok"  # all else is looked at


@pytest.mark.parametrize("is_another", [False, True])
def test_a_root_with_another_marker_or_none_is_a_failure(
    joined: RealSite, is_another: bool
) -> None:
    marker = joined.root / ".geosync" / "marker"
    marker.unlink()
    if is_another:
        marker.write_text("0" * 32 + "\n")
    found, code = _examined(joined)
    assert code == 1
    assert found["marker"]["level"] == "failure"
    assert ("another" if is_another else "no") + " marker" in found["marker"]["text"]


def test_a_state_directory_that_others_may_read_is_a_warning(joined: RealSite) -> None:
    joined.state_dir.chmod(0o755)
    found, code = _examined(joined)
    assert code == 3
    assert found["state_directory"]["level"] == "warning"
    (command,) = found["state_directory"]["commands"]
    subprocess.run(["bash", "-ec", command], check=True)
    assert _examined(joined)[0]["state_directory"]["level"] == "ok"


def test_a_journal_of_another_site_is_a_failure(joined: RealSite) -> None:
    text = joined.configuration.read_text().replace('site = "bari"', 'site = "roma"')
    joined.configuration.write_text(text)
    found, code = _examined(joined)
    assert code == 1
    assert "belongs to site 'bari'" in found["journal"]["text"]


def test_a_journal_that_is_no_database_is_a_failure(joined: RealSite) -> None:
    (joined.state_dir / "journal.sqlite").write_bytes(b"rubbish" * 1000)
    found, code = _examined(joined)
    assert code == 1
    assert found["journal"]["level"] == "failure"


def test_a_volume_that_was_made_anew_is_a_failure(joined: RealSite, tmp_path: Path) -> None:
    record = VolumeRecord("files", b"k" * 32, "roma", 1)
    (found_file,) = (tmp_path / "store" / "volume").rglob("record*")
    found_file.chmod(0o600)
    found_file.write_bytes(encode_volume_record(record))
    assert VOLUME_RECORD.startswith("volume/record")
    found, code = _examined(joined)
    assert code == 1
    assert found["volume"]["level"] == "failure"
    assert "another volume" in found["volume"]["text"]


def test_a_wrong_configuration_ends_with_exit_code_2(site: RealSite) -> None:
    site.configuration.write_text("volume = 7\n")
    done = site.run("doctor", "--json")
    assert done.returncode == 2
    assert done.stdout == ""


@pytest.mark.root
@pytest.mark.skipif(not is_root, reason="only root may mount")
def test_a_read_only_file_system_is_a_failure(site: RealSite) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", site.root], check=True)
    try:
        found, code = _examined(site)
    finally:
        subprocess.run(["umount", site.root], check=True)
    assert code == 1
    assert found["file_system"]["level"] == "failure"
    assert "read-only" in found["file_system"]["text"]
    assert found["file_system"]["facts"]["kind"] == "tmpfs"


# The store, asked directly


def _configuration(site: RealSite) -> Configuration:
    return load_configuration(str(site.configuration), {})


class RefusingStore(MemoryStore):
    """A store whose credentials may do less."""

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self._refused = refused

    def put_once(self, name: str, body: bytes) -> None:
        if "put" in self._refused:
            raise StoreRefused(f"PUT {name}: answered 403")
        super().put_once(name, body)

    def delete(self, name: str) -> None:
        if "delete" in self._refused:
            raise StoreRefused(f"DELETE {name}: answered 403")
        super().delete(name)


def _rights(site: RealSite, store: MemoryStore) -> Finding:
    examination = object_store._Examination(_configuration(site), store, SystemClock())
    return examination.try_rights()


def test_credentials_that_may_not_write_are_a_failure(site: RealSite) -> None:
    finding = _rights(site, RefusingStore("put"))
    assert finding.level is Level.FAILURE
    assert finding.facts["may_write"] is False
    assert "grant them to write" in finding.remedy


def test_a_replica_writes_nothing_and_is_well(joined: RealSite, tmp_path: Path) -> None:
    text = 'mode = "replica"\n' + joined.configuration.read_text()
    joined.configuration.write_text(text)
    before = _everything_in(tmp_path / "store")
    found, _ = _examined(joined)
    assert found["store_rights"]["level"] == "ok"
    assert "transfer" not in found
    assert _everything_in(tmp_path / "store") == before


def test_credentials_that_may_not_remove_are_worth_a_note(site: RealSite) -> None:
    store = RefusingStore("delete")
    finding = _rights(site, store)
    assert finding.level is Level.NOTE
    (left,) = store.list_names("volume/")
    assert left in finding.remedy


def test_a_store_that_gives_back_other_bytes_is_a_failure(site: RealSite) -> None:
    class Liar(MemoryStore):
        def get(self, name: str, *, size_bytes_max: int) -> bytes:
            return bytes(len(super().get(name, size_bytes_max=size_bytes_max)))

    finding = _rights(site, Liar())
    assert finding.level is Level.FAILURE
    assert "other bytes" in finding.text


@pytest.mark.parametrize(
    ("offset_s", "level", "word"),
    [
        (0.4, Level.OK, "agrees"),
        (-59.0, Level.OK, "agrees"),
        (120.0, Level.WARNING, "ahead of"),
        (-120.0, Level.WARNING, "behind"),
        (86400.0 * 3650, Level.FAILURE, "ahead of"),
        (-86400.0 * 3650, Level.FAILURE, "behind"),
    ],
)
def test_the_clock_is_compared_with_the_stores(offset_s: float, level: Level, word: str) -> None:
    class Timed(MemoryStore):
        def server_time_s(self) -> float:
            return int(SystemClock().wall_ns() / 1e9 - offset_s)

    site_configuration: Any = None  # not asked
    examination = object_store._Examination(site_configuration, Timed(), SystemClock())
    finding = examination.compare_clocks(Timed())
    assert finding.level is level
    assert word in finding.text
    assert abs(float(finding.facts["offset_s"] or 0) - offset_s) < 2


def test_a_site_of_a_real_swift_is_healthy(
    tmp_path: Path, swift_server: Any, fresh_swift_volume_name: str
) -> None:
    store = swift_store(swift_server)
    site = RealSite(tmp_path / "bari", "bari", store, volume=fresh_swift_volume_name)
    found, code = _examined(site)
    assert code == 3
    assert "geosync init" in found["store"]["remedy"]
    assert found["clock"]["level"] == "ok"
    assert "agrees" in found["clock"]["text"]
    assert _run(site, "sync")[1] == 0
    found, code = _examined(site)
    assert code in {0, 3}
    subjects = ("store", "volume", "store_rights", "clock")
    assert [found[subject]["level"] for subject in subjects] == ["ok"] * 4


def test_a_swift_that_nobody_serves_is_a_failure_and_all_else_is_looked_at(tmp_path: Path) -> None:
    login = 'auth_url = "http://127.0.0.1:9/auth/v1.0"\nuser = "a:b"\nkey = "c"'
    store = f'store = "swift"\n[swift]\n{login}'
    site = RealSite(tmp_path / "bari", "bari", store)
    found, code = _examined(site)
    assert code == 1
    assert found["store"]["level"] == "failure"
    assert found["root"]["level"] == "ok"
    assert found["clock"]["level"] == "note"


# Limits of the kernel


def _watching(root: Path, monkeypatch: pytest.MonkeyPatch, **limits: int) -> dict[Subject, Finding]:
    monkeypatch.setattr(watching_limits, "_limit", lambda name: limits.get(name, 1_000_000))
    found = watching_limits.examine_watching(bytes(root), "files", find_worker(None))
    return {finding.subject: finding for finding in found}


def test_directories_are_counted_and_compared_with_the_limit_of_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (tmp_path / str(number) / "below").mkdir(parents=True)
    (tmp_path / ".geosync" / "stage").mkdir(parents=True)
    (tmp_path / "link").symlink_to("/")
    found = _watching(tmp_path, monkeypatch)
    assert found[Subject.WATCHES].facts["needed"] == 41
    assert found[Subject.WATCHES].level is Level.OK
    found = _watching(tmp_path, monkeypatch, max_user_watches=40)
    assert found[Subject.WATCHES].level is Level.WARNING
    wanted = int(found[Subject.WATCHES].commands[0].split(" = ")[1].split("'")[0])
    assert wanted >= 82
    assert "fs.inotify.max_user_watches" in found[Subject.WATCHES].commands[0]


def test_too_few_instances_are_a_warning_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _watching(tmp_path, monkeypatch, max_user_instances=0)
    assert found[Subject.INSTANCES].level is Level.WARNING
    assert "fs.inotify.max_user_instances = " in found[Subject.INSTANCES].commands[0]


def test_a_journal_that_can_not_be_opened_remembers_nothing(site: RealSite) -> None:
    assert remember(_configuration(site)).volume_key is None
    assert _run(site, "sync")[1] == 0
    assert remember(_configuration(site)).volume_key is not None
