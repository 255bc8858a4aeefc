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

from geosync.errors import OperatorError, StateUnusable
from geosync.journal.schema import (
    BRAKE_TABLES,
    COLLECTION_TABLES,
    DECLARATION_TABLES,
    DRIFT_TABLES,
    FORGETTING_TABLES,
    HISTORY_TABLES,
    INLINE_TABLES,
    LARGE_FILE_TABLES,
    SETTLEMENT_TABLES,
    SEVERAL_LOCATIONS,
    TABLES,
    UNSET_TABLES,
)
from geosync.terminal import display_name

FILE_NAME: Final = b"journal.sqlite"
BUSY_TIMEOUT_S: Final = 30.0

_migrations = Migrations("geosync")
_KNOWN_MIGRATIONS: Final = (
    "0001 tables",
    "0002 unset attributes",
    "0003 declarations",
    "0006 brakes",
    "0008 several locations of a chunk",
    "0007 drift and late writes",
    "0005 history without segments",
    "0004 collection",
    "0009 forgetting",
    "0011 settlements",
    "0016 large files",
    "0017 inline chunks to announce",
)


@_migrations(name=_KNOWN_MIGRATIONS[0])
def _create_tables(database: Database) -> None:
    _run(database, TABLES)


@_migrations(name=_KNOWN_MIGRATIONS[1])
def _create_unset_tables(database: Database) -> None:
    _run(database, UNSET_TABLES)


@_migrations(name=_KNOWN_MIGRATIONS[2])
def _create_declaration_tables(database: Database) -> None:
    _run(database, DECLARATION_TABLES)


@_migrations(name="0006 brakes")
def _create_brake_tables(database: Database) -> None:
    _run(database, BRAKE_TABLES)


@_migrations(name="0008 several locations of a chunk")
def _keep_several_locations(database: Database) -> None:
    _run(database, SEVERAL_LOCATIONS)


@_migrations(name="0007 drift and late writes")
def _create_drift_tables(database: Database) -> None:
    _run(database, DRIFT_TABLES)


@_migrations(name="0005 history without segments")
def _create_history_tables(database: Database) -> None:
    _run(database, HISTORY_TABLES)


@_migrations(name="0004 collection")
def _create_collection_tables(database: Database) -> None:
    _run(database, COLLECTION_TABLES)


@_migrations(name="0009 forgetting")
def _create_forgetting_tables(database: Database) -> None:
    _run(database, FORGETTING_TABLES)


@_migrations(name="0011 settlements")
def _create_settlement_tables(database: Database) -> None:
    _run(database, SETTLEMENT_TABLES)


@_migrations(name="0016 large files")
def _mark_packs_of_large_files(database: Database) -> None:
    _run(database, LARGE_FILE_TABLES)


@_migrations(name="0017 inline chunks to announce")
def _find_inline_chunks_to_announce(database: Database) -> None:
    _run(database, INLINE_TABLES)


def _run(database: Database, tables: str) -> None:
    statements = re.sub(r"--.*", "", tables)
    for statement in statements.split(";"):
        if statement.strip():
            database.execute(statement)


def open_database(state_dir: bytes) -> sqlite3.Connection:
    """Opens the journal of a state directory, and makes or migrates it as needed.

    Raises:
        OperatorError: the file can't be opened, is damaged, or belongs to a newer geosync.
    """
    path = os.path.join(state_dir, FILE_NAME)
    with explaining(state_dir):
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        with _closed_on_error(connection):
            _check(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: an acknowledged commit survives a power cut. A lost one would let a counter be
            # used twice, and two different operations with one name can never be told apart again.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -8192")
            _migrations.apply(Database(connection))
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
    with explaining(state_dir):
        connection = sqlite3.connect(
            f"file:{quote(path)}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
        )
        with _closed_on_error(connection):
            _check_is_ours(connection, path)
            connection.execute("SELECT 1 FROM setting LIMIT 1")
    return connection


def _check(connection: sqlite3.Connection, path: bytes) -> None:
    """Looks at a file before anything is written to it."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    _check_is_ours(connection, path)


def _check_is_ours(connection: sqlite3.Connection, path: bytes) -> None:
    database = Database(connection)
    tables = database.table_names()
    if tables and Migrations.migrations_table not in tables:
        raise OperatorError(
            f"{display_name(path)} is another program's database, with the tables"
            f" {', '.join(tables[:5])}. Nothing was changed. Choose another state_dir."
        )
    applied = (migration.name for migration in _migrations.applied(database))
    unknown = [name for name in applied if name not in _KNOWN_MIGRATIONS]
    if unknown:
        raise OperatorError(
            f"the journal {display_name(path)} has changes that this version does not know"
            f" ({unknown[0]!r}): a later version of geosync has used it. Nothing was changed."
            " Update geosync on this site."
        )


@contextlib.contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextlib.contextmanager
def explaining(state_dir: bytes) -> Iterator[None]:
    """Turns what a disk does to the journal, while a block uses it, into words for the operator.

    Raises:
        OperatorError: the journal can't be read or written now, or is damaged.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
            raise  # a mistake of ours
        if getattr(error, "sqlite_errorname", "") == "SQLITE_ERROR":
            raise  # a statement that the tables don't fit: nothing that an operator can mend
        raise _explained(os.path.join(state_dir, FILE_NAME), error) from error


def _explained(path: bytes, error: sqlite3.DatabaseError) -> OperatorError:
    shown = display_name(path)
    if isinstance(error, sqlite3.OperationalError):
        return StateUnusable(
            f"cannot use the journal {shown}: {error}. Check that the state directory is"
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
