"""What the engine asks of a disk: stable reads, staging, and changes that compare before they act.

Paths are bytes relative to the root, separated by b"/", without empty, b"." and b".." parts;
b"" is the root itself. Nothing here follows a symlink below the root.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, NewType, Protocol

from conflict.content import Block
from conflict.errors import GeosyncError
from conflict.observation import Attributes, DirectoryListing, DiskEntry, Fingerprint

RelativePath = NewType("RelativePath", bytes)
ROOT_PATH = RelativePath(b"")
UNCERTAIN: Final = Fingerprint(size_bytes=-1, mtime_ns=0, ctime_ns=0)  # no file has this one
PRIVATE_DIRECTORY = b".geosync"  # at the root: stage, trash, conflicts, marker; never synced


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be at a path for a change to go ahead. For directories only the handle counts."""

    handle: bytes
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True, slots=True)
class Staged:
    """A finished entry in the stage, complete with attributes, not yet at its name."""

    token: bytes
    handle: bytes


@dataclass(frozen=True, slots=True)
class Retired:
    """An inode that a change displaced; kept in the trash until it is proven unwritten."""

    token: bytes
    entry: DiskEntry


@dataclass(frozen=True, slots=True)
class Applied:
    """The change was made. `entry` is what now lies at the path (None after a removal).

    Its fingerprint is UNCERTAIN where the next write may leave the real one as it is: what lies
    there must be read before the fingerprint says anything.
    """

    entry: DiskEntry | None
    retired: Retired | None = None


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The disk held something else than expected: nothing was changed; capture it first."""

    found: DiskEntry | None


@dataclass(frozen=True, slots=True)
class Busy:
    """A program has the file open for writing (or mapped): nothing was changed; try later."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The operating system refused: nothing was changed. `reason` is for the operator."""

    reason: str
    errno: int = field(default=0)


Outcome = Applied | Mismatch | Busy | Failed


class DiskError(GeosyncError):
    """A read below the root went wrong in a way that the caller must tell apart."""


class EntryVanished(DiskError):
    """Nothing, or something of another kind or identity, is at the path now."""


class EntryBusy(DiskError):
    """The file is being written: a version of it can't be captured now.

    Attributes:
        reason: why, in a few words that follow the name of the file.
    """

    def __init__(self, text: str, reason: str = "a program has the file open for writing") -> None:
        super().__init__(text)
        self.reason = reason


class EntryUnreadable(DiskError):
    """Permission, I/O error and the like: neither content nor absence is known."""


class RootLost(DiskError):
    """The root is not the directory it was: unmounted, replaced, or without its marker."""


class StableReader(Protocol):
    """One regular file while it holds still.

    Attributes:
        entry: the file as it was when it was opened.
        may_change_unseen: a change soon after the reading may leave the very same fingerprint,
            as the file system's times are coarse and the last change was a moment ago. A long
            reading may end when this is over.
        is_copy: the content is of the moment of the opening, whatever is written since.
    """

    entry: DiskEntry
    may_change_unseen: bool
    is_copy: bool

    def blocks(self, size_bytes: int) -> Iterator[bytes]:
        """Yields the content in order, in pieces of `size_bytes` (the last may be shorter).

        Raises:
            EntryBusy: the file changed, or a writer came, since the reader was opened; what was
                yielded so far is torn and must be thrown away. Raised at the latest at the end.
            EntryUnreadable: an I/O error.
        """
        ...

    def sparse_blocks(self, size_bytes: int) -> Iterator[Block]:
        """As `blocks`, with holes that are skipped: multiples of `size_bytes`, or up to the end.

        What it yields as bytes may be zeros, too.
        """
        ...

    def unproven_blocks(self, size_bytes: int) -> Iterator[Block]:
        """As `sparse_blocks`, but only `proof` tells whether all of it is of one moment."""
        ...

    def proof(self, size_bytes: int, /) -> Iterator[None]:
        """Proves, bit by bit, what `unproven_blocks` yielded up to its end; that is, at its own.

        Raises:
            EntryBusy, EntryUnreadable: it is torn, as above.
        """
        ...


