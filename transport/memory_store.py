"""The reference object store: a dictionary. It defines what the contract means."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from transport.errors import CorruptObject, ObjectCollision, ObjectNotVisible
from transport.object_store import (
    StoreCounters,
    StoreMeter,
    check_range,
    split_name,
    split_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class MemoryStore:
    """An `ObjectStore` in memory, for tests and simulations; sites share one by sharing it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bodies: dict[str, bytes] = {}
        self._meter = StoreMeter()

    def prepare(self) -> None:
        """Has nothing to create."""

    def put_once(self, name: str, body: bytes) -> None:
        """Stores the bytes; see `ObjectStore.put_once`."""
        split_name(name)
        self._meter.count(requests=1, upload_bytes=len(body))
        with self._lock:
            if self._bodies.setdefault(name, body) != body:
                raise ObjectCollision(
                    f"put {name} in memory: the name holds other bytes; "
                    "find out who else writes under this name"
                )

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns the bytes; see `ObjectStore.get`."""
        body = self._find(name)
        if len(body) > size_bytes_max:
            raise CorruptObject(
                f"get {name} from memory: it has {len(body)} bytes, at most {size_bytes_max} "
                "were expected; nothing of ours is that long"
            )
        self._meter.count(download_bytes=len(body))
        return body

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns part of the bytes; see `ObjectStore.get_range`."""
        check_range(name, offset, length)
        body = self._find(name)
        if offset + length > len(body):
            raise CorruptObject(
                f"get {length} bytes at {offset} of {name} from memory: it has {len(body)} bytes; "
                "it was cut short, or the reference to it is wrong"
            )
        self._meter.count(download_bytes=length)
        return body[offset : offset + length]

    def list_names(self, prefix: str) -> Iterator[str]:
        """Yields names; see `ObjectStore.list_names`."""
        split_prefix(prefix)
        self._meter.count(requests=1)
        with self._lock:
            names = sorted(name for name in self._bodies if name.startswith(prefix))
        yield from names

    def delete(self, name: str) -> None:
        """Removes the object; see `ObjectStore.delete`."""
        split_name(name)
        self._meter.count(requests=1)
        with self._lock:
            self._bodies.pop(name, None)

    def counters(self) -> StoreCounters:
        """Returns what was done so far."""
        return self._meter.read()

    def close(self) -> None:
        """Keeps everything: another site may share this store."""

    def _find(self, name: str) -> bytes:
        split_name(name)
        self._meter.count(requests=1)
        with self._lock:
            body = self._bodies.get(name)
        if body is None:
            raise ObjectNotVisible(
                f"get {name} from memory: not visible now; ask again later, or ask its writer"
            )
        return body
