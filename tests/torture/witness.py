"""What a program displaces by an action: seen through descriptors that it held before.

The daemon may swap a name in the very instant in which a program writes to it. A descriptor of
what was there tells afterwards whether that, or something else, lost its name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from tests.torture.action_log import Outcome
from tests.torture.signed_content import digest_of, digest_of_link, last_identity


@dataclass(frozen=True, slots=True)
class Held:
    """A file or symbolic link, open, as it was before the action."""

    descriptor: int  # by O_PATH
    inode: tuple[int, int]
    link_count: int
    is_symlink: bool
    content: bytes  # or the target

    @property
    def digest(self) -> str:
        """What it held before the action."""
        return (digest_of_link if self.is_symlink else digest_of)(self.content)

    @property
    def identity(self) -> str:
        """The last record in it."""
        return last_identity(self.content)

    def content_now(self) -> bytes:
        """Returns what it holds now, with or without a name."""
        if self.is_symlink:
            return self.content
        with open(self.reopenable, "rb") as file:
            return file.read()

    @property
    def reopenable(self) -> bytes:
        """A path that opens this very inode, whatever has its name by now."""
        return b"/proc/self/fd/%d" % self.descriptor


def look_at(path: bytes, stack: ExitStack) -> Held | None:
    """Opens what is at a name; None for nothing and for a directory."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    stack.callback(os.close, descriptor)
    status = os.fstat(descriptor)
    is_symlink = stat.S_ISLNK(status.st_mode)
    if not is_symlink and not stat.S_ISREG(status.st_mode):
        return None
    if is_symlink:
        content = os.readlink(b"", dir_fd=descriptor)
    else:
        with open(b"/proc/self/fd/%d" % descriptor, "rb") as file:
            content = file.read()
    inode = (status.st_dev, status.st_ino)
    return Held(descriptor, inode, status.st_nlink, is_symlink, content)


class Witness:
    """Looks at names before an action, and judges after it what became of what was there."""

    def __init__(self, *paths: bytes) -> None:
        self._paths = paths
        self._stack = ExitStack()
        self._held = {path: look_at(path, self._stack) for path in paths}

    def at(self, path: bytes) -> Held | None:
        """Returns what was at one of the names."""
        return self._held[path]

    def close(self) -> None:
        """Closes the descriptors."""
        self._stack.close()

    def judge(self, outcome: Outcome, written: str = "") -> None:
        """Adds to the outcome what the action displaced.

        Args:
            outcome: of the action, which has been done, or failed.
            written: the digest of what it wrote.
        """
        seen: set[tuple[int, int]] = set()
        for held in self._held.values():
            if held is None or held.inode in seen:
                continue
            seen.add(held.inode)
            self._judge(held, outcome, written)

    def _judge(self, held: Held, outcome: Outcome, written: str) -> None:
        links_now = os.fstat(held.descriptor).st_nlink
        has_lost_its_name = held.link_count == 1 and links_now == 0
        is_overwritten = held.digest != written and digest_of(held.content_now()) == written
        if has_lost_its_name or is_overwritten:
            outcome.displaced.append(held.digest)
        elif held.inode not in self._inodes_now():
            outcome.is_unsure = True

    def _inodes_now(self) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        for path in self._paths:
            with suppress(OSError):
                status = os.lstat(path)
                found.add((status.st_dev, status.st_ino))
        return found


@contextmanager
def witness(*paths: bytes) -> Iterator[Witness]:
    """Looks at names for the time of the block."""
    looking = Witness(*paths)
    try:
        yield looking
    finally:
        looking.close()
