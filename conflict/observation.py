"""What a scan of the disk shows, as values: the input of identity inference."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DiskKind(Enum):
    """What lies at a path. UNSUPPORTED (sockets, devices) is reported and otherwise left alone."""

    DIRECTORY = "directory"
    REGULAR = "regular"
    SYMLINK = "symlink"
    FIFO = "fifo"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The part of stat that changes whenever content or metadata does."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Attributes:
    """Metadata that is kept the same on all sites. Owner and group are names where known."""

    mode: int  # permission bits with setuid, setgid and sticky: 0 to 0o7777
    owner: bytes  # user name, or b"#" and the number in decimal
    group: bytes
    mtime_ns: int  # may be negative
    extended: tuple[tuple[bytes, bytes], ...] = ()  # xattr name -> value, sorted by name


@dataclass(frozen=True, slots=True)
class DiskEntry:
    """One name in a directory, as seen at one moment."""

    name: bytes
    kind: DiskKind
    handle: bytes  # identity of the inode: survives renames, differs for a reused inode number
    fingerprint: Fingerprint
    attributes: Attributes
    link_count: int
    target: bytes = b""  # of a symlink


@dataclass(frozen=True, slots=True)
class DirectoryListing:
    """All names of one directory at one moment, without the private directory of the root."""

    directory: DiskEntry
    entries: tuple[DiskEntry, ...]  # sorted by name
    unreadable: tuple[tuple[bytes, str], ...] = ()  # names whose entry could not be read, and why
    glance: bytes = b""  # a digest by which the same is recognised; empty: it would tell nothing
