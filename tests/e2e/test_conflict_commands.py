"""`geosync conflicts`: list with filters, diff, report, resolve one or many, with real journals."""

from __future__ import annotations

import html.parser
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from geosync.engine.resolving import Choice
from geosync.exit_codes import ExitCode
from tests.support.journal_commands import JournalCommands
from tests.support.local_sites import settle
from tests.support.pair_of_sites import Pair, pair_of_sites, store_in, write_at_once


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of_sites(store_in(tmp_path / "store")) as made:
        yield made


@pytest.fixture
def commands(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> JournalCommands:
    return JournalCommands(pair[1], tmp_path, capsys, tmp_path / "store")


def test_versions_are_compared_with_each_other_and_with_what_they_come_from(
    pair: Pair, commands: JournalCommands
) -> None:
    write_at_once(pair, b"file", b"one\n2\n", b"one\nzwei\n", ancestor=b"one\ntwo\n")
    (conflict,) = commands.json("conflicts", "list")
    texts = {"bari": "2", "cnaf": "zwei"}
    code, text = commands.run("conflicts", "diff", "file")
    assert code == ExitCode.DONE
    assert f"-{texts[conflict['winner']['site']]}" in text.splitlines()
    assert f"+{texts[conflict['loser']['site']]}" in text.splitlines()
    text = commands.run("conflicts", "diff", conflict["id"], "--from", "ancestor")[1]
    assert "--- ancestor" in text
    assert "-two" in text.splitlines()


def test_without_a_common_ancestor_that_is_said(pair: Pair, commands: JournalCommands) -> None:
    write_at_once(pair, b"file", b"1\n", b"2\n")
    code, text = commands.run("conflicts", "diff", "file", "--from", "ancestor")
    assert code == ExitCode.FAILED
    assert "has no ancestor" in text


def test_large_binaries_are_told_by_size(pair: Pair, commands: JournalCommands) -> None:
    write_at_once(pair, b"file", os.urandom(5_000_000), os.urandom(6_000_000))
    text = commands.run("conflicts", "diff", "file")[1]
    assert sorted(line.split(": ")[1].split(",")[0] for line in text.splitlines()) == [
        "4.8 MiB",
        "5.7 MiB",
    ]


def test_the_list_shows_what_is_asked_for(pair: Pair, commands: JournalCommands) -> None:
    write_at_once(pair, b"a.txt", b"1", b"2")
    write_at_once(pair, b"b.log", b"1", b"2", ancestor=b"0")

    def paths(*words: str) -> list[str]:
        return [each["path"] for each in commands.json("conflicts", "list", *words)]

    assert paths() == ["a.txt", "b.log"]
    assert paths("--path", "*.log") == ["b.log"]
    assert paths("--kind", "name") == ["a.txt"]
    assert paths("--site", "bari") == ["a.txt", "b.log"]
    assert paths("--site", "geneva") == []
    assert paths("--older-than", "1e9") == []
    assert paths("--newer-than", "1e12") == ["a.txt", "b.log"]
    assert commands.run("conflicts", "list", "--path", "none")[0] == ExitCode.DONE


def test_many_are_settled_by_pattern_and_by_site(pair: Pair, commands: JournalCommands) -> None:
    bari, cnaf = pair
    for name in (b"a.txt", b"b.txt", b"c.log"):
        write_at_once(pair, name, b"of bari", b"of cnaf")
    before = commands.json("conflicts", "list")
    words = ("conflicts", "resolve", "--matching", "*.txt", "--take-site", "bari")
    cnaf.close()
    code, text = commands.run(*words, "--dry-run")
    assert code == ExitCode.DONE
    assert text.count("would settle") == 2
    assert commands.json("conflicts", "list") == before
    assert commands.run(*words)[1].count("settled") == 2
    cnaf.open()
    settle(bari, cnaf)
    for site in pair:
        assert (site.read(b"a.txt"), site.read(b"b.txt")) == (b"of bari", b"of bari")
    assert [each["path"] for each in commands.json("conflicts", "list")] == ["c.log"]


def test_a_site_without_a_version_settles_nothing(pair: Pair, commands: JournalCommands) -> None:
    write_at_once(pair, b"file", b"1", b"2")
    code, text = commands.run("conflicts", "resolve", "file", "--take-site", "geneva")
    assert code == ExitCode.NEEDS_PERSON
    assert "no version of it is by geneva" in text


def test_one_or_a_pattern_must_be_named(commands: JournalCommands) -> None:
    code, text = commands.run("conflicts", "resolve", "--take", "winner")
    assert code == ExitCode.BAD_USAGE
    assert "--matching GLOB" in text


class Texts(html.parser.HTMLParser):
    """All text, and whether there is anything that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_report_counts_and_shows_everything_and_escapes_names(
    pair: Pair, commands: JournalCommands, tmp_path: Path
) -> None:
    write_at_once(pair, b"<script>alert(1)<script>", b"1", b"2")
    write_at_once(pair, b"plain", b"1", b"2")
    code, text = commands.run("conflicts", "report")
    assert code == ExitCode.NEEDS_PERSON
    assert text.startswith("2 conflicts in the volume volume, as cnaf knows them at ")
    report = json.loads(commands.run("conflicts", "report", "--format", "json")[1])
    assert (report["count"], report["by_kind"], report["by_directory"]) == (
        2,
        {"name": 2},
        {".": 2},
    )
    assert sum(report["by_day"].values()) == 2
    file = tmp_path / "report.html"
    commands.run("conflicts", "report", "--format", "html", "--output", str(file))
    parser = Texts()
    parser.feed(file.read_text())
    assert "script" not in parser.tags
    assert "<script>alert(1)<script>" in parser.text
    assert "2 are open" in parser.text


def test_a_report_that_can_not_be_written_says_so(commands: JournalCommands) -> None:
    code, text = commands.run("conflicts", "report", "--output", "/no/such/directory/report")
    assert code == ExitCode.FAILED
    assert "cannot write the report to /no/such/directory/report: No such file" in text


def test_who_watches_hears_of_conflicts_that_come_and_go(
    pair: Pair, commands: JournalCommands
) -> None:
    write_at_once(pair, b"file", b"1", b"2")
    watching = subprocess.Popen(
        [sys.executable, "-m", "geosync", "conflicts", "watch"],
        env={**os.environ, "GEOSYNC_CONFIG": str(commands.configuration)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with watching:
        assert watching.stdout is not None
        try:
            assert watching.stdout.readline().startswith("open    ")
            (conflict,) = commands.json("conflicts", "list")
            pair[1].engine.decisions.resolve(conflict["id"], Choice.WINNER)
            settled = watching.stdout.readline()
            assert settled.startswith(f"settled {conflict['id']} file: ")
        finally:
            watching.kill()
