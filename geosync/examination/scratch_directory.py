"""A directory below the root, for a moment, in which doctor tries what the file system offers."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from geosync.disk.interface import PRIVATE_DIRECTORY

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def scratch_directory(root: int) -> Iterator[int]:
    """Makes a directory for a moment: in the private directory, or, before there is one, beside.

    CRASH: an empty directory of a name of its own is left, which nothing captures.

    Raises:
        OSError: it could not be made.
    """
    name = PRIVATE_DIRECTORY + b"-doctor-" + secrets.token_hex(8).encode()
    above = os.dup(root)
    with suppress(FileNotFoundError):
        private = os.open(PRIVATE_DIRECTORY, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
        os.close(above)
        above = private
    try:
        os.mkdir(name, 0o700, dir_fd=above)
        try:
            directory = os.open(name, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            try:
                yield directory
            finally:
                os.close(directory)
        finally:
            os.rmdir(name, dir_fd=above)
    finally:
        os.close(above)
