"""A watched tree for tests: what was marked is gathered, conditions are awaited."""

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from geosync.watching.dirty_directories import DirtyDirectories
from geosync.watching.tree_watcher import TreeWatcher

SENTINEL = b"sentinel"
EXCLUDED = b".geosync"

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_AWAITED_S = 30.0

_libc = ctypes.CDLL(None, use_errno=True)


class WatchedTree:
    """A running watcher, and all that it marked since the last `forget`."""

    def __init__(self, root: Path, *, retry_s: float = 30.0) -> None:
        self.root = os.fsencode(root)
        self.dirty = DirtyDirectories(settle_s=0.0, settle_s_max=0.0)
        self.watcher = TreeWatcher(
            self.root, self.dirty, excluded=frozenset({EXCLUDED}), retry_s=retry_s
        )
        self.marked: dict[bytes, bool] = {}

    def take(self, timeout_s: float = 0.05) -> None:
        """Waits for marks and gathers them."""
        self.dirty.wait(timeout_s)
        for found in self.dirty.take(time.monotonic()):
            self.marked[found.directory] = found.recursive or self.marked.get(
                found.directory, False
            )

    def until(self, condition: Callable[[], object]) -> None:
        """Gathers marks until the condition holds."""
        deadline_s = time.monotonic() + _AWAITED_S
        while not condition():
            assert time.monotonic() < deadline_s, f"{self.marked!r:.500} {self.watcher.health()}"
            self.take()

    def until_marked(self, directory: bytes, *, recursive: bool = False) -> None:
        """Gathers marks until this one is there; a recursive one serves for both."""
        self.until(
            lambda: self.marked.get(directory, False) >= recursive and directory in self.marked
        )

    def forget(self) -> None:
        """Lets every event so far be handled, then forgets all marks."""
        self.settle()
        self.marked.clear()

    def settle(self) -> None:
        """Returns when everything that was done before is marked: events come in order."""
        for _ in range(2):  # what the same poll found out after the event comes before the second
            self.marked.pop(SENTINEL, None)
            os.utime(os.path.join(self.root, SENTINEL, b"file"), ns=(1, 1))
            self.until_marked(SENTINEL)
        del self.marked[SENTINEL]

    def path(self, *names: bytes) -> bytes:
        """A path below the root."""
        return os.path.join(self.root, *names)

    def directories(self) -> set[bytes]:
        """All directories of the tree that are to be watched, relative to the root."""
        found = {os.path.relpath(path, self.root) for path, _, _ in os.walk(self.root)}
        return {b"" if path == b"." else path for path in found if path != EXCLUDED}


@contextmanager
def watching(root: Path, *, retry_s: float = 30.0) -> Iterator[WatchedTree]:
    """Yields a tree that is watched completely, with the marks of the start forgotten."""
    (root / os.fsdecode(SENTINEL)).mkdir(exist_ok=True)
    (root / os.fsdecode(SENTINEL) / "file").touch()
    os.utime(root / os.fsdecode(SENTINEL) / "file", ns=(1, 1))
    tree = WatchedTree(root, retry_s=retry_s)
    tree.watcher.start()
    try:
        tree.until_marked(b"", recursive=True)
        tree.marked.clear()
        yield tree
    finally:
        tree.watcher.stop()


def exchange(one: bytes, other: bytes) -> None:
    """Swaps two paths in one step."""
    if _libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), one)
