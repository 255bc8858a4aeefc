"""What a directory holds when all is quiet: read by system calls alone, every byte of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from tests.torture.evidence import Seen
from tests.torture.signed_content import described, digest_of, digest_of_link, is_ours

PRIVATE = b".geosync"
CONFLICTS = os.path.join(PRIVATE, b"conflicts")


def see_tree(directory: bytes) -> dict[str, Seen]:
    """Returns all that is below a directory, but for the private one in it: path -> what it is.

    Raises:
        OSError: something went away meanwhile, or can't be read.
    """
    found = dict(_walk(directory))
    names: dict[tuple[int, int], list[str]] = {}
    for path, status in found.items():
        if not stat.S_ISDIR(status.st_mode):
            names.setdefault((status.st_dev, status.st_ino), []).append(os.fsdecode(path))
    return {
        os.fsdecode(path): _seen(
            os.path.join(directory, path), status, names.get((status.st_dev, status.st_ino), [])
        )
        for path, status in sorted(found.items())
    }


def see_conflict_files(root: bytes) -> dict[str, Seen]:
    """Returns the files that are kept as conflicts; none when there is no such directory.

    Directories are left out: they are made as needed and belong to no conflict.
    """
    directory = os.path.join(root, CONFLICTS)
    if not os.path.isdir(directory):
        return {}
    return {path: s for path, s in see_tree(directory).items() if s.kind != "directory"}


def digests_below(directory: bytes) -> tuple[str, ...]:
    """Returns what all files and symbolic links below a directory hold."""
    return tuple(sorted({seen.digest for seen in see_tree(directory).values() if seen.digest}))


def stamps_of(root: bytes) -> dict[bytes, tuple[int, int, int]]:
    """Returns, by path, what any change changes: inode, change time in ns, mode."""
    return {
        path: (status.st_ino, status.st_ctime_ns, status.st_mode) for path, status in _walk(root)
    }


def _walk(root: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    pending = [b""]
    while pending:
        below = pending.pop()
        with os.scandir(os.path.join(root, below)) as entries:
            for entry in entries:
                path = os.path.join(below, entry.name)
                if path == PRIVATE:
                    continue
                yield path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)


def _seen(path: bytes, status: os.stat_result, names: list[str]) -> Seen:
    content = b""
    kind, digest, words, ours = "other", "", "", False
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = file.read()
        kind, digest, words, ours = "file", digest_of(content), described(content), is_ours(content)
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
        kind, digest, words = "symlink", digest_of_link(content), os.fsdecode(content)
    elif stat.S_ISDIR(status.st_mode):
        kind = "directory"
    return Seen(
        kind=kind,
        digest=digest,
        mode=stat.S_IMODE(status.st_mode),
        owner=f"{status.st_uid}:{status.st_gid}",
        mtime_ns=status.st_mtime_ns,
        names=tuple(sorted(names)) if len(names) > 1 else (),
        is_ours=ours,
        described=words,
    )
