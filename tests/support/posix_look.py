"""Everything that a file system tells about a tree, by system calls alone: to compare two sites."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

_PRIVATE = b".geosync"
_PIECE_SIZE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Look:
    """One name, with all that should be the same on two sites."""

    kind: int  # S_IFREG and so on
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size_bytes: int  # 0 for directories
    content: bytes  # digest of the data and where it lies, or the target of a symlink
    extended: tuple[tuple[str, bytes], ...]  # access control lists too, in the kernel's bytes
    names: tuple[bytes, ...]  # below the same root, of the same inode


def look_at(root: bytes) -> dict[bytes, Look]:
    """Returns what is below a root, without the private directory."""
    found = dict(_walk(root, b""))
    names: dict[tuple[int, int], list[bytes]] = {}
    for path, status in found.items():
        names.setdefault((status.st_dev, status.st_ino), []).append(path)
    return {
        path: _look(os.path.join(root, path), status, names[status.st_dev, status.st_ino])
        for path, status in sorted(found.items())
    }


def data_extents(path: bytes) -> list[tuple[int, int]]:
    """Returns where a file holds data, by SEEK_DATA and SEEK_HOLE: begin and end in bytes."""
    extents: list[tuple[int, int]] = []
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        end = 0
        while True:
            try:
                begin = os.lseek(descriptor, end, os.SEEK_DATA)
            except OSError:  # ENXIO: there is no more
                return extents
            end = os.lseek(descriptor, begin, os.SEEK_HOLE)
            extents.append((begin, end))
    finally:
        os.close(descriptor)


def data_size_bytes(path: bytes) -> int:
    """Returns how much of a file is data; what a file system has only reserved is a hole."""
    return sum(end - begin for begin, end in data_extents(path))


def _walk(root: bytes, below: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    for name in os.listdir(os.path.join(root, below)):
        path = os.path.join(below, name)
        if path == _PRIVATE:
            continue
        status = os.lstat(os.path.join(root, path))
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(root, path)


def _look(path: bytes, status: os.stat_result, names: list[bytes]) -> Look:
    is_directory = stat.S_ISDIR(status.st_mode)
    return Look(
        kind=stat.S_IFMT(status.st_mode),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        size_bytes=0 if is_directory else status.st_size,
        content=_content(path, status),
        extended=_extended(path),
        names=tuple(sorted(names)),
    )


def _content(path: bytes, status: os.stat_result) -> bytes:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    return _data_digest(path) if stat.S_ISREG(status.st_mode) else b""


def _data_digest(path: bytes) -> bytes:
    """Hashes the bytes that are not zero, and where they are; so a terabyte of holes is quick."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for begin, end in data_extents(path):
            for at in range(begin, end, _PIECE_SIZE_BYTES):
                piece = os.pread(file.fileno(), min(_PIECE_SIZE_BYTES, end - at), at)
                for offset, page in _pages(piece):
                    digest.update(b"%d " % (at + offset) + page)
    return digest.digest()


def _pages(piece: bytes) -> Iterator[tuple[int, bytes]]:
    for offset in range(0, len(piece), 4096):
        page = piece[offset : offset + 4096]
        if page.strip(b"\0"):
            yield offset, page.rstrip(b"\0")


def _extended(path: bytes) -> tuple[tuple[str, bytes], ...]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # EOPNOTSUPP
        return ()
    return tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(names)
        if name.startswith(("user.", "system."))  # trusted.SGI_ACL_FILE is xfs's own copy
    )
