"""What a directory shows to everybody: read with nothing but system calls, to compare two sites."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from geosync.disk.interface import PRIVATE_DIRECTORY


@dataclass(frozen=True, slots=True)
class Shown:
    """One name."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    content: bytes
    names: tuple[bytes, ...]  # all names of this inode


def disk_tree(root: bytes) -> dict[bytes, Shown]:
    """Returns all that is below a directory, but for the private directory: path -> what it is."""
    found: dict[bytes, os.stat_result] = {}
    names: dict[tuple[int, int], list[bytes]] = {}
    for directory, below, files in os.walk(root):
        if directory == root and PRIVATE_DIRECTORY in below:
            below.remove(PRIVATE_DIRECTORY)
        for name in (*below, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            found[path] = status
            names.setdefault((status.st_dev, status.st_ino), []).append(_below(root, path))
    return {
        _below(root, path): _shown(path, status, names[status.st_dev, status.st_ino])
        for path, status in sorted(found.items())
    }


def contents_of(root: bytes) -> set[bytes]:
    """Returns the contents of all regular files, the conflict copies in the private one too."""
    conflicts = os.path.join(root, PRIVATE_DIRECTORY, b"conflicts")
    below = {**disk_tree(root), **disk_tree(conflicts)}
    return {shown.content for shown in below.values() if shown.kind == "file"}


def _below(root: bytes, path: bytes) -> bytes:
    return os.path.relpath(path, root)


def _shown(path: bytes, status: os.stat_result, names: list[bytes]) -> Shown:
    kind, content = "other", b""
    if stat.S_ISREG(status.st_mode):
        kind = "file"
        with open(path, "rb") as file:
            content = file.read()
    elif stat.S_ISLNK(status.st_mode):
        kind, content = "symlink", os.readlink(path)
    elif stat.S_ISFIFO(status.st_mode):
        kind = "fifo"
    elif stat.S_ISDIR(status.st_mode):
        kind = "directory"
    return Shown(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        mtime_ns=status.st_mtime_ns,
        content=content,
        names=tuple(sorted(names)) if kind == "file" else (),
    )
