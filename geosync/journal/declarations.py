"""What sites declared of the volume's life, as the journal keeps it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from conflict.operations import Declare, Topic, Transaction
from conflict.version import Dot, VersionVector
from transport.operation_codec import (
    decode_operation,
    decode_vector,
    encode_operation,
    encode_vector,
)


@dataclass(frozen=True, slots=True)
class Declaration:
    """A declaration, with what its author had received when it was written."""

    operation: Declare
    received: VersionVector


class JournalDeclarations:
    """Declarations of all actors, our own included. Writes belong into a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_all(self, transactions: Iterable[Transaction]) -> None:
        """Keeps the declarations among the operations."""
        self.keep(
            Declaration(operation, transaction.received)
            for transaction in transactions
            for operation in transaction
            if isinstance(operation, Declare)
        )

    def keep(self, declarations: Iterable[Declaration]) -> None:
        """Keeps declarations, from wherever they are known."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO declaration VALUES (?, ?, ?, ?, ?)",
            [
                (
                    each.operation.dot.actor,
                    each.operation.dot.counter,
                    each.operation.topic,
                    encode_vector(each.received),
                    encode_operation(each.operation),
                )
                for each in declarations
            ],
        )

    def of_topic(self, topic: Topic) -> list[Declaration]:
        """Returns the declarations of one topic, in the order of the times in their stamps."""
        rows = self._connection.execute(
            "SELECT record, received FROM declaration WHERE topic = ?", (topic,)
        )
        found = [_unpacked(record, received) for record, received in rows]
        # An epoch says nothing here: a standby that knows of the primary's writes after it.
        return sorted(found, key=lambda each: (each.operation.stamp.ticks, each.operation.dot))

    def all(self) -> list[Declaration]:
        """Returns all declarations, in the order of their dots."""
        rows = self._connection.execute(
            "SELECT record, received FROM declaration ORDER BY actor, counter"
        )
        return [_unpacked(record, received) for record, received in rows]

    def clear(self) -> None:
        """Forgets all declarations."""
        self._connection.execute("DELETE FROM declaration")

    def forget(self, dots: Iterable[Dot]) -> None:
        """Drops declarations that nothing follows from any more."""
        self._connection.executemany(
            "DELETE FROM declaration WHERE actor = ? AND counter = ?", list(dots)
        )


def _unpacked(record: bytes, received: bytes) -> Declaration:
    operation = decode_operation(record)
    assert isinstance(operation, Declare)
    return Declaration(operation, decode_vector(received))
