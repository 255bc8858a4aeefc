"""The directory tree that the demonstration starts with: real files, and names out of the way."""

from __future__ import annotations

import os
import shutil
import sysconfig

LIBRARY = b"library"
NOTES = b"notes"
UNUSUAL = b"unusual"
SHARED_NOTE = NOTES + b"/shared.txt"
# What pip installed, what is compiled again anyway, and what only C compilers need.
_LEFT_OUT = ("site-packages", "dist-packages", "__pycache__", "config-*")
_NS = 1_000_000_000


def standard_library() -> str:
    """Where this Python's own modules lie: thousands of real files on every machine."""
    return sysconfig.get_paths()["stdlib"]


def seed_tree(root: bytes, source: str) -> None:
    """Fills an empty directory: a copy of `source`, a few notes, and the unusual entries.

    Raises:
        OSError: the source cannot be read, or the directory cannot be written.
    """
    ignored = shutil.ignore_patterns(*_LEFT_OUT)
    target = os.fsdecode(os.path.join(root, LIBRARY))
    shutil.copytree(source, target, symlinks=True, ignore=ignored)
    _write(os.path.join(root, SHARED_NOTE), b"Written before the sites were separated.\n")
    for number in range(1, 4):
        _write(os.path.join(root, NOTES, b"note-%d.txt" % number), b"Note %d.\n" % number)
    _make_unusual_entries(os.path.join(root, UNUSUAL))


def _make_unusual_entries(directory: bytes) -> None:
    def at(name: bytes) -> bytes:
        return os.path.join(directory, name)

    _write(at(b"empty file"), b"")
    _write(at(b"a name\nof two lines"), b"newline\n")
    _write(at(b"not UTF-8 \xff\xfe"), b"bytes\n")
    _write(at(b"n" * 255), b"as long as a name can be\n")
    _write(at(b"one of three hard links"), b"one file with three names\n")
    os.link(at(b"one of three hard links"), at(b"two of three hard links"))
    os.mkdir(at(b"below"))
    os.link(at(b"one of three hard links"), at(b"below/three of three hard links"))
    os.symlink(b"empty file", at(b"symbolic link"))
    os.symlink(b"/nowhere/at all", at(b"dangling symbolic link"))
    os.mkdir(at(b"empty directory"))
    os.mkdir(at(b"setgid directory"))
    os.chmod(at(b"setgid directory"), 0o2755)  # noqa: S103 - this is what it is there for
    _write(at(b"read-only file"), b"mode 0400\n")
    os.chmod(at(b"read-only file"), 0o400)
    _write(at(b"from 1969"), b"changed before the Unix epoch\n")
    os.utime(at(b"from 1969"), ns=(0, -86_400 * _NS + 1))
    _write(at(b"from 2100"), b"changed in the future\n")
    os.utime(at(b"from 2100"), ns=(0, 4_102_444_800 * _NS + 123_456_789))


def _write(path: bytes, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
