"""Redmine's recipe: what its audit finds, when a site stays out, where a name leads."""

from __future__ import annotations

import hashlib
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from recipes.redmine import dns_client, health_agent
from recipes.redmine.audit import Row, audit, read_files

RECIPE = Path(__file__).parents[2] / "recipes" / "redmine"
SCRIPTS = sorted(
    path for path in RECIPE.iterdir() if path.is_file() and b"bash" in path.read_bytes()[:20]
)


def row(number: int, path: str, content: bytes) -> Row:
    digest = hashlib.sha256(content).hexdigest()
    return Row(number, "Issue 1", len(content), digest, path, path)


def test_the_audit_tells_missing_wrong_and_orphaned_files_apart(tmp_path: Path) -> None:
    for name, content in {
        "good": b"good",
        "long": b"longer",
        "other": b"OTHER",
        "own": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".geosync").mkdir()
    (tmp_path / ".geosync" / "marker").write_bytes(b"ours")
    rows = [row(1, "good", b"good"), row(2, "gone", b""), row(3, "long", b"long"),
            row(4, "other", b"other")]  # fmt: skip
    files = read_files(str(tmp_path))
    kept = {"other": "4e5a7f2a-1094"}
    found = list(audit(rows, files, str(tmp_path), kept, is_deep=True))
    assert [(each.kind, each.path, each.row) for each in found] == [
        ("missing", "gone", 2),
        ("wrong", "long", 3),
        ("wrong", "other", 4),
        ("orphan", "own", None),
    ]
    assert "conflict 4e5a7f2a-1094" in found[2].explanation
    shallow = audit(rows, files, str(tmp_path), kept, is_deep=False)
    assert [each.row for each in shallow if each.kind == "wrong"] == [3]


def test_a_site_that_has_failed_stays_out_until_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[str] = []
    monkeypatch.setattr(health_agent, "_application", lambda: list(broken))
    monkeypatch.setattr(health_agent, "_database", list)
    monkeypatch.setattr(health_agent, "_files", lambda _max_lag_s: [])
    memory = str(tmp_path / "memory")
    health = health_agent.Health(str(tmp_path / "drain"), memory, max_lag_s=1)
    assert health.reasons_now(is_told=False)  # nothing was looked at yet
    health.look()
    assert not health.reasons_now(is_told=True)
    broken.append("Redmine does not answer")
    health.look()
    broken.clear()
    health.look()
    assert not health.reasons_now(is_told=False)
    assert health.reasons_now(is_told=True)
    restarted = health_agent.Health(str(tmp_path / "drain"), memory, max_lag_s=1)
    restarted.look()
    assert restarted.reasons_now(is_told=True)
    restarted.forget()
    assert not restarted.reasons_now(is_told=True)
    (tmp_path / "drain").touch()
    restarted.look()
    assert restarted.reasons_now(is_told=False)


def test_the_addresses_of_a_name_are_read_from_an_answer() -> None:
    question = dns_client._question(7, "told.lab.example")
    record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 5, 4) + socket.inet_aton("10.77.0.2")
    answer = struct.pack("!6H", 7, 0x8180, 1, 2, 0, 0) + question[12:] + record + record
    assert dns_client._addresses(answer) == ["10.77.0.2", "10.77.0.2"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_can_be_read_by_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
