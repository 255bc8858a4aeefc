"""`geosync conflicts resolve` with a content of one's own, in a dialogue, and `undo`."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conflict.policy import rule_from
from geosync.exit_codes import ExitCode
from tests.support.disk_tree import disk_tree
from tests.support.journal_commands import JournalCommands
from tests.support.local_sites import LocalSite, settle
from tests.support.pair_of_sites import Pair, pair_of_sites, store_in, write_at_once


class Decider:
    """An operator of the second site, whose daemon does not run."""

    def __init__(self, pair: Pair, commands: JournalCommands) -> None:
        self.pair = pair
        self.commands = commands

    def run(self, *words: str) -> tuple[int, str]:
        self.pair[1].close()
        try:
            return self.commands.run("conflicts", *words)
        finally:
            self.pair[1].open()

    def must(self, *words: str) -> str:
        code, text = self.run(*words)
        assert code == ExitCode.DONE, text
        return text

    def open_conflicts(self) -> int:
        """Returns how many are open, alike at both sites, which show the same tree."""
        settle(*self.pair)
        counts = [len(site.engine.conflicts()) for site in self.pair]
        assert counts[0] == counts[1]
        assert disk_tree(self.pair[0].root) == disk_tree(self.pair[1].root)
        return counts[0]

    def read(self, path: bytes) -> bytes:
        return self.pair[0].read(path)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of_sites(store_in(tmp_path / "store")) as made:
        yield made


@pytest.fixture
def decider(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Decider:
    return Decider(pair, JournalCommands(pair[1], tmp_path, capsys, tmp_path / "store"))


def test_the_content_of_a_file_takes_the_name(pair: Pair, decider: Decider, tmp_path: Path) -> None:
    write_at_once(pair, b"file", b"1\n", b"2\n", ancestor=b"0\n")
    content = os.urandom(3_000_000)
    (tmp_path / "own").write_bytes(content)
    assert "settled" in decider.must("resolve", "file", "--file", str(tmp_path / "own"))
    assert decider.open_conflicts() == 0
    assert decider.read(b"file") == content
    code, text = decider.run("resolve", "file", "--file", "/no/such/file")
    assert (code, "no open conflict" in text) == (ExitCode.FAILED, True)


def test_changes_of_different_lines_are_merged_and_others_left(
    pair: Pair, decider: Decider
) -> None:
    base = b"1\n2\n3\n"
    write_at_once(pair, b"a.txt", b"one\n2\n3\n", b"1\n2\nthree\n", ancestor=base)
    write_at_once(pair, b"b.txt", b"one\n2\n3\n", b"eins\n2\n3\n", ancestor=base)
    code, text = decider.run("resolve", "--matching", "*.txt", "--merge")
    assert code == ExitCode.NEEDS_PERSON
    assert "both versions changed the same lines; --edit" in text
    assert decider.open_conflicts() == 1
    assert decider.read(b"a.txt") == b"one\n2\nthree\n"
    assert decider.read(b"b.txt") == b"eins\n2\n3\n"


def test_a_person_decides_about_disputed_lines_in_an_editor(
    pair: Pair, decider: Decider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_at_once(pair, b"a.txt", b"one\n2\n3\n", b"eins\n2\ndrei\n", ancestor=b"1\n2\n3\n")
    seen = tmp_path / "seen"
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\ncp "$1" {seen}\nprintf \'decided\\n\' > "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", "")
    monkeypatch.setenv("EDITOR", "true")  # leaves everything as it is
    code, text = decider.run("resolve", "a.txt", "--edit")
    assert (code, "there are lines left" in text) == (ExitCode.FAILED, True)
    monkeypatch.setenv("EDITOR", str(editor))
    decider.must("resolve", "a.txt", "--edit")
    shown = seen.read_text().splitlines()
    assert [line[:12] for line in shown[:-1:2]] == [
        "<<<<<<< winn",
        "||||||| ance",
        "======= ",
        ">>>>>>> lose",
    ]
    assert shown[1::2] == ["eins", "1", "one", "2"]
    assert shown[-1] == "drei"
    assert decider.open_conflicts() == 0
    assert decider.read(b"a.txt") == b"decided\n"


def test_what_was_changed_since_it_was_looked_at_is_not_overwritten(
    pair: Pair, decider: Decider
) -> None:
    write_at_once(pair, b"file", b"1\n", b"2\n", ancestor=b"0\n")
    (conflict,) = pair[1].engine.conflicts()
    assert conflict.winner_version is not None
    seen = conflict.winner_version.dot.label
    pair[0].write(b"file", b"newer\n")
    settle(*pair)
    with pytest.raises(Exception, match="was changed meanwhile"):
        pair[1].engine.decisions.resolve_with(conflict.identity, [b"merged\n"], seen=seen)
    assert decider.open_conflicts() == 1
    assert decider.read(b"file") == b"newer\n"


def test_a_dialogue_asks_about_one_after_the_other(
    pair: Pair, decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (b"a", b"b", b"c"):
        write_at_once(pair, name, b"1\n", b"2\n", ancestor=b"0\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("x\nd\nm\nl\ns\nb\n"))
    code, text = decider.run("resolve", "--interactive")
    assert code == ExitCode.NEEDS_PERSON  # one was skipped
    assert "1 of 3: conflict" in text
    assert "-2\n+1\n" in text
    assert "both versions changed the same lines" in text
    assert decider.open_conflicts() == 1
    assert decider.read(b"a") == b"1\n"
    assert sorted(disk_tree(pair[0].root)) == [b"a", b"b", b"c", next(iter(copies(pair[0])))]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert decider.run("resolve", "b", "--interactive")[0] == ExitCode.NEEDS_PERSON
    assert decider.open_conflicts() == 1


def copies(site: LocalSite) -> list[bytes]:
    return [path for path in disk_tree(site.root) if b".gs-" in path]


@pytest.mark.parametrize("take", ["winner", "loser", "both"])
def test_a_decision_is_undone(pair: Pair, decider: Decider, take: str) -> None:
    write_at_once(pair, b"file", b"1\n", b"2\n", ancestor=b"0\n")
    decider.must("resolve", "file", "--take", take)
    assert decider.open_conflicts() == 0
    assert "both versions are back" in decider.must("undo")
    assert decider.open_conflicts() == 1
    assert decider.read(b"file") == b"2\n"
    assert copies(pair[0]) == []
    (conflict,) = pair[0].engine.conflicts()
    decider.must("resolve", conflict.identity, "--take", "loser")
    assert decider.open_conflicts() == 0
    assert decider.read(b"file") == b"1\n"


def test_what_was_written_since_stays_when_a_decision_is_undone(
    pair: Pair, decider: Decider
) -> None:
    write_at_once(pair, b"file", b"1\n", b"2\n", ancestor=b"0\n")
    decider.must("resolve", "file", "--take", "loser")
    assert decider.open_conflicts() == 0
    pair[0].write(b"file", b"newer\n")
    settle(*pair)
    decider.must("undo", "file")
    assert decider.open_conflicts() == 2
    assert decider.read(b"file") == b"newer\n"


def test_a_decision_is_undone_once_and_only_where_it_was_made(pair: Pair, decider: Decider) -> None:
    code, text = decider.run("undo")
    assert (code, "nothing was settled here" in text) == (ExitCode.FAILED, True)
    write_at_once(pair, b"file", b"1\n", b"2\n", ancestor=b"0\n")
    (conflict,) = pair[1].engine.conflicts()
    decider.must("resolve", "file", "--take", "winner")
    decider.must("undo", conflict.identity)
    (listed,) = json.loads(decider.must("undo", "--list", "--json"))
    assert listed["is_undone"]
    assert decider.run("undo")[0] == ExitCode.FAILED


def test_a_deleted_file_comes_back_when_a_decision_is_undone(pair: Pair, decider: Decider) -> None:
    write_at_once(pair, b"file", b"1\n", b"2\n", ancestor=b"0\n")
    decider.must("resolve", "file", "--take", "winner")
    os.unlink(pair[0].path(b"file"))
    settle(*pair)
    decider.must("undo")
    assert decider.open_conflicts() == 1
    assert decider.read(b"file") == b"2\n"


def test_show_says_why_a_policy_did_not_settle_it(pair: Pair, decider: Decider) -> None:
    pair[0].engine.decisions.set_policy(rule_from("*.txt", "merge"))
    write_at_once(pair, b"a.txt", b"1\n", b"2\n", ancestor=b"0\n")
    text = decider.must("show", "a.txt")
    assert "not merged      the versions change the same lines, and differently" in text
