"""An object store in a directory of a file system: one machine, or NFS between several."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import threading
from typing import TYPE_CHECKING, Final

from conflict.errors import GeosyncError
from transport.errors import (
    CorruptObject,
    ObjectCollision,
    ObjectNotVisible,
    StoreRefused,
    StoreUnavailable,
)
from transport.object_store import (
    AREAS,
    StoreCounters,
    StoreMeter,
    check_range,
    is_name,
    split_name,
    split_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_INCOMING: Final = "incoming"
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_REFUSALS: Final = frozenset(
    {
        errno.EACCES,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMLINK,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EROFS,
        errno.EXDEV,
    }
)


class DirectoryStore:
    """An `ObjectStore` of plain files: `<root>/<area>/<rest>`, each complete from its first moment.

    An object is written under `<root>/incoming`, synced, and then linked to its name: link(2)
    refuses a taken name atomically, also between processes and over NFS. What a killed process
    leaves in `incoming` belongs to no object; it may be removed when no geosync is running.

    Only `prepare` creates the root and its areas. All else refuses a root without them, so that a
    file system that is not mounted is never mistaken for an empty store.
    """

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._meter = StoreMeter()
        self._durable_lock = threading.Lock()
        self._durable_directories: set[bytes] = set()

    def prepare(self) -> None:
        """Creates the root and its areas where they are missing; see `ObjectStore.prepare`."""
        try:
            os.makedirs(self._root, mode=0o770, exist_ok=True)
            for area in (_INCOMING, *AREAS):
                _make_directory(self._path(area))
            _sync_directory(os.path.dirname(os.path.abspath(self._root)))
        except OSError as error:
            raise self._failure("prepare the store", error) from error

    def put_once(self, name: str, body: bytes) -> None:
        """Stores the bytes durably; see `ObjectStore.put_once`."""
        area, _ = split_name(name)
        self._meter.count(requests=1, upload_bytes=len(body))
        try:
            self._put(name, body)
        except OSError as error:
            self._require_area(area)
            self._require_area(_INCOMING)
            raise self._failure(f"put {name}", error) from error

    def get(self, name: str, *, size_bytes_max: int) -> bytes:
        """Returns the bytes; see `ObjectStore.get`."""
        with self._open(name) as file:
            size_bytes = os.fstat(file).st_size
            if size_bytes > size_bytes_max:
                raise CorruptObject(
                    f"get {self._describe(name)}: it has {size_bytes} bytes, at most "
                    f"{size_bytes_max} were expected; nothing of ours is that long"
                )
            return self._read(name, file, 0, size_bytes)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns part of the bytes; see `ObjectStore.get_range`."""
        check_range(name, offset, length)
        with self._open(name) as file:
            return self._read(name, file, offset, length)

    def list_names(self, prefix: str) -> Iterator[str]:
        """Yields names; see `ObjectStore.list_names`."""
        area, _ = split_prefix(prefix)
        self._meter.count(requests=1)
        self._require_area(area)
        directory, _, _ = prefix.rpartition("/")
        try:
            yield from self._walk(directory, prefix)
        except OSError as error:
            raise self._failure(f"list {prefix}", error) from error

    def delete(self, name: str) -> None:
        """Removes the object; see `ObjectStore.delete`."""
        area, _ = split_name(name)
        self._meter.count(requests=1)
        try:
            # CRASH: not synced; a power cut may bring the object back, as the contract allows.
            os.unlink(self._path(name))
        except OSError as error:
            self._require_area(area)
            if error.errno not in _ABSENT:
                raise self._failure(f"delete {name}", error) from error

    def counters(self) -> StoreCounters:
        """Returns what was done so far."""
        return self._meter.read()

    def close(self) -> None:
        """Holds nothing open between calls."""

    def _path(self, name: str) -> bytes:
        return os.path.join(self._root, name.encode("ascii"))

    def _describe(self, name: str) -> str:
        return f"{name} in the directory {os.fsdecode(self._root)}"

    def _put(self, name: str, body: bytes) -> None:
        path = self._path(name)
        self._make_durable_parents(name)
        incoming = self._path(f"{_INCOMING}/{secrets.token_hex(16)}")
        try:
            _write_file(incoming, body)
            try:
                os.link(incoming, path)
            except FileExistsError:
                self._require_equal(name, body)
        finally:
            # CRASH: before this line a file stays in `incoming`, where nobody looks for objects.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(incoming)
        # Also for equal bytes that somebody else linked: they may not have synced it yet.
        _sync_directory(os.path.dirname(path))

    def _make_durable_parents(self, name: str) -> None:
        """Makes the directories below the area, each synced into its parent once per process."""
        segments = name.split("/")
        for depth in range(2, len(segments)):
            directory = self._path("/".join(segments[:depth]))
            with self._durable_lock:
                known = directory in self._durable_directories
            if not known or not os.path.isdir(directory):
                _make_directory(directory)
                with self._durable_lock:
                    self._durable_directories.add(directory)

    def _require_equal(self, name: str, body: bytes) -> None:
        try:
            stored = self.get(name, size_bytes_max=len(body))
        except CorruptObject:
            stored = None
        except ObjectNotVisible as error:
            raise StoreUnavailable(
                f"put {self._describe(name)}: the name is taken, but holds no object; "
                "it was deleted just now, or other names use it as a directory"
            ) from error
        if stored != body:
            raise ObjectCollision(
                f"put {self._describe(name)}: the name holds other bytes; "
                "find out who else writes under this name"
            )

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[int]:
        area, _ = split_name(name)
        self._meter.count(requests=1)
        try:
            file = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                yield file
            finally:
                os.close(file)
        except OSError as error:
            self._require_area(area)
            if error.errno in _ABSENT:
                raise ObjectNotVisible(
                    f"get {self._describe(name)}: not visible now; "
                    "ask again later, or ask its writer"
                ) from error
            raise self._failure(f"get {name}", error) from error

    def _read(self, name: str, file: int, offset: int, length: int) -> bytes:
        parts = []
        position = offset
        while position < offset + length:
            part = os.pread(file, offset + length - position, position)
            if not part:
                raise CorruptObject(
                    f"get {length} bytes at {offset} of {self._describe(name)}: it ends at "
                    f"{position}; it was cut short, or the reference to it is wrong"
                )
            parts.append(part)
            position += len(part)
        self._meter.count(download_bytes=length)
        return b"".join(parts)

    def _walk(self, directory: str, prefix: str) -> Iterator[str]:
        """Yields the names below a directory in byte order, in which a directory ends with '/'."""
        try:
            with os.scandir(self._path(directory)) as entries:
                keys = sorted(
                    f"{directory}/{os.fsdecode(entry.name)}"
                    + "/" * entry.is_dir(follow_symlinks=False)
                    for entry in entries
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        for key in keys:
            if not key.startswith(prefix):
                continue
            if key.endswith("/"):
                if is_name(key + "x"):
                    yield from self._walk(key[:-1], prefix)
            elif is_name(key):
                yield key

    def _require_area(self, area: str) -> None:
        """Tells a store that is not there from an object that is not there."""
        path = self._path(area)
        if not os.path.isdir(path):
            raise StoreRefused(
                f"use the store directory {os.fsdecode(self._root)}: there is no directory "
                f"{os.fsdecode(path)}; mount the file system, correct the path, or let "
                "`geosync init` create the store"
            )

    def _failure(self, attempt: str, error: OSError) -> GeosyncError:
        found = f"{attempt} in the directory {os.fsdecode(self._root)}: {error.strerror or error}"
        if error.errno in _REFUSALS:
            return StoreRefused(f"{found}; check its owner, permissions, mount and file names")
        return StoreUnavailable(f"{found}; will work again when the file system does")


def _make_directory(path: bytes) -> None:
    """Makes a directory, or finds it made, and makes sure that it outlives a power cut."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode=0o770)
    _sync_directory(os.path.dirname(path))


def _write_file(path: bytes, body: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
    try:
        rest = memoryview(body)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def _sync_directory(path: bytes) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
