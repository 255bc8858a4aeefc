"""Files that belong together: captured as of one moment in one transaction, or refused loudly."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import pytest

from conflict.observation import DirectoryListing
from conflict.operations import Delete, Put
from conflict.synced import Path
from geosync.configuration.capture_rules import (
    CaptureRule,
    CaptureRules,
    GroupKind,
    GroupRule,
    OpenFiles,
)
from geosync.disk.interface import Disk, RelativePath
from tests.support.local_sites import LocalSite, local_sites, settle
from transport.memory_store import MemoryStore
from transport.object_names import log_prefix, parse_segment_name
from transport.segment import SEGMENT_OBJECT_SIZE_BYTES_MAX, ExpectedSegment, decode_segment

DATABASE = b"data/wiki.db"
REPORTED = "group data/wiki.db"


def rule(
    kind: GroupKind, glob: bytes, open_files: OpenFiles = OpenFiles.WAIT, *, together: bool = True
) -> CaptureRules:
    return CaptureRules(
        groups=(GroupRule(kind, CaptureRule((glob,), open_files, 0), is_together=together),)
    )


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sites(store: MemoryStore) -> Iterator[list[LocalSite]]:
    with local_sites(store, "bari", "cnaf") as both:
        settle(*both)
        yield both


def with_rules(site: LocalSite, capture_rules: CaptureRules) -> LocalSite:
    site.close()
    site.capture_rules = capture_rules
    return site.open()


def transactions_of(site: LocalSite, store: MemoryStore) -> list[tuple[int, int]]:
    """How many contents and how many deletions each published transaction has."""
    actor = site.engine.site.actor
    found = []
    for name in sorted(store.list_names(log_prefix(actor))):
        expected = ExpectedSegment("volume", actor, parse_segment_name(name).sequence)
        body = store.get(name, size_bytes_max=SEGMENT_OBJECT_SIZE_BYTES_MAX)
        for transaction in decode_segment(body, site.engine.site.hasher, expected).transactions:
            puts = sum(isinstance(operation, Put) for operation in transaction)
            deletes = sum(isinstance(operation, Delete) for operation in transaction)
            if puts or deletes:
                found.append((puts, deletes))
    return found


def connect(site: LocalSite, relative: bytes = DATABASE) -> sqlite3.Connection:
    os.makedirs(os.path.dirname(site.path(relative)), exist_ok=True)
    connection = sqlite3.connect(os.fsdecode(site.path(relative)), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS page (number INTEGER, text TEXT)")
    return connection


def pages(site: LocalSite, relative: bytes = DATABASE) -> list[int]:
    """Reads a copy, as opening a database in WAL mode writes beside it."""
    copied = site.base + b"/copy-of-" + site.name.encode()
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(os.path.dirname(site.path(relative)), copied)
    path = os.path.join(copied, os.path.basename(relative))
    with closing(sqlite3.connect(os.fsdecode(path))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in connection.execute("SELECT number FROM page ORDER BY number")]


@dataclass
class Interfering:
    """A disk on which something happens when a directory is listed."""

    disk: Disk
    act: Callable[[RelativePath], None]

    def list_directory(self, directory: RelativePath) -> DirectoryListing:
        self.act(directory)
        return self.disk.list_directory(directory)

    def __getattr__(self, name: str) -> object:
        return getattr(self.disk, name)


def names_of(waiting: dict[Path, str]) -> set[bytes]:
    return {path[-1] for path in waiting}


class TestUndeclaredDatabases:
    def test_one_that_is_in_use_is_refused_loudly_until_it_is_closed(
        self, sites: list[LocalSite]
    ) -> None:
        bari, cnaf = sites
        with closing(connect(bari)) as connection:
            connection.execute("INSERT INTO page VALUES (1, 'x')")
            bari.write(b"data/other", b"not delayed")
            for _ in range(5):
                bari.cycle()
                cnaf.cycle()
            assert os.listdir(cnaf.path(b"data")) == [b"other"]
            problem = bari.problems()[REPORTED]
            assert "must not be synced file by file" in problem
            assert "[[file_group]]" in problem
            assert names_of(bari.engine.waiting()) >= {b"wiki.db", b"wiki.db-wal"}
        settle(bari, cnaf)
        assert REPORTED not in bari.problems()
        assert pages(cnaf) == [1]

    def test_what_a_program_that_was_killed_left_is_captured_in_one_transaction(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        bari, cnaf = sites
        with closing(connect(bari, b"elsewhere/wiki.db")) as connection:
            connection.execute("INSERT INTO page VALUES (1, 'x')")
            shutil.copytree(bari.path(b"elsewhere"), bari.path(b"data"))
            shutil.rmtree(bari.path(b"elsewhere"))
        settle(bari, cnaf)
        assert transactions_of(bari, store) == [(2, 0)]
        assert sorted(os.listdir(cnaf.path(b"data"))) == [b"wiki.db", b"wiki.db-wal"]
        assert pages(cnaf) == [1]

    def test_a_file_that_is_only_called_like_a_companion_is_captured_alone(
        self, sites: list[LocalSite]
    ) -> None:
        bari, cnaf = sites
        bari.write(b"travel", b"text")
        bari.write(b"travel-journal", b"text")
        with open(bari.path(b"travel-journal"), "ab") as journal:
            journal.write(b"more")
            bari.cycle()
            cnaf.cycle()
            assert cnaf.read(b"travel") == b"text"
        settle(bari, cnaf)


class TestDeclaredDatabases:
    def test_the_end_of_a_log_and_what_it_held_are_one_transaction(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        """The old log beside the new database would write old pages over new ones."""
        bari, cnaf = sites
        with_rules(bari, rule(GroupKind.SQLITE, b"*.db", OpenFiles.SNAPSHOT))
        connection = connect(bari)
        connection.execute("INSERT INTO page VALUES (1, 'x')")
        settle(bari, cnaf)
        assert os.path.exists(cnaf.path(DATABASE + b"-wal"))
        before = len(transactions_of(bari, store))
        connection.execute("INSERT INTO page VALUES (2, 'y')")
        connection.close()
        settle(bari, cnaf)
        assert transactions_of(bari, store)[before:] == [(1, 1)]
        assert not os.path.exists(cnaf.path(DATABASE + b"-wal"))
        assert pages(cnaf) == [1, 2]

    def test_every_snapshot_of_a_database_that_is_in_use_opens_and_has_all_its_commits(
        self, sites: list[LocalSite]
    ) -> None:
        bari, cnaf = sites
        with_rules(bari, rule(GroupKind.SQLITE, DATABASE, OpenFiles.SNAPSHOT))
        with closing(connect(bari)) as connection:
            connection.execute("PRAGMA wal_autocheckpoint=3")
            for number in range(20):
                text = "x" * (3000 * (number % 4))
                connection.execute("INSERT INTO page VALUES (?, ?)", (number, text))
                settle(bari, cnaf)
                assert pages(cnaf) == list(range(number + 1))

    def test_what_is_written_between_two_members_is_never_half_captured(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        """A transaction commits whenever the group is about to be compared with what was seen."""
        bari, cnaf = sites
        number, is_writing = 0, True
        connection = connect(bari)

        def write(directory: RelativePath) -> None:
            nonlocal number
            if directory == b"data" and is_writing:
                number += 1
                connection.execute("INSERT INTO page VALUES (?, 'x')", (number,))

        bari.wrap_disk = lambda disk: cast("Disk", Interfering(disk, write))
        with_rules(bari, rule(GroupKind.SQLITE, DATABASE, OpenFiles.SNAPSHOT))
        for _ in range(6):
            bari.cycle()
            cnaf.cycle()
        assert number > 6
        assert not os.path.exists(cnaf.path(DATABASE))
        assert transactions_of(bari, store) == []
        assert REPORTED in bari.problems()
        is_writing = False
        settle(bari, cnaf)
        assert pages(cnaf) == list(range(1, number + 1))
        assert REPORTED not in bari.problems()
        connection.close()

    def test_readers_alone_bring_nothing_to_capture(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        """SQLite notes in the -shm file who reads what."""
        bari, cnaf = sites
        with_rules(bari, rule(GroupKind.SQLITE, DATABASE, OpenFiles.SNAPSHOT))
        with closing(connect(bari)) as connection:
            connection.execute("INSERT INTO page VALUES (1, 'x')")
            settle(bari, cnaf)
            before = transactions_of(bari, store)
            with closing(sqlite3.connect(os.fsdecode(bari.path(DATABASE)))) as reader:
                assert reader.execute("SELECT count(*) FROM page").fetchone() == (1,)
                os.utime(bari.path(DATABASE + b"-shm"))
                settle(bari, cnaf)
            assert transactions_of(bari, store) == before
        assert not os.path.exists(cnaf.path(DATABASE + b"-shm"))

    def test_one_that_is_excluded_stays_at_its_site(self, sites: list[LocalSite]) -> None:
        bari, cnaf = sites
        with_rules(bari, rule(GroupKind.SQLITE, b"*.db", OpenFiles.EXCLUDE))
        with closing(connect(bari)):
            settle(bari, cnaf)
            assert names_of(dict.fromkeys(bari.engine.excluded(), "")) == {
                b"wiki.db",
                b"wiki.db-shm",
                b"wiki.db-wal",
            }
        assert os.listdir(cnaf.path(b"data")) == []

    def test_one_that_is_no_group_by_the_operators_word_is_captured_file_by_file(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        bari, cnaf = sites
        with_rules(bari, rule(GroupKind.SQLITE, b"*.db", together=False))
        bari.write(DATABASE, b"SQLite format 3\0" + bytes(100))
        bari.write(DATABASE + b"-wal", b"log")
        with open(bari.path(DATABASE + b"-wal"), "ab"):
            bari.cycle()
            cnaf.cycle()
        assert transactions_of(bari, store) == [(1, 0)]
        assert REPORTED not in bari.problems()


class TestDirectories:
    def test_a_directory_that_is_written_anywhere_is_captured_later_as_a_whole(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        bari, cnaf = sites
        with_rules(bari, rule(GroupKind.DIRECTORY, b"set"))
        for name in (b"set/a", b"set/deep/b", b"set/deep/er/c"):
            bari.write(name, b"1")
        with open(bari.path(b"set/deep/b"), "ab") as file:
            bari.cycle()
            cnaf.cycle()
            assert os.listdir(cnaf.path(b"set")) == []
            assert all(b"set" in path for path in bari.engine.waiting())
            file.write(b"2")
        settle(bari, cnaf)
        assert transactions_of(bari, store) == [(3, 0)]
        assert cnaf.read(b"set/deep/b") == b"12"

    def test_changes_renames_and_deletions_in_it_are_one_transaction(
        self, sites: list[LocalSite], store: MemoryStore
    ) -> None:
        bari, cnaf = sites
        with_rules(bari, rule(GroupKind.DIRECTORY, b"set"))
        for name in (b"set/a", b"set/deep/b", b"set/deep/c", b"set/d"):
            bari.write(name, b"content of " + name)
        settle(bari, cnaf)
        before = len(transactions_of(bari, store))
        bari.write(b"set/a", b"new")
        os.unlink(bari.path(b"set/deep/b"))
        os.rename(bari.path(b"set/deep"), bari.path(b"set/renamed"))
        with open(bari.path(b"set/d"), "ab", buffering=0) as file:
            file.write(b"!")
            for _ in range(3):
                bari.cycle()
                cnaf.cycle()
            assert cnaf.read(b"set/a") == b"content of set/a"
            assert cnaf.read(b"set/deep/b") == b"content of set/deep/b"
        settle(bari, cnaf)
        assert transactions_of(bari, store)[before:] == [(2, 1)]
        assert sorted(os.listdir(cnaf.path(b"set"))) == [b"a", b"d", b"renamed"]
        assert os.listdir(cnaf.path(b"set/renamed")) == [b"c"]
        assert cnaf.read(b"set/a") == b"new"

    def test_a_file_that_leaves_it_for_elsewhere_is_never_lost(
        self, sites: list[LocalSite]
    ) -> None:
        bari, cnaf = sites
        with_rules(bari, rule(GroupKind.DIRECTORY, b"set"))
        bari.write(b"set/a", b"a")
        bari.write(b"set/b", b"b")
        settle(bari, cnaf)
        with open(bari.path(b"set/b"), "ab") as file:
            file.write(b"!")
            file.flush()
            os.rename(bari.path(b"set/a"), bari.path(b"outside"))
            for _ in range(3):
                bari.cycle()
                cnaf.cycle()
        settle(bari, cnaf)
        assert cnaf.read(b"outside") == b"a"
        assert os.listdir(cnaf.path(b"set")) == [b"b"]
        assert os.stat(cnaf.path(b"outside")).st_nlink == 1


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
class TestGit:
    def git(self, site: LocalSite, *words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=os.fsdecode(site.path(b"work")),
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def test_an_undeclared_one_in_which_a_command_is_at_work_is_told_and_keeps_its_lock(
        self, sites: list[LocalSite]
    ) -> None:
        bari, cnaf = sites
        bari.write(b"work/file", b"1")
        self.git(bari, "init", "--quiet")
        settle(bari, cnaf)
        bari.write(b"work/.git/index.lock", b"")
        bari.write(b"work/file", b"2")
        for _ in range(5):
            bari.cycle()
            cnaf.cycle()
        assert cnaf.read(b"work/file") == b"2"
        assert not os.path.exists(cnaf.path(b"work/.git/index.lock"))
        assert "index.lock" in bari.problems()["group work/.git"]
        os.unlink(bari.path(b"work/.git/index.lock"))
        settle(bari, cnaf)
        assert bari.problems() == {}

    def test_a_declared_one_arrives_whole(self, sites: list[LocalSite], store: MemoryStore) -> None:
        bari, cnaf = sites
        with_rules(bari, rule(GroupKind.GIT, b".git"))
        bari.write(b"work/file", b"1")
        self.git(bari, "init", "--quiet")
        self.git(bari, "add", "file")
        bari.write(b"work/.git/HEAD.lock", b"")
        settled = [bari.cycle() for _ in range(3)]
        assert settled[-1].captured == 0
        assert "HEAD.lock" in bari.engine.waiting()[b"work", b".git", b"HEAD"]
        os.unlink(bari.path(b"work/.git/HEAD.lock"))
        settle(bari, cnaf)
        assert self.git(cnaf, "ls-files") == "file\n"
        before = len(transactions_of(bari, store))
        self.git(bari, "commit", "--quiet", "--message", "first")
        settle(bari, cnaf)
        assert len(transactions_of(bari, store)) == before + 1
        assert self.git(cnaf, "fsck", "--strict", "--no-dangling") == ""
        assert self.git(cnaf, "log", "--format=%s") == "first\n"
