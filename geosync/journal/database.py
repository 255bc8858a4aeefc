"""The SQLite database below the journal: opening, migrating, transactions. Home of sqlite-utils."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from sqlite_utils import Database, Migrations  # noqa: TID251 - its home

from geosync.errors import OperatorError
from geosync.journal.schema import TABLES
from geosync.terminal import display_name

FILE_NAME: Final = b"journal.sqlite"
BUSY_TIMEOUT_S: Final = 30.0

_migrations = Migrations("geosync")


@_migrations(name="0001 tables")
def _create_tables(database: Database) -> None:
    statements = re.sub(r"--.*", "", TABLES)
    for statement in statements.split(";"):
        if statement.strip():
            database.execute(statement)


def open_database(state_dir: bytes) -> sqlite3.Connection:
    """Opens the journal of a state directory, and makes or migrates it as needed.

    Raises:
        OperatorError: the file can't be opened, is damaged, or belongs to a newer geosync.
    """
    path = os.path.join(state_dir, FILE_NAME)
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: an acknowledged commit survives a power cut. A lost one would let a counter be
        # used twice, and two different operations with one name can never be told apart again.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -32768")
        _check(connection)
        _migrations.apply(Database(connection))
    except sqlite3.DatabaseError as error:
        raise _explained(path, error) from error
    return connection


def open_database_read_only(state_dir: bytes) -> sqlite3.Connection:
    """Opens the journal of a state directory for looking only, also beside a running daemon.

    Raises:
        OperatorError: there is none, or it can't be read.
    """
    path = os.path.join(state_dir, FILE_NAME)
    if not os.path.exists(path):
        raise OperatorError(
            f"there is no journal {display_name(path)}: this site has not joined its volume yet."
            " Start it with: geosync run, or look whether state_dir is the right one."
        )
    try:
        connection = sqlite3.connect(
            f"file:{quote(path)}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
        )
        connection.execute("SELECT 1 FROM setting LIMIT 1")
    except sqlite3.DatabaseError as error:
        raise _explained(path, error) from error
    return connection


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _explained(path: bytes, error: sqlite3.DatabaseError) -> OperatorError:
    shown = display_name(path)
    if isinstance(error, sqlite3.OperationalError):
        return OperatorError(
            f"cannot open the journal {shown}: {error}. Check that the state directory is"
            " writable for this user, on a disk that is neither full nor read-only."
        )
    return OperatorError(
        f"the journal {shown} is damaged: {error}. Nothing was changed. Move the file away"
        " (keep it) and start again: the site then joins the volume anew with the files it has."
    )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Runs a block as one transaction: all of it is durable afterwards, or none of it happened."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
