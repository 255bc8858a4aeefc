"""Places where a process may die: in the disk's windows, around store requests and commits."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conflict.operations import Transaction
from geosync.journal.journal import Journal
from transport.object_store import ObjectStore, StoreCounters


class Killed(BaseException):
    """The process is gone. Not an Exception: nobody may survive it."""


@dataclass(slots=True)
class Death:
    """Decides where the process dies; `die` is what happens to its disk at that moment."""

    fate: random.Random
    die: Callable[[str], None]
    rate: float = 0.0

    def may_strike(self, point: str) -> None:
        """Raises Killed when the dice say so."""
        if self.rate > 0 and self.fate.random() < self.rate:
            self.die(point)
            raise Killed(point)


class MortalJournal(Journal):
    """A journal whose process may die before and after each commit.

    Whatever was committed to the outbox is told to `note`: the store must get it one day.
    """

    def __init__(self, state_dir: bytes, death: Death, note: Callable[[Transaction], None]) -> None:
        super().__init__(state_dir)
        self.death = death
        self._note = note
        self._pending: list[Transaction] = []
        self._add_to_outbox = self.log.add_to_outbox
        self.log.add_to_outbox = self._watched_add  # type: ignore[method-assign]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """See Journal."""
        self._pending.clear()
        with super().transaction():
            yield
            self.death.may_strike("before commit")
        for transaction in self._pending:
            self._note(transaction)
        self.death.may_strike("after commit")

    def _watched_add(self, transaction: Transaction) -> None:
        self._add_to_outbox(transaction)
        self._pending.append(transaction)


class MortalStore:
    """A store whose client may die before and after each request.

    Whatever was acknowledged is told to `note`, name and body: it must be there for ever.
    """

    def __init__(
        self, store: ObjectStore, death: Death, note: Callable[[str, bytes], None]
    ) -> None:
        self._store = store
        self._death = death
        self._note = note

    def prepare(self) -> None:
        """See ObjectStore."""
        self._store.prepare()

    def put_once(self, name: str, body: bytes) -> None:
        """See ObjectStore."""
        self._death.may_strike(f"before put {name}")
        self._store.put_once(name, body)
        self._note(name, body)
        self._death.may_strike(f"after put {name}")

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """See ObjectStore."""
        self._death.may_strike(f"before get {name}")
        return self._store.get(name, size_bytes_max=size_bytes_max)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See ObjectStore."""
        self._death.may_strike(f"before get {name}")
        return self._store.get_range(name, offset, length)

    def list_names(self, prefix: str) -> Iterator[str]:
        """See ObjectStore."""
        self._death.may_strike(f"before list {prefix}")
        return self._store.list_names(prefix)

    def delete(self, name: str) -> None:
        """See ObjectStore."""
        self._death.may_strike(f"before delete {name}")
        self._store.delete(name)

    def counters(self) -> StoreCounters:
        """See ObjectStore."""
        return self._store.counters()

    def close(self) -> None:
        """See ObjectStore."""
        self._store.close()
