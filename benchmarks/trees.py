"""Trees of the benchmarks: made, and compared without asking any tool.

Whether two trees are equal is asked in two steps. While a tool works, the quick question is asked
again and again: the same names, kinds and sizes, and the same times of files? In the end every
byte is hashed. Not compared are the times of directories and of symbolic links, and owners, which
some of the tools do not keep.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
import time
from collections.abc import Iterator
from contextlib import suppress

FILE_SIZE_BYTES_MAX = 200_000
REAL_FILES_FROM = ("/usr/lib", "/usr/share")
# What tools put into the directory that they sync.
_OF_TOOLS = frozenset((b".geosync", b".stfolder", b".stversions"))
_TIME_STEP_NS = 1_000_000_000  # rclone and unison keep whole seconds only

_LOOK_EVERY_S = 0.005
Seen = tuple[int, int, int]  # kind, size, time in steps
QuickLook = dict[bytes, Seen]  # by path


def copy_real_files(root: bytes, count: int) -> int:
    """Fills a directory with real files of this machine, in a fixed order; returns their size."""
    size_bytes = 0
    for number, path in enumerate(_real_files()):
        if number >= count:
            return size_bytes
        target = os.path.join(root, path.lstrip(b"/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(path, "rb") as source, open(target, "wb") as file:
            content = source.read()
            file.write(content)
        status = os.stat(path)
        os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
        size_bytes += len(content)
    raise RuntimeError(f"this machine has fewer than {count} files in {REAL_FILES_FROM}")


def _real_files() -> Iterator[bytes]:
    for top in REAL_FILES_FROM:
        for directory, below, names in os.walk(os.fsencode(top)):
            below.sort()
            for name in sorted(names):
                path = os.path.join(directory, name)
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode) and status.st_size <= FILE_SIZE_BYTES_MAX:
                    yield path


def write_small_files(directory: bytes, count: int, seed: int) -> None:
    """Writes files of 1 to 4,096 random bytes, 100 in each directory."""
    dice = random.Random(seed)
    for number in range(count):
        below = os.path.join(directory, b"%04d" % (number // 100))
        if number % 100 == 0:
            os.makedirs(below, exist_ok=True)
        with open(os.path.join(below, b"%06d" % number), "wb") as file:
            file.write(dice.randbytes(dice.randint(1, 4096)))


def walk(root: str) -> None:
    """Looks at every name of a tree, and does nothing else: the least that a rescan can cost."""
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)


def quick_look(root: bytes) -> QuickLook:
    """Names, kinds, sizes and times of a tree that may change meanwhile."""
    found: QuickLook = {}
    pending = [b""]
    while pending:
        directory = pending.pop()
        with suppress(OSError), os.scandir(os.path.join(root, directory)) as entries:
            for entry in entries:
                if not directory and entry.name in _OF_TOOLS:
                    continue
                path = os.path.join(directory, entry.name)
                found[path] = _seen(entry.stat(follow_symlinks=False))
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
    return found


def _seen(status: os.stat_result) -> Seen:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        return (kind, 0, 0)
    return (kind, status.st_size, status.st_mtime_ns // _TIME_STEP_NS)


def _seen_at(path: bytes) -> Seen | None:
    try:
        return _seen(os.lstat(path))
    except OSError:
        return None


def tree_hash(root: bytes) -> str:
    """Hash of all names, kinds, modes of files, contents and targets of a tree at rest."""
    total = hashlib.sha256()
    for path, (kind, _, _) in sorted(quick_look(root).items()):
        whole = os.path.join(root, path)
        content = b""
        if kind == stat.S_IFREG:
            with open(whole, "rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            content += b"%o" % stat.S_IMODE(os.stat(whole).st_mode)
        elif kind == stat.S_IFLNK:
            content = os.readlink(whole)
        total.update(b"%d:%s:%d:%s\n" % (len(path), path, kind, content))
    return total.hexdigest()


class TreesDiffer(Exception):
    """Trees were not equal in time, or a byte is another one although all else is the same."""


def seconds_until_equal(start_s: float, roots: tuple[bytes, ...], timeout_s: float) -> float:
    """Waits until trees look equal; returns the seconds since `start_s`, of the monotonic clock.

    What differs at a look is waited for name by name, so as not to be in the tools' way: that
    costs next to nothing, and the moment is known to some milliseconds however large the trees
    are. Another look then shows whether that was all.

    Raises:
        TreesDiffer: they do not in time.
    """
    equal_s = None
    while True:
        first, *others = map(quick_look, roots)
        differing = {path for other in others for path, _ in first.items() ^ other.items()}
        if not differing:
            return (time.monotonic() if equal_s is None else equal_s) - start_s
        for path in sorted(differing):
            while len({_seen_at(os.path.join(root, path)) for root in roots}) > 1:
                if time.monotonic() - start_s > timeout_s:
                    shown = os.fsdecode(path)
                    raise TreesDiffer(f"{shown} and perhaps others differ after {timeout_s:.0f} s")
                time.sleep(_LOOK_EVERY_S)
        equal_s = time.monotonic()
        if equal_s - start_s > timeout_s:
            raise TreesDiffer(f"names come and go after {timeout_s:.0f} s")


def require_equal(roots: tuple[bytes, ...]) -> None:
    """Compares every byte. Raises TreesDiffer."""
    if len({tree_hash(root) for root in roots}) != 1:
        raise TreesDiffer("the trees look equal, and their contents or modes are not")
