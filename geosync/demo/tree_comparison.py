"""Compares directory trees by reading the disk alone: it asks nothing of the rest of geosync.

So it can be the judge of what geosync did. Ignored are the root directory itself and geosync's
private directory in it, and what no program can set: ctime, inode numbers, atime.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

PRIVATE_NAME = b".geosync"
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "block device",
    stat.S_IFCHR: "character device",
}
_EXTENDED_PREFIXES = ("user.", "system.posix_acl_")


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """Everything about one name that has to be the same in another tree."""

    kind: str
    size_bytes: int  # of a regular file, otherwise 0
    content: bytes  # SHA-256 of a regular file, target of a symbolic link, otherwise empty
    mode: int  # with setuid, setgid and sticky
    owner: int
    group: int
    mtime_ns: int
    extended: tuple[tuple[str, bytes], ...]  # extended attributes and access control lists
    hard_links: tuple[bytes, ...]  # all names in the tree of a file with several, sorted


_LABELS = {
    "kind": "kind",
    "size_bytes": "size",
    "content": "content",
    "mode": "mode",
    "owner": "owner",
    "group": "group",
    "mtime_ns": "modification time",
    "extended": "extended attributes",
    "hard_links": "hard links",
}
assert list(_LABELS) == [field.name for field in fields(TreeEntry)]

Tree = Mapping[bytes, TreeEntry]  # path relative to the root -> what is there


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing about one path that is not the same in two trees."""

    path: bytes
    what: str
    first: str
    second: str


def read_tree(root: bytes) -> Tree:
    """Reads a whole tree, with every byte of every file. Nothing may change meanwhile.

    Raises:
        OSError: something cannot be read, or went away while it was read.
    """
    status_of = dict(_walk(root))
    names_of_inode: dict[tuple[int, int], list[bytes]] = {}
    for path, status in status_of.items():
        if not stat.S_ISDIR(status.st_mode):
            names_of_inode.setdefault((status.st_dev, status.st_ino), []).append(path)
    return {
        path: _entry(root + b"/" + path, status, names_of_inode)
        for path, status in status_of.items()
    }


def compare_trees(first: Tree, second: Tree) -> Iterator[Difference]:
    """Yields what is not the same, sorted by path; of a path missing in one, only that."""
    for path in sorted(first.keys() | second.keys()):
        here, there = first.get(path), second.get(path)
        if here is None or there is None:
            yield Difference(path, "presence", _presence(here), _presence(there))
        elif here.kind != there.kind:
            yield Difference(path, _LABELS["kind"], here.kind, there.kind)
        else:
            yield from _compare_entries(path, here, there)


def count_names(root: bytes) -> int:
    """How many names `read_tree` would find; takes a small part of its time.

    A directory that goes away meanwhile counts as empty.
    """
    count = 0
    for directory, below, files in os.walk(root):
        if directory == root and PRIVATE_NAME in below:
            below.remove(PRIVATE_NAME)
        count += len(below) + len(files)
    return count


def total_size_bytes(tree: Tree) -> int:
    """How many bytes the files of a tree hold; hard links are counted once."""
    files = {entry.hard_links or (path,): entry.size_bytes for path, entry in tree.items()}
    return sum(files.values())


def _walk(root: bytes, below: bytes = b"") -> Iterator[tuple[bytes, os.stat_result]]:
    with os.scandir(os.path.join(root, below)) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = os.path.join(below, entry.name)
        if path == PRIVATE_NAME:
            continue
        yield path, entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path)


def _entry(
    path: bytes, status: os.stat_result, names_of_inode: Mapping[tuple[int, int], list[bytes]]
) -> TreeEntry:
    names = names_of_inode.get((status.st_dev, status.st_ino), [])
    is_file = stat.S_ISREG(status.st_mode)
    is_symlink = stat.S_ISLNK(status.st_mode)
    return TreeEntry(
        kind=_KINDS[stat.S_IFMT(status.st_mode)],
        size_bytes=status.st_size if is_file else 0,
        content=_sha256(path) if is_file else os.readlink(path) if is_symlink else b"",
        mode=stat.S_IMODE(status.st_mode),
        owner=status.st_uid,
        group=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        extended=_extended(path),
        hard_links=tuple(names) if len(names) > 1 else (),
    )


def _sha256(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _extended(path: bytes) -> tuple[tuple[str, bytes], ...]:
    names = os.listxattr(path, follow_symlinks=False)
    return tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(names)
        if name.startswith(_EXTENDED_PREFIXES)
    )


def _presence(entry: TreeEntry | None) -> str:
    return "missing" if entry is None else f"a {entry.kind}"


def _compare_entries(path: bytes, here: TreeEntry, there: TreeEntry) -> Iterable[Difference]:
    for field, label in _LABELS.items():
        if getattr(here, field) != getattr(there, field):
            yield Difference(path, label, _shown(here, field), _shown(there, field))


def _shown(entry: TreeEntry, field: str) -> str:
    value = getattr(entry, field)
    match field:
        case "mode":
            return f"{value:04o}"
        case "content" if entry.kind == "file":
            return f"SHA-256 {value.hex()[:16]}…"
        case "hard_links":
            return ", ".join(map(_text, value)) or "none"
        case "extended":
            return ", ".join(f"{name}={_text(content)}" for name, content in value) or "none"
        case _:
            return _text(value) if isinstance(value, bytes) else str(value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
