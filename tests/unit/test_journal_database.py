"""The journal's database: what may be opened, what is refused, and what a transaction is."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path

import pytest

from geosync.errors import OperatorError
from geosync.journal.database import FILE_NAME
from geosync.journal.journal import Journal
from geosync.journal.schema import TABLES, UNSET_TABLES
from tests.support.full_disk import files_of_at_most


@pytest.fixture
def state_dir(tmp_path: Path) -> bytes:
    return os.fsencode(tmp_path)


def _path(state_dir: bytes) -> bytes:
    return os.path.join(state_dir, FILE_NAME)


def _made(state_dir: bytes) -> None:
    """Makes a journal large enough to have many pages."""
    journal = Journal(state_dir)
    with journal.transaction():
        for number in range(2000):
            journal.set_setting(f"key {number}", b"value" * 20)
    journal.close()


def _bytes_of(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: bytes, body: bytes, offset: int = 0) -> None:
    with open(path, "r+b" if offset else "wb") as file:
        file.seek(offset)
        file.write(body)


# What may be opened


def test_what_was_committed_is_there_when_the_journal_is_opened_again(state_dir: bytes) -> None:
    _made(state_dir)
    journal = Journal(state_dir)
    assert journal.setting("key 1999") == b"value" * 20
    journal.close()


def test_the_journal_of_an_absent_directory_is_refused() -> None:
    with pytest.raises(OperatorError, match="Check that the state directory is writable"):
        Journal(b"/nowhere/at/all")


def test_a_directory_in_which_nobody_can_write_is_refused() -> None:
    """Not even root can write in /proc."""
    with pytest.raises(OperatorError) as refused:
        Journal(b"/proc")
    assert "cannot use the journal /proc/journal.sqlite" in str(refused.value)
    assert "on a disk that is neither full nor read-only" in str(refused.value)


@pytest.mark.parametrize("is_read_only", [False, True])
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    state_dir: bytes, is_read_only: bool
) -> None:
    _write(_path(state_dir), b"notes of somebody, of more than a few bytes\n" * 1000)
    _is_refused(state_dir, "is damaged: file is not a database", is_read_only=is_read_only)


@pytest.mark.parametrize("offset", [5000, 40_000, 100_000])
def test_a_damaged_journal_is_refused_and_left_alone(state_dir: bytes, offset: int) -> None:
    _made(state_dir)
    assert os.path.getsize(_path(state_dir)) > 150_000
    _write(_path(state_dir), os.urandom(20_000), offset)
    text = _is_refused(state_dir, "is damaged: ")
    assert "Nothing was changed. Move the file away (keep it) and start again" in text


def test_a_truncated_journal_is_refused_and_left_alone(state_dir: bytes) -> None:
    _made(state_dir)
    os.truncate(_path(state_dir), os.path.getsize(_path(state_dir)) // 2)
    _is_refused(state_dir, "is damaged: ")


@pytest.mark.parametrize("is_read_only", [False, True])
def test_the_journal_of_a_later_geosync_is_refused_and_left_alone(
    state_dir: bytes, is_read_only: bool
) -> None:
    _made(state_dir)
    with sqlite3.connect(_path(state_dir)) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('geosync', '9999 columns of the future', '2040-01-01')"
        )
    connection.close()
    text = _is_refused(state_dir, "'9999 columns of the future'", is_read_only=is_read_only)
    assert "a later version of geosync has used it" in text
    assert "Nothing was changed. Update geosync" in text


@pytest.mark.parametrize("is_read_only", [False, True])
def test_the_database_of_another_program_is_refused_and_left_alone(
    state_dir: bytes, is_read_only: bool
) -> None:
    with sqlite3.connect(_path(state_dir)) as connection:
        connection.execute("CREATE TABLE bookmark (url TEXT)")
    connection.close()
    text = _is_refused(state_dir, "another program's database", is_read_only=is_read_only)
    assert "bookmark" in text
    assert "Nothing was changed." in text


def _is_refused(state_dir: bytes, finding: str, *, is_read_only: bool = False) -> str:
    before = _bytes_of(_path(state_dir))
    with pytest.raises(OperatorError) as refused:
        Journal(state_dir, is_read_only=is_read_only)
    text = str(refused.value)
    assert os.fsdecode(_path(state_dir)) in text
    assert finding in text
    assert _bytes_of(_path(state_dir)) == before
    return text


# Transactions


def test_a_transaction_that_fails_changes_nothing(state_dir: bytes) -> None:
    journal = Journal(state_dir)
    journal.set_setting("kept", 1)

    def fail() -> None:
        with journal.transaction():
            journal.set_setting("kept", 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert journal.integer_setting("kept") == 1
    _commits(journal)


def test_a_commit_for_which_there_is_no_room_changes_nothing(state_dir: bytes) -> None:
    """Once there is room again, all goes on."""
    journal = Journal(state_dir)
    journal.set_setting("kept", 1)

    def overfill() -> None:
        with journal.transaction():
            journal.set_setting("kept", 2)
            journal.set_setting("large", bytes(300_000))

    with pytest.raises(sqlite3.OperationalError), files_of_at_most(100_000):
        overfill()
    assert journal.integer_setting("kept") == 1
    assert journal.setting("large") is None
    _commits(journal)


def _commits(journal: Journal) -> None:
    with journal.transaction():
        journal.set_setting("kept", 3)
    assert journal.integer_setting("kept") == 3
    journal.close()


def test_an_acknowledged_commit_outlives_a_power_cut(state_dir: bytes) -> None:
    """What SQLite promises with these settings: https://www.sqlite.org/pragma.html."""
    journal = Journal(state_dir)
    pragmas = [
        journal._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    ]
    assert pragmas == ["wal", 2]  # 2: FULL
    journal.close()


# The schema


def test_every_table_and_column_says_what_it_means() -> None:
    assert _undocumented() == []


def _undocumented() -> list[str]:
    missing = []
    text = TABLES + UNSET_TABLES
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)([^;]*);", text, re.DOTALL)
    assert len(tables) == text.count("CREATE TABLE")
    for table, body, options in tables:
        first, *columns = body.split("\n")
        if not re.search(r"--\s*\w+", first):
            missing.append(table)
        if "STRICT" not in options:
            missing.append(f"{table} is not strict")
        for line in columns:
            name = line.split()[0]
            if name not in ("PRIMARY", "UNIQUE") and not re.search(r"--\s*\S+", line):
                missing.append(f"{table}.{name}")
    return missing
