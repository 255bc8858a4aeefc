"""A store that remembers what it was asked for, and fails where a test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from transport.object_store import ObjectStore, StoreCounters

Hook = Callable[[str, str], None]  # is given the method and the object's name; may raise


def let_pass(method: str, name: str) -> None:
    """Lets every request pass."""


@dataclass(slots=True)
class RecordingStore:
    """Passes everything on to another store. `before` and `after` may raise in its place."""

    store: ObjectStore
    before: Hook = let_pass
    after: Hook = let_pass
    calls: list[tuple[str, str]] = field(default_factory=list)  # method and object name

    def names(self, method: str) -> list[str]:
        """Returns the objects that one method was asked for, in order."""
        return [name for called, name in self.calls if called == method]

    def prepare(self) -> None:
        """See ObjectStore."""
        self.store.prepare()

    def put_once(self, name: str, body: bytes) -> None:
        """See ObjectStore."""
        self._begin("put_once", name)
        self.store.put_once(name, body)
        self.after("put_once", name)

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """See ObjectStore."""
        self._begin("get", name)
        return self.store.get(name, size_bytes_max=size_bytes_max)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See ObjectStore."""
        self._begin("get_range", name)
        return self.store.get_range(name, offset, length)

    def list_names(self, prefix: str) -> Iterator[str]:
        """See ObjectStore."""
        self._begin("list_names", prefix)
        return self.store.list_names(prefix)

    def delete(self, name: str) -> None:
        """See ObjectStore."""
        self._begin("delete", name)
        self.store.delete(name)

    def counters(self) -> StoreCounters:
        """See ObjectStore."""
        return self.store.counters()

    def close(self) -> None:
        """See ObjectStore."""
        self.store.close()

    def _begin(self, method: str, name: str) -> None:
        self.calls.append((method, name))
        self.before(method, name)
