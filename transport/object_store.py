"""The interface of every object store, the rule for object names, and the counters of a store."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from conflict.errors import MalformedValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

AREAS: Final = ("actors", "checkpoints", "log", "packs", "volume")
"""The first segment of every object name; each area is a container or directory of its own."""

NAME_LENGTH_MAX: Final = 1000
"""Characters of a whole name; Swift's limit is 1024 bytes."""

SEGMENT_LENGTH_MAX: Final = 200
"""Characters between two slashes; the usual limit of a file system is 255 bytes."""

_NAME: Final = re.compile(r"[0-9A-Za-z_.-]+(/[0-9A-Za-z_.-]+)+")


def split_name(name: str) -> tuple[str, str]:
    """Takes an object name apart into its area and the rest, and so proves it well formed.

    Names keep to characters that no HTTP client, proxy or file system rewrites, and have no
    empty and no dot segments, which HTTP libraries normalise away (RFC 3986, section 5.2.4).

    Raises:
        MalformedValueError: the name breaks a rule.
    """
    area, _, rest = name.partition("/")
    segments = name.split("/")
    if (
        not _NAME.fullmatch(name)
        or area not in AREAS
        or len(name) > NAME_LENGTH_MAX
        or any(segment in {".", ".."} or len(segment) > SEGMENT_LENGTH_MAX for segment in segments)
    ):
        raise MalformedValueError(
            f"{name!r} is not an object name: expected <area>/<rest> with an area of "
            f"{', '.join(AREAS)}, at most {NAME_LENGTH_MAX} characters of 0-9A-Za-z/_.- and no "
            f"segment that is empty, '.', '..' or longer than {SEGMENT_LENGTH_MAX}"
        )
    return area, rest


def is_name(text: str) -> bool:
    """Tells whether `split_name` accepts the text; foreign objects in a store are not ours."""
    try:
        split_name(text)
    except MalformedValueError:
        return False
    return True


def split_prefix(prefix: str) -> tuple[str, str]:
    """Takes the prefix of a listing apart into its area and the rest, which may be empty.

    Raises:
        MalformedValueError: no name could begin so; a prefix names its area and the slash.
    """
    area, rest = split_name(prefix + "x")
    return area, rest[:-1]


def check_range(name: str, offset: int, length: int) -> None:
    """Proves that a byte range is one: HTTP cannot ask for a range of no bytes.

    Raises:
        MalformedValueError: the offset is negative or the length is below one.
    """
    if offset < 0 or length < 1:
        raise MalformedValueError(
            f"cannot read {length} bytes at offset {offset} of {name}: not a byte range"
        )


@dataclass(frozen=True, slots=True)
class EndpointState:
    """How one of several ways to a store is doing.

    Attributes:
        name: as configured.
        is_in_use: whether it is the one that is asked first.
        problem: why it is left alone at present; "" when it is well.
        down_for_s: for how long; 0 when it is well.
    """

    name: str
    is_in_use: bool
    problem: str = ""
    down_for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StoreCounters:
    """What a store has done since it was opened; of several endpoints, how they are doing."""

    requests: int = 0
    upload_bytes: int = 0
    download_bytes: int = 0
    endpoints: tuple[EndpointState, ...] = ()


class StoreMeter:
    """Counts what a store does. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters = StoreCounters()

    def count(self, *, requests: int = 0, upload_bytes: int = 0, download_bytes: int = 0) -> None:
        """Adds to the counters."""
        with self._lock:
            before = self._counters
            self._counters = StoreCounters(
                before.requests + requests,
                before.upload_bytes + upload_bytes,
                before.download_bytes + download_bytes,
            )

    def read(self) -> StoreCounters:
        """Returns the counters as they are now."""
        with self._lock:
            return self._counters


class ObjectStore(Protocol):
    """A flat set of named, immutable byte strings that several sites can reach.

    Every method may be called from several threads at once. Besides the errors named below each
    may raise `StoreUnavailable`, `StoreRefused`, and `MalformedValueError` for a malformed name.

    What is promised is what an eventually consistent store can keep: an object that one site
    stored may be invisible to another for a while, a listing may lag or show what is gone, a
    deleted object may come back. Hence names are never used twice for different bytes. No name
    may be a directory of another (`log/a` beside `log/a/b`): a file system cannot hold both.
    """

    def prepare(self) -> None:
        """Creates the container or directory of each area where it is missing. Idempotent."""
        ...

    def put_once(self, name: str, body: bytes) -> None:
        """Stores the bytes under a name that nobody has used, and returns when that is certain.

        Equal bytes that are already there count as stored, so repeating a call is harmless.

        Raises:
            ObjectCollision: the name holds other bytes; they stay as they are.
            StoreUnavailable: unknown whether it is stored; call again with the *same* bytes.
        """
        ...

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns a whole object, of which no more than `size_bytes_max` bytes are ever read.

        Raises:
            ObjectNotVisible: not visible here now, which proves nothing.
            CorruptObject: longer than allowed, or its checksum is wrong.
        """
        ...

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns exactly `length` bytes (at least one) from `offset`, in bytes.

        No store checks the sum of a part: what lies in a part must carry a checksum of its own.

        Raises:
            ObjectNotVisible: not visible here now, which proves nothing.
            CorruptObject: the object ends before the range does.
            MalformedValueError: the offset is negative or the length below one.
        """
        ...

    def list_names(self, prefix: str) -> Iterator[str]:
        """Yields names that begin with the prefix (`<area>/` at least), in byte order.

        Only a hint: names may be missing that `get` would find, and shown that it would not.
        Objects whose names geosync could not have written are left out.
        """
        ...

    def delete(self, name: str) -> None:
        """Removes an object; one that is absent counts as removed. It may come back for a while."""
        ...

    def counters(self) -> StoreCounters:
        """Returns what was done so far. Never raises."""
        ...

    def close(self) -> None:
        """Releases connections. The store is not used afterwards. Never raises."""
        ...
