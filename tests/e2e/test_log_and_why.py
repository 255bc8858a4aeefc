"""`geosync log` and `geosync why` tell what happened to a path, and why it is as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosync.exit_codes import ExitCode
from tests.support.journal_commands import JournalCommands
from tests.support.local_sites import settle
from tests.support.pair_of_sites import Pair, pair_of_sites
from transport.memory_store import MemoryStore


@pytest.fixture
def pair() -> Iterator[Pair]:
    with pair_of_sites(MemoryStore()) as made:
        yield made


@pytest.fixture
def commands(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> JournalCommands:
    return JournalCommands(pair[1], tmp_path, capsys)


def test_a_history_names_sites_versions_and_what_they_replaced(
    pair: Pair, commands: JournalCommands
) -> None:
    bari, cnaf = pair
    bari.write(b"d/file", b"1")
    settle(bari, cnaf)
    cnaf.write(b"d/file", b"22")
    settle(bari, cnaf)
    os.rename(bari.path(b"d/file"), bari.path(b"d/renamed"))
    settle(bari, cnaf)
    found = commands.json("log", "d/renamed")
    assert found["is_whole"] is True
    told = [event for event in found["events"] if event["what"] != "attributes"]
    assert [(event["what"], event["site"]) for event in told] == [
        ("created", "bari"),
        ("written", "bari"),
        ("written", "cnaf"),
        ("renamed", "bari"),
    ]
    assert told[2]["replaced"] == [told[1]["version"]]
    assert (told[3]["path_before"], told[3]["path"]) == ("d/file", "d/renamed")
    code, text = commands.run("log", os.fsdecode(cnaf.path(b"d/renamed")))
    assert code == ExitCode.DONE
    assert f"written, 2 B, in place of {told[1]['version']}" in text
    assert "renamed from d/file to d/renamed" in text


def test_a_path_without_history_says_so(commands: JournalCommands) -> None:
    code, text = commands.run("log", "never")
    assert code == ExitCode.FAILED
    assert "nothing is known of never" in text


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", ".", "a/../b"])
def test_a_path_outside_of_the_volume_is_refused(commands: JournalCommands, path: str) -> None:
    code, text = commands.run("why", path)
    assert code == ExitCode.BAD_USAGE
    assert "is no path of the volume" in text


def test_a_conflict_says_which_rule_decided_it(pair: Pair, commands: JournalCommands) -> None:
    bari, cnaf = pair
    for site, content in ((bari, b"of bari"), (cnaf, b"of cnaf!")):
        site.write(b"file", content)
    settle(bari, cnaf)
    code, text = commands.run("why", "file")
    assert code == ExitCode.NEEDS_PERSON
    assert "by the sites' clocks" in text
    assert "where         .geosync/conflicts/file.gs-" in text
    found = commands.json("why", "file")
    (conflict,) = found["conflicts"]
    assert conflict["decided_by"] in ("placed-later", "written-later")
    assert found["is_same"] is True
    assert found["on_disk"]["site"] == conflict["winner"]["site"]


def test_what_the_disk_does_not_have_yet_is_told_apart_from_what_the_volume_has(
    pair: Pair, commands: JournalCommands
) -> None:
    bari, cnaf = pair
    cnaf.write(b"file", b"1")
    settle(bari, cnaf)
    bari.write(b"file", b"22")
    bari.cycle()
    bari.cycle()
    with open(cnaf.path(b"file"), "r+b"):
        cnaf.cycle()
        found = commands.json("why", "file")
        assert found["is_same"] is False
        assert (found["on_disk"]["size_bytes"], found["in_volume"]["size_bytes"]) == (1, 2)
        assert found["on_disk"]["site"] == "cnaf"
        assert found["in_volume"]["site"] == "bari"
        text = commands.run("why", "file")[1]
        assert "here it waits   the daemon is not running" in text


def test_names_that_could_deceive_a_terminal_are_escaped(
    pair: Pair, commands: JournalCommands
) -> None:
    bari, cnaf = pair
    bari.write(b"evil\x1b[2J\n", b"1")
    settle(bari, cnaf)
    code, text = commands.run("log", os.fsdecode(b"evil\x1b[2J\n"))
    assert code == ExitCode.DONE
    assert "\x1b" not in text
    assert r"created as evil\x1b[2J\n" in text
