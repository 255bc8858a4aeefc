"""Mending: repairs what a verification found, one piece in each cycle."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Final

from conflict.actions import LinkFile, ReplaceFile
from conflict.content import HOLE_DIGEST, ChunkReference, Content, ContentKind, Zeros
from conflict.supply import is_answered
from conflict.synced import Path, SyncedEntry, entry_at_path, path_of_entry
from geosync.disk.interface import DiskError, EntryBusy
from geosync.engine.batch import ApplyResult, BatchRunner
from geosync.engine.content_stage import ContentStage
from geosync.engine.fetching import Fetcher
from geosync.engine.intake import BLOCK_SIZE_BYTES
from geosync.engine.planned_entries import PlannedEntries
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
    """Repairs what it was asked to. What is not done when the engine ends is forgotten."""

    def __init__(self, site: Site, spool: Spool, fetcher: Fetcher, wants: Wants) -> None:
        self._site = site
        self._spool = spool
        self._fetcher = fetcher
        self._wants = wants
        self._asked = Mending()
        self._supplied = 0
        self._wanted = 0
        self._segments = 0
        self._files = 0
        self._failed: dict[str, str] = {}

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
        return bool(self._asked.chunks or self._asked.segments or self._asked.files)

    def progress(self) -> MendingProgress:
        """Returns how far it is."""
        asked = self._asked
        return MendingProgress(
            left=len(asked.chunks) + len(asked.segments) + len(asked.files),
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
        supplied = supply(self._site, self._spool, wanted) if wanted else set()
        self._supplied += len(supplied)
        left = {digest: wanted[digest] for digest in wanted.keys() - supplied}
        if supplied and left:  # there may be more than fits at once
            self._asked.chunks = left
            return
        self._asked.chunks = {}
        if left:
            self._wants.want(left)
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

    def mend_file(self) -> set[Path]:
        """Puts the content of one file back; returns the names that are to be planned anew.

        Raises:
            OSError: the stage or the state directory can't be written.
        """
        if not self._asked.files:
            return set()
        path = self._asked.files.pop(0)
        shown = display_name(joined(path))
        synced = self._site.journal.synced
        entry = entry_at_path(synced, path)
        if entry is None or entry.content is None or entry.content.kind is not ContentKind.REGULAR:
            self._failed[shown] = "it is no file of the volume any more"
            return set()
        try:
            damaged = self._content_now(entry, path)
            if damaged.digest == entry.content.digest:
                self._files += 1  # another name of the same file was put back, perhaps
                return set()
            kept_as = self._set_aside(entry, path)
        except DiskError as error:
            self._failed[shown] = f"{error}"
            return set()
        others = [o for o in synced.entries_of_handle(entry.handle) if o.entry != entry.entry]
        names = [path, *(path_of_entry(synced, other) for other in others)]
        self._put_back(entry, others, shown)
        self._know_as_damaged(entry.handle, damaged)
        if shown not in self._failed:
            self._files += 1
            _log.warning("damaged_file_put_back", path=joined(path), kept_as=kept_as)
        return {name for name in names if name}

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

    def _know_as_damaged(self, handle: bytes, damaged: Content) -> None:
        """Keeps what is in the trash now from being taken for a program's late write.

        CRASH: in between, of a file with several names, it may become a conflict.
        """
        with self._site.journal.transaction():
            for retired in self._site.journal.retired():
                if retired.handle == handle:
                    was = replace(retired.was, content=damaged)
                    self._site.journal.add_retired(replace(retired, was=was))

    def _put_back(self, entry: SyncedEntry, others: list[SyncedEntry], shown: str) -> None:
        """Replaces the file as any change from elsewhere does, with all that this is safe from.

        All of its names in one batch: a planner that found the new file beside the damaged one
        could not tell which of the two the others are to be names of.
        """
        assert entry.content is not None
        entries = PlannedEntries(self._site)
        stage = ContentStage(self._site, self._fetcher)
        result = ApplyResult()
        replacing = ReplaceFile(entry, entry, entry.content, entry.intended)
        linking = [LinkFile(entry.entry, other, other) for other in others]
        runner = BatchRunner(self._site, self._fetcher, entries, stage)
        runner.run([replacing, *linking], result)
        for reason in result.blocked.values():
            self._failed[shown] = reason
        if result.done <= len(linking):
            self._failed.setdefault(shown, "it could not be replaced now")
