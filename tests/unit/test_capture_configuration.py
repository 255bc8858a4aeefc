"""What the tables [[capture]] and [[file_group]] say, and which file each is about."""

from __future__ import annotations

import tomllib

import pytest

from geosync.configuration.capture_rules import CaptureRule, CaptureRules, GroupKind, OpenFiles
from geosync.configuration.volume_configuration import (
    Configuration,
    default_configuration_text,
    parse_configuration,
)
from geosync.errors import ConfigurationError

MINIMAL = 'volume = "wiki"\nsite = "bari"\nroot = "/srv/wiki"\n'
COMPLETE = """
[[capture]]
paths = ["*.log", "spool/**"]
open_files = "snapshot"
snapshot_every_s = 60
[[capture]]
paths = ["cache/**"]
open_files = "exclude"
[[file_group]]
paths = ["data/*.sqlite3"]
kind = "sqlite"
open_files = "snapshot"
[[file_group]]
paths = ["private.git"]
kind = "git"
open_files = "exclude"
[[file_group]]
paths = ["*.git"]
kind = "git"
[[file_group]]
paths = ["old.db"]
kind = "sqlite"
together = false
"""


def parsed(tables: str) -> Configuration:
    return parse_configuration(tomllib.loads(MINIMAL + tables), "file.toml")


def rules(tables: str = COMPLETE) -> CaptureRules:
    return parsed(tables).capture


def problems(tables: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parsed(tables)
    return [problem.key for problem in caught.value.problems]


def path(text: str) -> tuple[bytes, ...]:
    return tuple(text.encode().split(b"/"))


def test_without_tables_every_file_is_waited_for() -> None:
    assert rules("") == CaptureRules()
    assert rules("").rule_for(path("a/b.log")).open_files is OpenFiles.WAIT
    assert not rules("").may_exclude


@pytest.mark.parametrize(
    ("name", "open_files"),
    [
        ("app.log", OpenFiles.SNAPSHOT),
        ("deep/below/app.log", OpenFiles.SNAPSHOT),
        ("spool/a/b", OpenFiles.SNAPSHOT),
        ("cache/app.log", OpenFiles.SNAPSHOT),  # the first table decides
        ("cache/image", OpenFiles.EXCLUDE),
        ("not/cache/image", OpenFiles.WAIT),
        ("app.log.1", OpenFiles.WAIT),
    ],
)
def test_the_first_table_that_matches_decides(name: str, open_files: OpenFiles) -> None:
    assert rules().rule_for(path(name)).open_files is open_files


def test_a_table_has_the_interval_that_was_written_or_the_default() -> None:
    assert rules().rule_for(path("app.log")).snapshot_every_s == 60
    database = rules().database_rule(path("data/wiki.sqlite3"))
    assert database is not None
    assert database.capture.snapshot_every_s == CaptureRule(()).snapshot_every_s


def test_a_directory_group_is_the_outermost_directory_that_matches() -> None:
    found = rules().directory_rule(path("a/outer.git/modules/inner.git/objects"))
    assert found is not None
    assert found[0] == path("a/outer.git")
    assert found[1].kind is GroupKind.GIT
    assert rules().directory_rule(path("a/b")) is None


@pytest.mark.parametrize(
    ("name", "is_excluded"),
    [
        ("cache/image", True),
        ("cache/app.log", False),
        ("private.git/objects/12/34", True),
        ("public.git/objects/12/34", False),
        ("data/wiki.sqlite3-wal", False),
        ("data/wiki.sqlite3", False),
    ],
)
def test_what_is_excluded(name: str, *, is_excluded: bool) -> None:
    assert rules().is_excluded(path(name)) == is_excluded


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_an_excluded_database_is_excluded_with_its_companions(suffix: str) -> None:
    table = '[[file_group]]\npaths = ["w.db"]\nkind = "sqlite"\nopen_files = "exclude"\n'
    assert rules(table).is_excluded(path("w.db" + suffix))
    assert not rules(table).is_excluded(path("v.db" + suffix))


def test_all_problems_are_told_at_once_with_the_table_they_are_in() -> None:
    found = problems(
        """
[[capture]]
path = ["*.log"]
[[capture]]
paths = ["/etc/*", "../x", 7, "ok"]
open_files = "snapshots"
snapshot_every_s = -1
[[capture]]
paths = []
open_files = "wait"
snapshot_every_s = 5
[[file_group]]
paths = ["*.git"]
together = "yes"
"""
    )
    assert sorted(found) == sorted(
        [
            "[[capture]] 1: path",
            "[[capture]] 1: paths",
            "[[capture]] 2: paths",
            "[[capture]] 2: paths",
            "[[capture]] 2: paths",
            "[[capture]] 2: open_files",
            "[[capture]] 2: snapshot_every_s",
            "[[capture]] 2: snapshot_every_s",
            "[[capture]] 3: paths",
            "[[capture]] 3: snapshot_every_s",
            "[[file_group]] 1: kind",
            "[[file_group]] 1: together",
        ]
    )


def test_a_table_that_is_no_array_is_refused() -> None:
    assert problems('[capture]\npaths = ["*.log"]\n') == ["capture"]


def test_the_file_that_is_written_reads_back_with_its_rules() -> None:
    configuration = parsed(COMPLETE)
    text = default_configuration_text(configuration)
    assert parse_configuration(tomllib.loads(text), "again") == configuration
