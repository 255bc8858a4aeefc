"""One large file while it is read in slices: open, and held still, from the first to the last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from conflict.capture import StableContent
from conflict.content import HOLE_DIGEST, Block, ChunkReference
from conflict.observation import DiskEntry
from conflict.synced import Path
from geosync.configuration.capture_rules import CaptureRule, OpenFiles
from geosync.disk.interface import EntryBusy, EntryVanished, StableReader
from geosync.engine.intake import BLOCK_SIZE_BYTES, Intake, entry_as_read, regular_content
from geosync.engine.site import Site, joined
from geosync.terminal import display_name
from transport.sparse_chunker import cut_in_pieces

_COST_OF_HOLE_BYTES: Final = BLOCK_SIZE_BYTES  # of a slice; most of it nobody has to read


class LargeFile:
    """A regular file of which a part is read.

    Attributes:
        path: where it is.
        is_snapshot: a program had it open for writing.
        size_bytes: of the file.
        read_bytes: of these.
        took_s: for reading, in all slices.
    """

    def __init__(
        self, site: Site, path: Path, entry: DiskEntry, *, may_take_snapshot: bool
    ) -> None:
        """Opens a file.

        Args:
            site: where it is.
            path: below the root.
            entry: what was seen there.
            may_take_snapshot: it is read although a program has it open for writing, if its rule
                says so.

        Raises:
            EntryBusy, EntryVanished, EntryUnreadable: it can't be read now.
        """
        self.path = path
        self.is_snapshot = False
        self.read_bytes = 0
        self.took_s = 0.0
        self._site = site
        self._chunks: list[ChunkReference] = []
        self._closing = ExitStack()
        self._reader = self._open(entry.handle, may_take_snapshot=may_take_snapshot)
        self._steps = _steps(self._reader)
        self.size_bytes = self._reader.entry.fingerprint.size_bytes

    @property
    def handle(self) -> bytes:
        """Which inode it is."""
        return self._reader.entry.handle

    def rule(self) -> CaptureRule:
        """Returns how it is captured."""
        return self._site.capture_rules.rule_for(self.path)

    def close(self) -> None:
        """Lets go of it."""
        self._closing.close()

    def read_on(self, intake: Intake) -> bool:
        """Reads one slice; tells whether it was the last one, and the content is proven.

        Args:
            intake: keeps the chunks.

        Raises:
            EntryBusy, EntryVanished, EntryUnreadable: what was read is torn, or all there is.
            OSError: the spool can't be written.
        """
        began_s = self._now_s()
        try:
            return self._read_on(intake, began_s)
        finally:
            self.took_s += self._now_s() - began_s

    def content(self) -> StableContent:
        """Returns what was read, once all is."""
        content = regular_content(self._site.hasher, self._chunks)
        return StableContent(entry_as_read(self._reader), content)

    def _open(self, handle: bytes, *, may_take_snapshot: bool) -> StableReader:
        opening, at = self._site.disk.open_stable, joined(self.path)
        try:
            return self._closing.enter_context(opening(at, handle, is_slow=True))
        except EntryBusy:
            rule = self.rule()
            if rule.open_files is not OpenFiles.SNAPSHOT:
                raise
            if not may_take_snapshot:
                raise busy_until_next_snapshot(self.path, rule) from None
        self.is_snapshot = True
        opened = opening(at, handle, despite_writers=True, is_slow=True)
        return self._closing.enter_context(opened)

    def _read_on(self, intake: Intake, began_s: float) -> bool:
        limits = self._site.large_files
        there = self._site.disk.observe(joined(self.path))
        if there is None or there.handle != self.handle:
            raise EntryVanished(f"{display_name(joined(self.path))} is another file now")
        size_bytes = 0
        for piece in self._steps:
            size_bytes += BLOCK_SIZE_BYTES if piece is None else self._take(piece, intake)
            is_much = size_bytes >= limits.slice_size_bytes
            if is_much or self._now_s() - began_s >= limits.slice_s:
                return False
        return True

    def _take(self, piece: Block, intake: Intake) -> int:
        """Takes the next chunk, or the next part of a hole; returns how much that counts."""
        chunk = intake.keep(piece)
        self.read_bytes += chunk.size_bytes
        if not chunk.is_hole:
            self._chunks.append(chunk)
            return chunk.size_bytes
        before = 0
        if self._chunks and self._chunks[-1].is_hole:
            before = self._chunks.pop().size_bytes
        self._chunks.append(ChunkReference(HOLE_DIGEST, before + chunk.size_bytes))
        return min(chunk.size_bytes, _COST_OF_HOLE_BYTES)

    def _now_s(self) -> float:
        return self._site.clock.monotonic_s()


def busy_until_next_snapshot(path: Path, rule: CaptureRule) -> EntryBusy:
    """Returns why an open file is not read now: the last snapshot was too short a time ago."""
    return busy(
        path,
        "a program has the file open for writing; a snapshot is taken every"
        f" {rule.snapshot_every_s} s",
    )


def busy(path: Path, reason: str) -> EntryBusy:
    """Returns why a file can't be captured now."""
    return EntryBusy(f"can't capture {joined(path)!r} now: {reason}", reason)


def _steps(reader: StableReader) -> Iterator[Block | None]:
    """Yields the pieces of a file, and None after each part of the proof at its end."""
    yield from cut_in_pieces(reader.unproven_blocks(BLOCK_SIZE_BYTES))
    yield from reader.proof(BLOCK_SIZE_BYTES)
