"""The journal as one: its parts, its settings, and its transactions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from conflict.observation import Fingerprint
from conflict.synced import EntryId, SyncedEntry
from geosync.journal.brakes import JournalBrakes
from geosync.journal.chunks import JournalChunks
from geosync.journal.collection import JournalCollection
from geosync.journal.database import (
    explaining,
    open_database,
    open_database_read_only,
    transaction,
)
from geosync.journal.declarations import JournalDeclarations
from geosync.journal.drift import JournalDrift
from geosync.journal.forgetting import JournalForgetting
from geosync.journal.history import JournalHistory
from geosync.journal.integrity import damages
from geosync.journal.log import JournalLog
from geosync.journal.nodes import JournalNodes
from geosync.journal.records import pack_whole_entry, unpack_whole_entry
from geosync.journal.settlements import JournalSettlements
from geosync.journal.synced_entries import JournalSynced

ANY_DIRECTORY = b""  # for a handle: that of a directory which is only just being made


@dataclass(frozen=True, slots=True)
class RetiredFile:
    """A file that was taken from its name and may still be written by a program that has it."""

    token: bytes
    handle: bytes
    fingerprint: Fingerprint  # as it was right after it was taken away
    since_ms: int
    was: SyncedEntry


@dataclass(frozen=True, slots=True)
class Intent:
    """A change of the disk that was begun; after a crash the disk tells whether it was done."""

    entry: EntryId
    handle: bytes  # inode that is at its path once it is done (of a removal, what went)
    becomes: SyncedEntry | None  # None: a removal


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that an operator should know of."""

    subject: bytes
    since_ms: int
    text: str


class Journal:
    """Used by one thread, the control thread. A crash leaves a prefix of its transactions."""

    def __init__(self, state_dir: bytes, *, is_read_only: bool = False) -> None:
        """Opens the journal in a directory, which it makes unless it is only to be read.

        Raises:
            OperatorError: it can't be opened.
        """
        self._state_dir = state_dir
        opening = open_database_read_only if is_read_only else open_database
        self._connection = opening(state_dir)
        self.nodes = JournalNodes(self._connection)
        self.synced = JournalSynced(self._connection)
        self.log = JournalLog(self._connection)
        self.chunks = JournalChunks(self._connection)
        self.collection = JournalCollection(self._connection)
        self.declarations = JournalDeclarations(self._connection)
        self.history = JournalHistory(self._connection)
        self.brakes = JournalBrakes(self._connection)
        self.drift = JournalDrift(self._connection)
        self.forgetting = JournalForgetting(self._connection)
        self.settlements = JournalSettlements(self._connection)

    def close(self) -> None:
        """Closes the database. A transaction that is open is rolled back."""
        self._connection.close()

    def damages(self) -> list[str]:
        """Returns what is wrong with the tables, in words; nothing when they are intact."""
        return damages(self._connection)

    def explaining(self) -> AbstractContextManager[None]:
        """Makes a block, that uses the journal, raise OperatorError when a disk does not let it."""
        return explaining(self._state_dir)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes a block's changes one: durable when it ends, undone when it raises."""
        try:
            with transaction(self._connection):
                self.nodes.begin()
                yield
                self.nodes.flush()
        except BaseException:
            self.nodes.forget_changes()
            self.synced.forget_cached()
            raise

    def hold_snapshot(self) -> None:
        """Makes all later reads see the journal as it is now. For one that is only read."""
        self._connection.execute("BEGIN")
        self.setting("actor")  # the first read settles what is seen

    def setting(self, key: str) -> bytes | None:
        """Returns a fact about this journal."""
        row = self._connection.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def integer_setting(self, key: str) -> int:
        """Returns a number, 0 when it was never set."""
        return int(self.setting(key) or b"0")

    def set_setting(self, key: str, value: bytes | int) -> None:
        """Writes a fact about this journal."""
        stored = value if isinstance(value, bytes) else b"%d" % value
        self._connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (key, stored))

    def add_retired(self, retired: RetiredFile) -> None:
        """Remembers a displaced file until it is proven unwritten."""
        self._connection.execute(
            "INSERT OR REPLACE INTO retired VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                retired.token,
                retired.handle,
                retired.fingerprint.size_bytes,
                retired.fingerprint.mtime_ns,
                retired.fingerprint.ctime_ns,
                retired.since_ms,
                pack_whole_entry(retired.was),
            ),
        )

    def retired(self) -> list[RetiredFile]:
        """Returns the displaced files, oldest first."""
        rows = self._connection.execute("SELECT * FROM retired ORDER BY since_ms, token")
        return [
            RetiredFile(token, handle, Fingerprint(*seen), since_ms, unpack_whole_entry(record))
            for token, handle, *seen, since_ms, record in rows
        ]

    def retired_tokens(self) -> set[bytes]:
        """Returns the names of the displaced files in the trash."""
        return {token for (token,) in self._connection.execute("SELECT token FROM retired")}

    def remove_retired(self, token: bytes) -> None:
        """Forgets a displaced file."""
        self._connection.execute("DELETE FROM retired WHERE token = ?", (token,))

    def begin_intents(self, intents: Iterable[Intent]) -> None:
        """Remembers changes of the disk that are about to be made."""
        rows = (
            (i.entry, i.handle, None if i.becomes is None else pack_whole_entry(i.becomes))
            for i in intents
        )
        self._connection.executemany(
            "INSERT INTO intent (entry, handle, record) VALUES (?, ?, ?)", rows
        )

    def intents(self) -> list[Intent]:
        """Returns the changes that were begun and not ended, in their order."""
        rows = self._connection.execute("SELECT entry, handle, record FROM intent ORDER BY number")
        return [
            Intent(EntryId(entry), handle, unpack_whole_entry(record) if record else None)
            for entry, handle, record in rows
        ]

    def end_intents(self) -> None:
        """Forgets them: the synced tree tells what became of them."""
        self._connection.execute("DELETE FROM intent")

    def mirrored(self) -> dict[bytes, bytes]:
        """Returns the conflict copies in the private directory: path -> content digest."""
        return dict(self._connection.execute("SELECT path, digest FROM mirrored").fetchall())

    def set_mirrored(self, path: bytes, digest: bytes | None) -> None:
        """Remembers a conflict copy in the private directory; None: it is there no more."""
        if digest is None:
            self._connection.execute("DELETE FROM mirrored WHERE path = ?", (path,))
        else:
            self._connection.execute(
                "INSERT OR REPLACE INTO mirrored VALUES (?, ?)", (path, digest)
            )

    def set_problem(self, subject: bytes, text: str, now_ms: int) -> None:
        """Records a problem; one that was there keeps the time since when it is there.

        Bytes of a file name that are not UTF-8, which SQLite takes for no text, become escapes.
        """
        legible = text.encode(errors="backslashreplace").decode()
        self._connection.execute(
            "INSERT INTO problem VALUES (?, ?, ?)"
            " ON CONFLICT (subject) DO UPDATE SET text = excluded.text",
            (subject, now_ms, legible),
        )

    def clear_problem(self, subject: bytes) -> None:
        """Records that a problem is over."""
        if self._connection.execute(
            "SELECT 1 FROM problem WHERE subject = ?", (subject,)
        ).fetchone():
            self._connection.execute("DELETE FROM problem WHERE subject = ?", (subject,))

    def problems(self) -> list[Problem]:
        """Returns what an operator should know of, oldest first."""
        rows = self._connection.execute(
            "SELECT subject, since_ms, text FROM problem ORDER BY since_ms, subject"
        )
        return [Problem(*row) for row in rows]
