"""Handed over: a content that a command gives to the daemon, as a file in the state directory."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from geosync.errors import OperatorError

BLOCK_SIZE_BYTES: Final = 1024 * 1024
_DIRECTORY: Final = b"handed-over"
_NAME: Final = re.compile(r"[0-9a-f]{32}")


def hand_over(state_dir: bytes, blocks: Iterable[bytes]) -> str:
    """Writes a content where the daemon finds it, and returns its name.

    Raises:
        OperatorError: it can't be written.
    """
    name = secrets.token_hex(16)
    directory = os.path.join(state_dir, _DIRECTORY)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        owner = os.stat(state_dir)
        _give(directory, owner)
        path = os.path.join(directory, name.encode())
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.writelines(blocks)
        _give(path, owner)
    except OSError as error:
        raise OperatorError(
            f"the content can't be given to the daemon: {error}. Nothing was decided; the command"
            " needs to write below the state directory, as the daemon's user or root."
        ) from error
    return name


def discard(state_dir: bytes, name: str) -> None:
    """Removes a content that nobody took."""
    with suppress(OSError):
        os.unlink(os.path.join(state_dir, _DIRECTORY, name.encode()))


def _give(path: bytes, owner: os.stat_result) -> None:
    """Gives what root has written to the user of the daemon, who owns the state directory."""
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def take_over(state_dir: bytes, name: str) -> Iterator[bytes]:
    """Yields a content that was handed over, and removes it. Raises OSError, OperatorError."""
    if not _NAME.fullmatch(name):
        raise OperatorError(f"{name!r} is no content that was handed over. Nothing was decided.")
    path = os.path.join(state_dir, _DIRECTORY, name.encode())
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with open(descriptor, "rb") as file:
            while block := file.read(BLOCK_SIZE_BYTES):
                yield block
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
