"""An object store that is only read: whatever a replica does, it writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from transport.errors import StoreRefused
from transport.object_store import ObjectStore, StoreCounters


class ReadOnlyStore:
    """An `ObjectStore` that hands reads on to another one, and refuses everything else."""

    def __init__(self, store: ObjectStore) -> None:
        """Takes the store that is read."""
        self._store = store

    def prepare(self) -> None:
        """Does nothing: who writes has made what there is."""

    def put_once(self, name: str, body: bytes) -> None:
        """Raises StoreRefused."""
        _refuse(f"store {name} ({len(body)} bytes)")

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns the bytes; see `ObjectStore.get`."""
        return self._store.get(name, size_bytes_max=size_bytes_max)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns part of the bytes; see `ObjectStore.get_range`."""
        return self._store.get_range(name, offset, length)

    def list_names(self, prefix: str) -> Iterator[str]:
        """Yields names; see `ObjectStore.list_names`."""
        return self._store.list_names(prefix)

    def delete(self, name: str) -> None:
        """Raises StoreRefused."""
        _refuse(f"delete {name}")

    def counters(self) -> StoreCounters:
        """Returns what the other store did."""
        return self._store.counters()

    def close(self) -> None:
        """Closes the other store."""
        self._store.close()


def _refuse(what: str) -> NoReturn:
    raise StoreRefused(f"{what}: this site is a replica, which writes nothing to the store")
