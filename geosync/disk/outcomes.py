"""Turning what stops a change into the outcome that the engine is told."""

import errno
import os
from collections.abc import Callable

from conflict.observation import DiskEntry, DiskKind
from geosync.disk.interface import Applied, Busy, Expected, Failed, Mismatch, Staged
from geosync.disk.tree import Pinned


class Differs(Exception):
    """Something else than expected was found, and nothing is changed."""

    def __init__(self, found: DiskEntry | None) -> None:
        super().__init__()
        self.found = found


class HasWriter(Exception):
    """A program has the file open, or mapped, for writing, and nothing is changed."""


def attempt(
    action: str, path: bytes, change: Callable[[], Applied]
) -> Applied | Mismatch | Busy | Failed:
    """Makes a change and returns what came of it; `action` and `path` name it to the operator."""
    try:
        return change()
    except Differs as difference:
        return Mismatch(difference.found)
    except HasWriter:
        return Busy()
    except OSError as error:
        reason = f"can't {action} {os.fsdecode(path)}: {error.strerror or error}"
        return Failed(reason, error.errno or 0)


def require_expected(found: DiskEntry, expected: Expected) -> None:
    """Raises Differs unless the entry is the expected one; see `Expected`."""
    if found.handle != expected.handle:
        raise Differs(found)
    if found.kind is DiskKind.DIRECTORY or expected.fingerprint is None:
        return
    if found.fingerprint != expected.fingerprint:
        raise Differs(found)


def require_staged(staged: Staged, found: Pinned) -> None:
    """Refuses something else that lies where a staged entry was, such as a symlink.

    Only this user and root can put it there. Without this check it would get the name, and be
    recorded as the content that was staged.

    Raises:
        OSError: ESTALE; the entry is staged anew at the next attempt.
    """
    if found.entry.handle != staged.handle:
        raise OSError(
            errno.ESTALE,
            "another program has replaced what was prepared in the private directory",
            staged.token,
        )