class StagingFile(Protocol):
    """A regular file that is being written in the stage."""

    def write(self, block: Block) -> None:
        """Appends. Raises OSError (ENOSPC and the like)."""
        ...

    def finish(self, attributes: Attributes) -> Staged:
        """Sets the attributes and closes; `Disk.sync_stage` makes it durable."""
        ...

    def abandon(self) -> None:
        """Removes the unfinished file. Never raises."""
        ...


class DownloadFile(Protocol):
    """A regular file in the stage that fills up in any order, and outlives the process.

    Several threads may read and write it at a time.

    Attributes:
        handle: the identity of the inode.
        has_remains: an earlier run left something in it, of which nobody knows what it is.
    """

    handle: bytes
    has_remains: bool

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Returns what is there; zeros where nothing was written. Raises OSError."""
        ...

    def write_at(self, offset_bytes: int, data: bytes) -> None:
        """Writes there. Raises OSError (ENOSPC and the like)."""
        ...

    def clear_at(self, offset_bytes: int, size_bytes: int) -> None:
        """Makes zeros of what an earlier run may have left there. Raises OSError."""
        ...

    def sync(self) -> None:
        """Makes what was written durable. Raises OSError: none of it may be trusted."""
        ...

    def finish(self, attributes: Attributes) -> Staged:
        """Closes it and makes it a staged file; where that is discarded, it is a download again.

        Nobody may be reading or writing it. Raises OSError.
        """
        ...

    def close(self) -> None:
        """Closes it; it stays. Nobody may be reading or writing it."""
        ...


class SourceFile(Protocol):
    """A regular file that is read at any place, whatever is written to it meanwhile."""

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Returns what is there at this moment; less where the file ends. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Glance:
    """What a glance at a directory shows.

    Attributes:
        digest: that of an earlier listing, if nothing at all has changed since.
        directories: the names of those in it.
        count: how many names there are.
    """

    digest: bytes
    directories: tuple[bytes, ...]
    count: int


class Disk(Protocol):
    """A directory tree. Every method may be called from any thread; changes come from one."""

    def check_root(self) -> None:
        """Raises RootLost unless the root is the directory, with the marker, of the start."""
        ...

    def knows_user(self, name: bytes) -> bool:
        """Tells whether a user's name, or b"#" and a number, means anybody on this machine."""
        ...

    def knows_group(self, name: bytes) -> bool:
        """Tells the same of a group."""
        ...

    def list_directory(self, directory: RelativePath) -> DirectoryListing:
        """Raises EntryVanished, EntryUnreadable."""
        ...

    def glance(self, directory: RelativePath) -> Glance:
        """Looks at a directory for as little as that takes. Raises as `list_directory`."""
        ...

    def observe(self, path: RelativePath) -> DiskEntry | None:
        """Returns what lies at the path, None when its name is free. Raises EntryUnreadable."""
        ...

    def open_stable(
        self,
        path: RelativePath,
        handle: bytes,
        *,
        despite_writers: bool = False,
        is_slow: bool = False,
    ) -> AbstractContextManager[StableReader]:
        """Opens a regular file that nobody writes.

        Args:
            path: of the file.
            handle: of the inode that is meant.
            despite_writers: it is opened although a program has it open for writing; what is
                read is still of one moment, or was the same in two readings.
            is_slow: it is read with pauses, in which no program may have to wait for its end.

        Raises:
            EntryBusy, EntryVanished, EntryUnreadable: see there.
        """
        ...

    def stage_file(self, size_bytes: int) -> StagingFile:
        """Begins a regular file in the stage. Raises OSError."""
        ...

    def open_download(self, name: bytes, size_bytes: int, *, data_size_bytes: int) -> DownloadFile:
        """Opens the download of this name, which may be new.

        Args:
            name: of the download.
            size_bytes: of the file that it becomes.
            data_size_bytes: how much of that is no hole.

        Raises:
            OSError: ENOSPC and the like.
        """
        ...

    def discard_download(self, name: bytes) -> None:
        """Removes the download of this name, if there is one. Raises OSError."""
        ...

    def discard_downloads(self, keep: frozenset[bytes]) -> None:
        """Removes the downloads with other names. Raises OSError."""
        ...

    def open_source(self, path: RelativePath, handle: bytes) -> SourceFile:
        """Opens a regular file from which something may be copied, if it is what is wanted.

        Raises:
            EntryVanished, EntryUnreadable: see there.
        """
        ...

    def stage_symlink(self, target: bytes, attributes: Attributes) -> Staged:
        """Raises OSError."""
        ...

    def stage_fifo(self, attributes: Attributes) -> Staged:
        """Raises OSError."""
        ...

    def sync_stage(self) -> None:
        """Makes all that is staged durable, with one syncfs.

        Raises:
            OSError: nothing staged so far may be trusted; discard it.
        """
        ...

    def discard_staged(self, staged: Staged) -> None:
        """Takes out a staged entry that is not needed; a download is one again.

        Never raises when it is gone.
        """
        ...

    def clear_stage(self) -> None:
        """At start: removes what a killed run left in the stage, but for downloads."""
        ...

    def place_new(self, staged: Staged, path: RelativePath) -> Outcome:
        """Gives a staged entry its name, where the name is free."""
        ...

    def replace(self, staged: Staged, path: RelativePath, expected: Expected) -> Outcome:
        """Swaps a staged file with the file at the path; the displaced one is retired.

        Readers see the old or the new file, never none. A rename by an application in the window
        is noticed: the swap is undone and Mismatch returned. The staged file is in the trash then,
        since a program may have opened it meanwhile.
        """
        ...

    def link(
        self,
        source: RelativePath,
        source_expected: Expected,
        target: RelativePath,
        target_expected: Expected | None,
    ) -> Outcome:
        """Makes `target` another name of the file at `source`; None expects a free name."""
        ...

    def move(self, source: RelativePath, target: RelativePath, expected: Expected) -> Outcome:
        """Renames a file or directory onto a free name."""
        ...

    def make_directory(self, path: RelativePath, attributes: Attributes) -> Outcome:
        """Makes a directory where the name is free."""
        ...

    def remove_file(self, path: RelativePath, expected: Expected) -> Outcome:
        """Takes a file from its name into the trash; a wrong one is put back (Mismatch)."""
        ...

    def remove_directory(self, path: RelativePath, expected: Expected) -> Outcome:
        """Removes an empty directory; Failed with ENOTEMPTY when it is not."""
        ...

    def set_attributes(
        self, path: RelativePath, expected: Expected, attributes: Attributes
    ) -> Outcome:
        """Sets mode, owner, group, extended attributes and, last, mtime."""
        ...

    def park(self, path: RelativePath, name: bytes, expected: Expected) -> Outcome:
        """Moves an entry of any kind to `parked_path(name)`; this breaks cycles of renames."""
        ...

    def parked_path(self, name: bytes) -> RelativePath:
        """Where `park` puts what is to be called so: a path below the private directory.

        Args:
            name: of any length. An inode is no name: it may have several, all of them parked.
        """
        ...

    def set_generation(self, token: bytes) -> None:
        """Leaves a token in the private directory; the next sync makes it durable.

        A power cut leaves it or the one before, whole.

        Raises:
            OSError, RootLost: it could not be written.
        """
        ...

    def sync_changes(self) -> None:
        """Makes all changes of names since the last call durable. Raises OSError."""
        ...

    def sync_everything(self) -> None:
        """Makes durable what programs have done below the root until now, too. Raises OSError."""
        ...

    def retired(self, but_for: Collection[bytes] = frozenset()) -> Iterator[Retired]:
        """Yields what lies in the trash, but for these tokens."""
        ...

    def open_retired(self, retired: Retired) -> AbstractContextManager[StableReader]:
        """As `open_stable`, for a retired file whose fingerprint may have changed since."""
        ...

    def discard_retired(self, retired: Retired) -> Outcome:
        """Unlinks a retired inode that nobody has open for writing and that is as told.

        If it has other names, `retired` of the outcome is the inode as they show it now.
        """
        ...
