"""A writer's serial numbers, and its place outside of the tree for what is not there yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class SerialNumbers:
    """Never gives the same identity twice."""

    def __init__(self, site: str, writer: str, directory: bytes) -> None:
        """Takes the writer's names, and a directory of its own on the file system of the tree."""
        self._prefix = f"{site}.{writer}"
        self._directory = directory
        self._last = 0

    def next(self) -> str:
        """Returns a fresh identity."""
        self._last += 1
        return f"{self._prefix}.{self._last:06d}"

    def outside_path(self) -> bytes:
        """Returns a fresh name outside of the tree."""
        self._last += 1
        return os.path.join(self._directory, b"outside-%06d" % self._last)

    @contextmanager
    def outside_file(self, content: bytes) -> Iterator[bytes]:
        """Makes a file outside of the tree; it is gone afterwards, wherever it went."""
        path = self.outside_path()
        with open(path, "wb") as file:
            file.write(content)
        try:
            yield path
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
