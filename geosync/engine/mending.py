"""Mending: repairs what a verification found, one piece in each cycle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from conflict.content import HOLE_DIGEST, ChunkReference, Content, ContentKind, Zeros
from conflict.supply import is_answered
from conflict.synced import Path, SyncedEntry, entry_at_path, path_of_entry
from geosync.disk.interface import DiskError, EntryBusy
from geosync.engine.intake import BLOCK_SIZE_BYTES
from geosync.engine.set_aside import note_set_aside
from geosync.engine.site import Site, joined
from geosync.engine.spool import Spool
from geosync.engine.supplying import supply
from geosync.engine.truncating import CUT_SEQUENCE
from geosync.engine.wanting import Wants
from geosync.event_log import event_logger
from geosync.terminal import display_name
from transport.errors import CorruptObject, ObjectCollision, ObjectNotVisible
from transport.hashing import VolumeHasher
from transport.object_names import segment_name
from transport.segment import SEGMENT_OBJECT_SIZE_BYTES_MAX, ExpectedSegment, decode_segment
from transport.sparse_chunker import cut_sparse
from transport.wire_errors import WireFormatError

MENDING: Final = "mending"
"""Setting of the journal: 1 while the synced tree may tell of damage that is not mended."""

AWAITED_S: Final = 15.0
SET_ASIDE: Final = b"damaged"
"""Directory in the state directory with the damaged files."""

_SET_ASIDE_NAME_SIZE_BYTES_MAX: Final = 150
_log = event_logger(__name__)


@dataclass(slots=True)
class Mending:
    """What is to be repaired.

    Attributes:
        chunks: that no place in the store gives: digest -> the packs that were tried.
        segments: numbers of those of our own log that are to be stored again.
        files: whose content is to be put back.
    """

    chunks: dict[bytes, frozenset[str]] = field(default_factory=dict)
    segments: list[int] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MendingProgress:
    """How far that is.

    Attributes:
        left: how many pieces are still to be looked at.
        supplied: chunks that are stored again, or are about to be.
        wanted: chunks that were asked of the other sites.
        segments: that were stored again.
        files: that were put back.
        failed: what could not be done: its name, as it is shown, and why.
    """

    left: int = 0
    supplied: int = 0
    wanted: int = 0
    segments: int = 0
    files: int = 0
    failed: tuple[tuple[str, str], ...] = ()


class Mender:
    """Repairs what it was asked to. What is not begun when the engine ends is forgotten.

    Attributes:
        is_unfinished: the synced tree may tell of damage: it has to be compared with the merged
            one, as a whole after a start.
    """

    def __init__(self, site: Site, spool: Spool, wants: Wants) -> None:
        self._site = site
        self._spool = spool
        self._wants = wants
        self._asked = Mending()
        self._supplied = 0
        self._wanted = 0
        self._segments = 0
        self._files = 0
        self._failed: dict[str, str] = {}
        self._awaited: dict[Path, tuple[bytes, float]] = {}  # damaged content, and since when
        self.is_unfinished = bool(site.journal.integer_setting(MENDING))

    def ask(self, mending: Mending) -> None:
        """Adds to what is to be repaired; the counts begin anew when nothing was left."""
        if not self.has_work():
            self._supplied = self._wanted = self._segments = self._files = 0
            self._failed.clear()
        self._asked.chunks.update(mending.chunks)
        self._asked.segments = sorted({*self._asked.segments, *mending.segments})
        self._asked.files = sorted({*self._asked.files, *mending.files})

    def has_work(self) -> bool:
        """Tells whether something is left to look at."""
        asked = self._asked
        return bool(asked.chunks or asked.segments or asked.files or self._awaited)

    def progress(self) -> MendingProgress:
        """Returns how far it is."""
        asked = self._asked
        return MendingProgress(
            left=len(asked.chunks)
            + len(asked.segments)
            + len(asked.files)
            + len(self._awaited.keys() - set(asked.files)),
            supplied=self._supplied,
            wanted=self._wanted,
            segments=self._segments,
            files=self._files,
            failed=tuple(sorted(self._failed.items())),
        )

    def mend_contents(self, *, may_publish: bool) -> None:
        """Supplies what this site has, and asks the others for the rest.

        Raises:
            OSError: the spool can't be written.
        """
        if not may_publish:
            self._refuse_to_publish()
        chunks = self._site.journal.chunks
        wanted = {
            digest: tried
            for digest, tried in self._asked.chunks.items()
            if not is_answered(tried, {at.pack for at in chunks.locations(digest)})
        }
        self._wants.want(wanted)  # also what is here: so all sites forget the places that are bad
        supplied = supply(self._site, self._spool, wanted) if wanted else set()
        self._wants.refresh()
        self._supplied += len(supplied)
        left = {digest: wanted[digest] for digest in wanted.keys() - supplied}
        if supplied and left:  # there may be more than fits at once
            self._asked.chunks = left
            return
        self._asked.chunks = {}
        self._wanted += len(left)

    def _refuse_to_publish(self) -> None:
        if self._asked.chunks or self._asked.segments:
            self._failed["store"] = "this site writes nothing to it: verify at one that does"
        self._asked.chunks, self._asked.segments = {}, []

    def mend_log(self) -> None:
        """Stores segments of our own log again, byte for byte.

        Raises:
            StoreUnavailable, StoreRefused: the rest is tried in a later cycle.
        """
        while self._asked.segments:
            sequence = self._asked.segments[0]
            name = segment_name(self._site.actor, sequence)
            body = self._site.journal.log.segment(self._site.actor, sequence)
            if body is None or sequence < self._site.journal.integer_setting(CUT_SEQUENCE):
                self._failed[name] = "a checkpoint has it: it is needed no more"
            else:
                self._store_segment(name, sequence, body)
            self._asked.segments.pop(0)

    def _store_segment(self, name: str, sequence: int, body: bytes) -> None:
        try:
            self._site.store.put_once(name, body)
        except ObjectCollision as error:
            if not self._is_damaged(name, sequence):
                self._failed[name] = str(error)
                return
            # CRASH: the name is free then, and the next verification finds that out. Whoever reads
            # meanwhile is told that nothing is visible, and waits.
            self._site.store.delete(name)
            self._site.store.put_once(name, body)
        self._segments += 1
        _log.warning("segment_stored_again", name=name, size_bytes=len(body))

    def _is_damaged(self, name: str, sequence: int) -> bool:
        """Tells whether what is stored is nothing that any daemon of this volume has written."""
        try:
            found = self._site.store.get(name, size_bytes_max=SEGMENT_OBJECT_SIZE_BYTES_MAX)
            expected = ExpectedSegment(self._site.volume, self._site.actor, sequence)
            decode_segment(found, self._site.hasher, expected)
        except (CorruptObject, WireFormatError):
            return True
        except ObjectNotVisible:
            return False
        return False

    def mend_file(self, blocked: Mapping[Path, str]) -> set[Path]:
        """Has the content of one file put back; returns the names that are to be planned anew.

        The synced tree is told what the disk really holds. So what differs from the merged tree
        is the file, with all of its names, and it is replaced as any change from elsewhere
        replaces a file; and nobody takes what is damaged for what a program wrote, neither at its
        name nor in the trash, at whatever step a crash may come.

        Args:
            blocked: what could not be changed on the disk at the last attempt, and why.

        Raises:
            OSError: the state directory can't be written.
        """
        self._look_after_awaited(blocked)
        if not self._asked.files:
            return set()
        path = self._asked.files.pop(0)
        shown = display_name(joined(path))
        entry = entry_at_path(self._site.journal.synced, path)
        if entry is None or entry.content is None or entry.content.kind is not ContentKind.REGULAR:
            self._failed[shown] = "it is no file of the volume any more"
            return set()
        try:
            damaged = self._content_now(entry, path)
            if damaged.digest == entry.content.digest:
                self._note_sound(path, entry)
                return set()
            kept_as = self._set_aside(entry, path)
        except DiskError as error:
            self._failed[shown] = f"{error}"
            return set()
        _log.warning("damaged_file_found", path=joined(path), kept_as=kept_as)
        return self._tell_what_is_there(entry, damaged)

    def note_applied(self) -> None:
        """Says that nothing is left in which the disk should differ from the merged tree."""
        if self.is_unfinished:
            with self._site.journal.transaction():
                self._site.journal.set_setting(MENDING, 0)
            self.is_unfinished = False

    def _note_sound(self, path: Path, entry: SyncedEntry) -> None:
        """Looks no further at a file that is right, or another name of one that is dealt with."""
        if path not in self._awaited:
            assert entry.content is not None
            self._awaited[path] = (b"", self._site.clock.monotonic_s())

    def _tell_what_is_there(self, entry: SyncedEntry, damaged: Content) -> set[Path]:
        synced = self._site.journal.synced
        now_s = self._site.clock.monotonic_s()
        found: set[Path] = set()
        with self._site.journal.transaction():
            self._site.journal.set_setting(MENDING, 1)
            note_set_aside(self._site.journal, damaged.digest)
            self.is_unfinished = True
            for name in synced.entries_of_handle(entry.handle):
                path = path_of_entry(synced, name)
                if path is not None:
                    synced.save_entry(replace(name, content=damaged))
                    self._awaited[path] = (damaged.digest, now_s)
                    found.add(path)
        return found

    def _look_after_awaited(self, blocked: Mapping[Path, str]) -> None:
        """Finds out which files were replaced, and gives up waiting for others after a while."""
        now_s = self._site.clock.monotonic_s()
        for path, (damaged, since_s) in list(self._awaited.items()):
            entry = entry_at_path(self._site.journal.synced, path)
            content = entry.content if entry is not None else None
            if content is None or content.digest != damaged:
                del self._awaited[path]
                self._files += 1
            elif now_s - since_s > AWAITED_S:
                del self._awaited[path]
                why = blocked.get(path, "it could not be replaced yet")
                self._failed[display_name(joined(path))] = f"{why}; it is tried again"

    def _content_now(self, entry: SyncedEntry, path: Path) -> Content:
        hasher: VolumeHasher = self._site.hasher
        chunks: list[ChunkReference] = []
        with self._site.disk.open_stable(joined(path), entry.handle) as reader:
            if reader.entry.fingerprint != entry.fingerprint:
                raise EntryBusy("a program has changed it since; it is captured first")
            for chunk in cut_sparse(reader.sparse_blocks(BLOCK_SIZE_BYTES)):
                if isinstance(chunk, Zeros):
                    chunks.append(ChunkReference(HOLE_DIGEST, chunk.size_bytes))
                else:
                    chunks.append(ChunkReference(hasher.chunk_digest(chunk), len(chunk)))
        digest = hasher.content_digest(ContentKind.REGULAR, chunks)
        size_bytes = sum(chunk.size_bytes for chunk in chunks)
        return Content(ContentKind.REGULAR, digest, size_bytes, tuple(chunks))

    def _set_aside(self, entry: SyncedEntry, path: Path) -> bytes:
        """Copies a damaged file into the state directory."""
        directory = os.path.join(self._site.state_dir, SET_ASIDE)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        name = path[-1][:_SET_ASIDE_NAME_SIZE_BYTES_MAX]
        target = os.path.join(directory, b"%d-%s" % (self._site.now_ms(), name))
        with (
            self._site.disk.open_stable(joined(path), entry.handle) as reader,
            os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
        ):
            for block in reader.sparse_blocks(BLOCK_SIZE_BYTES):
                if isinstance(block, bytes):
                    file.write(block)
                else:
                    file.seek(block.size_bytes, os.SEEK_CUR)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        return target
