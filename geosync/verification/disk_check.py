"""Compares every file on the disk with what the journal says was written or read there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from threading import Event
from typing import Final

from conflict.content import ChunkReference, Content
from conflict.observation import DiskKind, Fingerprint
from conflict.synced import ROOT_ENTRY, EntryId, Path, SyncedEntry
from geosync.clock import Clock
from geosync.disk.interface import UNCERTAIN
from geosync.disk.leases import open_for_reading
from geosync.disk.syscalls import open_beneath
from geosync.disk.tree import GONE
from geosync.engine.site import joined
from geosync.errors import OperatorError
from geosync.journal.journal import Journal
from geosync.terminal import display_name, human_size
from geosync.verification.finding import Checked, Finding, Kind, Level
from geosync.verification.rest import Rest
from transport.hashing import VolumeHasher

LOOK_AGAIN_S: Final = 1.0
HOLE_PIECE_SIZE_BYTES: Final = 1024 * 1024
_KINDS: Final = {
    DiskKind.DIRECTORY: stat.S_IFDIR,
    DiskKind.REGULAR: stat.S_IFREG,
    DiskKind.SYMLINK: stat.S_IFLNK,
    DiskKind.FIFO: stat.S_IFIFO,
}
_CHANGED: Final = "it is not as the journal knows it: changed a moment ago, or by a file system"


class DiskCheck:
    """Reads what the journal takes for known. Changes nothing, and needs no lock."""

    def __init__(
        self, root: bytes, journal: Journal, hasher: VolumeHasher, clock: Clock, rest: Rest
    ) -> None:
        """Takes the root's path, and a journal that a daemon may be writing to.

        Raises:
            OperatorError: the root can't be opened.
        """
        self._journal = journal
        self._hasher = hasher
        self._clock = clock
        self._rest = rest
        self.checked = Checked()
        try:
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise OperatorError(
                f"cannot open the root {display_name(root)}: {error.strerror}. Mount it, or correct"
                " the configuration."
            ) from error

    def close(self) -> None:
        """Closes the root."""
        os.close(self._root)

    def findings(self) -> Iterator[Finding]:
        """Yields what is not as it should be."""
        pending: list[tuple[EntryId, Path]] = [(ROOT_ENTRY, ())]
        while pending:
            directory, path = pending.pop()
            for entry in list(self._journal.synced.entries_in(directory)):
                below = (*path, entry.name)
                if entry.is_directory:
                    pending.append((entry.entry, below))
                yield from self._look_at(entry, below)
                self._rest.take()

    def _look_at(self, entry: SyncedEntry, path: Path) -> Iterator[Finding]:
        shown = display_name(joined(path))
        self.checked.files += not entry.is_directory
        try:
            reason = self._difference(entry, path)
            if reason is _DAMAGED and entry.content is not None:
                yield self._damaged(entry.content, path)
            elif reason is not None:
                remedy = "nothing: it is captured, or brought again, by the daemon"
                yield Finding(Kind.FILE_CHANGED, Level.NOTE, shown, reason, remedy)
        except OSError as error:
            remedy = "look at the disk, and at who may read the file"
            text = f"it can't be read: {error.strerror}"
            yield Finding(Kind.FILE_UNREADABLE, Level.UNKNOWN, shown, text, remedy)

    def _damaged(self, content: Content, path: Path) -> Finding:
        return Finding(
            Kind.FILE_DAMAGED,
            Level.DAMAGE,
            display_name(joined(path)),
            f"its content ({human_size(content.size_bytes)}) is not what was written or captured"
            " here, though size and times are: the disk, or its memory, has damaged it",
            "let `geosync verify --repair` put the volume's version back; it keeps the damaged one"
            " aside. Look at the disk: smartctl, the kernel's log.",
            file=joined(path),
        )

    def _difference(self, entry: SyncedEntry, path: Path) -> str | None:
        """Returns how an entry differs from the disk, looked at twice; None: not at all."""
        reason = self._difference_now(entry, path)
        if reason is None:
            return None
        # A daemon may be at work on it, or a program: what is damaged stays so.
        self._clock.wait(Event(), LOOK_AGAIN_S)
        self._journal.synced.forget_cached()
        now = self._journal.synced.entry(entry.entry)
        if now is None or (now.parent, now.name) != (entry.parent, entry.name):
            return None
        return self._difference_now(now, path)

    def _difference_now(self, entry: SyncedEntry, path: Path) -> str | None:
        try:
            inode = open_beneath(self._root, joined(path), os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in GONE:
                return "it is not there: removed or renamed a moment ago"
            raise
        try:
            status = os.fstat(inode)
            if stat.S_IFMT(status.st_mode) != _KINDS.get(entry.kind):
                return "something of another kind is there"
            if entry.kind is DiskKind.SYMLINK and entry.content is not None:
                target = os.readlink(b"", dir_fd=inode)
                return None if target == entry.content.target else _CHANGED
            if entry.kind is not DiskKind.REGULAR or entry.content is None:
                return None
            seen = Fingerprint(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if seen != entry.fingerprint or seen == UNCERTAIN:
                return _CHANGED
            return self._content_difference(inode, entry.content, seen)
        finally:
            os.close(inode)

    def _content_difference(self, inode: int, content: Content, seen: Fingerprint) -> str | None:
        descriptor = open_for_reading(inode)
        try:
            # What the page cache holds says nothing of the disk.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            is_equal = self._holds(descriptor, content)
            status = os.fstat(descriptor)
            if seen != Fingerprint(status.st_size, status.st_mtime_ns, status.st_ctime_ns):
                return _CHANGED
            return None if is_equal else _DAMAGED
        finally:
            os.close(descriptor)

    def _holds(self, descriptor: int, content: Content) -> bool:
        offset = 0
        for chunk in content.chunks:
            if not self._holds_chunk(descriptor, offset, chunk):
                return False
            offset += chunk.size_bytes
        self.checked.file_size_bytes += content.data_size_bytes
        return True

    def _holds_chunk(self, descriptor: int, offset: int, chunk: ChunkReference) -> bool:
        self._rest.take()
        if chunk.is_hole:
            return _is_zero(descriptor, offset, offset + chunk.size_bytes)
        read = os.pread(descriptor, chunk.size_bytes, offset)
        return self._hasher.chunk_digest(read) == chunk.digest


_DAMAGED: Final = "damaged"


def _is_zero(descriptor: int, begin: int, end: int) -> bool:
    """Reads what is allocated in a range only: a hole may be of any size."""
    while begin < end:
        try:
            begin = os.lseek(descriptor, begin, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data up to the end
                return True
            raise
        if begin >= end:
            return True
        piece = os.pread(descriptor, min(HOLE_PIECE_SIZE_BYTES, end - begin), begin)
        if any(piece):
            return False
        begin += len(piece) or HOLE_PIECE_SIZE_BYTES
    return True
