"""The spool: packs that were captured and that the store does not have yet, as files."""

from __future__ import annotations

import os
from collections.abc import Iterable

from transport.object_names import parse_pack_name


class Spool:
    """A directory of pack files. A file is complete and durable before any journal names it."""

    def __init__(self, directory: bytes) -> None:
        """Makes the directory when it is missing. Raises OSError."""
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._directory = directory

    def write(self, name: str, body: bytes) -> None:
        """Keeps a pack, durably. Raises OSError: nothing of it is kept.

        CRASH: a file without a row in the journal is left; `clear` removes it at the next start.
        """
        path = self._path(name)
        os.makedirs(self._directory, mode=0o700, exist_ok=True)  # somebody may have removed it
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self.remove(name)
            raise
        self._sync_directory()

    def read(self, name: str) -> bytes:
        """Returns a pack. Raises OSError."""
        with open(self._path(name), "rb") as file:
            return file.read()

    def read_range(self, name: str, offset_bytes: int, size_bytes: int) -> bytes:
        """Returns a part of a pack. Raises OSError: FileNotFoundError when it is not here."""
        with open(self._path(name), "rb") as file:
            return os.pread(file.fileno(), size_bytes, offset_bytes)

    def has(self, name: str) -> bool:
        """Tells whether a pack is here."""
        return os.path.exists(self._path(name))

    def size_bytes(self, name: str) -> int:
        """Returns the size of a pack; 0 when it is not here."""
        try:
            return os.stat(self._path(name)).st_size
        except FileNotFoundError:
            return 0

    def remove(self, name: str) -> None:
        """Forgets a pack that the store has."""
        try:
            os.unlink(self._path(name))
        except FileNotFoundError:
            return

    def clear(self, keep: Iterable[str]) -> None:
        """Removes what a killed run left, all but the packs named."""
        kept = {os.path.basename(self._path(name)) for name in keep}
        for found in os.listdir(self._directory):
            if found not in kept:
                os.unlink(os.path.join(self._directory, found))

    def _path(self, name: str) -> bytes:
        pack = parse_pack_name(name)
        file_name = b"%s-%012x.pack" % (pack.actor.hex().encode(), pack.number)
        return os.path.join(self._directory, file_name)

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
