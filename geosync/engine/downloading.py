"""Downloading: brings one large file in the background, to where it will be staged.

What an earlier run left is checked first, then what the replaced file has is copied, and the rest
comes from the store. Other threads read, hash and write; the control thread says what is next, as
only it may ask the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import groupby
from typing import Final

from conflict.content import ChunkReference, Content
from conflict.errors import GeosyncError
from geosync.disk.interface import DiskError, DownloadFile, SourceFile
from geosync.engine.background_work import BackgroundWork
from geosync.engine.lost_chunks import LostChunks
from geosync.engine.ranges import Range, RangeReader, ranges
from geosync.engine.replaced_file import ReplacedFile
from geosync.engine.site import Site, joined
from transport.errors import CorruptObject, ObjectNotVisible, OperationUnderWay
from transport.pack import ChunkLocation

WINDOW_SIZE_BYTES: Final = 32 * 1024 * 1024  # of a file: so much of it is looked for at a time
PIECE_SIZE_BYTES: Final = 8 * 1024 * 1024  # is checked, or copied, in one go
SYNC_EVERY_BYTES: Final = 64 * 1024 * 1024
_ITEMS_LEFT_MIN: Final = 12  # fewer, and the next window is looked for
_ATTEMPTS: Final = 3  # in a row, at what the store still works on

Piece = tuple[int, ChunkReference]  # the offset in the file, and what belongs there


class ContentUnavailable(GeosyncError):
    """A content can't be had now; the text says why. It is tried again."""


class StillComing(ContentUnavailable):
    """Nothing is wrong: it takes its time, and goes on in the background."""


class _Phase(Enum):
    """What was begun last."""

    NOTHING = 0
    CHECKING = 1
    COPYING = 2
    FETCHING = 3
    SYNCING = 4


@dataclass(slots=True)
class _Done:
    """What one item achieved."""

    digests: list[bytes] = field(default_factory=list)
    errors: dict[bytes, GeosyncError] = field(default_factory=dict)
    asked: Range | None = None


class Download:
    """One large file on its way. What begins with `_in_background` runs in any thread.

    Attributes:
        content: of the file.
        file: that it becomes.
        here_bytes: how much of it is certainly there.
        is_complete: whether all of it is there, and durable.
        is_spoilt: whether what was written may be lost: it has to begin anew.
    """

    def __init__(
        self,
        site: Site,
        content: Content,
        file: DownloadFile,
        reader: RangeReader,
        lost: LostChunks,
        *,
        is_complete: bool = False,
    ) -> None:
        """Begins.

        Args:
            site: to which it comes.
            content: of the file.
            file: may have remains of an earlier run.
            reader: reads what the store, or this machine, has.
            lost: is told of what nobody gives.
            is_complete: it was before, and has only been taken out of the stage again.
        """
        self.content = content
        self.file = file
        self.here_bytes = content.size_bytes if is_complete else 0
        self.is_complete = is_complete
        self.is_spoilt = False
        self._site = site
        self._reader = reader
        self._lost = lost
        self._work = BackgroundWork(site)
        self._done: deque[_Done] = deque()  # by the threads, not collected yet
        self._wanted: dict[bytes, tuple[ChunkReference, list[int]]] = {}  # chunk, its offsets
        self._phase = _Phase.NOTHING
        self._windows: Iterator[list[bytes]] | None = None  # that are not looked for yet
        self._places: dict[bytes, list[ChunkLocation]] = {}  # where else what is asked for may be
        self._again: list[Range] = []  # that the store still works on
        self._problem: GeosyncError | None = None  # of the store as a whole
        self._why_lost: GeosyncError | None = None  # of one chunk
        self._unsynced_bytes = 0

    def advance(self, replaced: ReplacedFile | None, wait_s: float) -> bool:
        """Goes on; returns whether it is complete.

        Args:
            replaced: a file that may have a part of the content.
            wait_s: so long its end is waited for.

        Raises:
            ContentUnavailable: some of it can't be had at present.
            OSError: it can't be written.
        """
        deadline_s = self._site.clock.monotonic_s() + wait_s
        self._retry()
        while not self.is_complete:
            left_max = 0 if self._windows is None else _ITEMS_LEFT_MIN
            left_s = deadline_s - self._site.clock.monotonic_s()
            try:
                is_over = self._work.wait(left_s, left_max=left_max)
            except BaseException:
                self._windows = None  # the next attempt looks for all that is wanted then
                raise
            self._collect()
            if not is_over:
                return False
            if self._work.left() <= left_max and not self._go_on(replaced):
                return self._end_of_attempt()
        return True

    def pause(self) -> None:
        """Has no more of it fetched for now; `advance` goes on."""
        if self._phase is _Phase.FETCHING and not self.is_complete:
            self._work.clear()
            self._begin_attempt()

    def give_up(self) -> None:
        """Has nothing more done. What goes on just now still writes to the file, which stays."""
        self._work.clear()
        if not self._work.left():
            self.file.close()

    def left_bytes(self) -> int:
        """Returns how much of it is not here yet."""
        return self.content.size_bytes - self.here_bytes

    def _retry(self) -> None:
        """Begins the next attempt, if the last one came to its end."""
        if self._phase is not _Phase.FETCHING or self._work.left() or self._windows is not None:
            return
        if self._again:
            again, self._again = self._again, []
            self._ask(again)
        else:
            self._begin_attempt()

    def _begin_attempt(self) -> None:
        self._problem = self._why_lost = None
        self._again.clear()
        self._windows = self._in_windows()

    def _end_of_attempt(self) -> bool:
        if self.is_complete or self._again:
            return self.is_complete
        reason = self._problem or self._why_lost
        raise ContentUnavailable(str(reason) if reason else "its bytes are not in the store yet")

    def _go_on(self, replaced: ReplacedFile | None) -> bool:
        """Adds more work; returns False when there is none to add."""
        if self._phase is _Phase.NOTHING:
            self._begin()
        elif self._phase is _Phase.CHECKING:
            self._phase = _Phase.COPYING
            self._begin_copying(replaced)
        elif self._phase is _Phase.COPYING:
            self._phase = _Phase.FETCHING
            self._begin_attempt()
        elif self._phase is _Phase.SYNCING:
            self.is_complete = True
        else:
            return self._go_on_fetching()
        return True

    def _begin(self) -> None:
        self._phase = _Phase.CHECKING
        for offset, chunk in _with_offsets(self.content):
            if chunk.is_hole:
                self.here_bytes += chunk.size_bytes
                self.file.clear_at(offset, chunk.size_bytes)
            else:
                self._wanted.setdefault(chunk.digest, (chunk, []))[1].append(offset)
        if self.file.has_remains:
            pieces = [(o, c) for o, c in _with_offsets(self.content) if not c.is_hole]
            self._work.add(partial(self._in_background_check, each) for each in _groups(pieces))

    def _begin_copying(self, replaced: ReplacedFile | None) -> None:
        if replaced is None:
            return
        pieces: dict[bytes, Piece] = {}
        for offset, chunk in _with_offsets(replaced.content):
            if chunk.digest in self._wanted:
                pieces.setdefault(chunk.digest, (offset, chunk))
        if pieces:
            with suppress(DiskError):
                source = self._site.disk.open_source(joined(replaced.path), replaced.handle)
                groups = _groups(list(pieces.values()))
                self._work.add(partial(self._in_background_copy, source, each) for each in groups)

    def _go_on_fetching(self) -> bool:
        window = next(self._windows, None) if self._windows is not None else None
        if window is not None:
            self._look_for(window)
            return True
        self._windows = None
        if self._work.left():
            return True
        if self._wanted:
            return False
        self._phase = _Phase.SYNCING
        self._work.add([self._in_background_sync])
        return True

    def _in_windows(self) -> Iterator[list[bytes]]:
        """Divides what is wanted of a file into windows of the file.

        They are the same windows however much of it has come already. So what a slow store could
        not give in time is asked for again by the same ranges, which it has by then.
        """
        firsts = sorted((offsets[0], digest) for digest, (_, offsets) in self._wanted.items())
        for _, window in groupby(firsts, key=lambda each: each[0] // WINDOW_SIZE_BYTES):
            yield [digest for _, digest in window if digest in self._wanted]

    def _look_for(self, window: Iterable[bytes]) -> None:
        chunks = self._site.journal.chunks
        digests: list[bytes] = []
        for digest in window:
            inline = chunks.inline_chunk(digest)
            if inline is None:
                self._places[digest] = chunks.locations(digest)
                digests.append(digest)
            elif self._is_written(digest, inline):
                self._note_here(digest)
        self._ask_for(digests)

    def _ask_for(self, digests: Iterable[bytes]) -> None:
        """Asks for chunks at the next place of each; what has none left is lost."""
        first: dict[bytes, ChunkLocation] = {}
        for digest in digests:
            places = self._places.get(digest)
            if places:
                first[digest] = places.pop(0)
                continue
            tried = frozenset(at.pack for at in self._site.journal.chunks.locations(digest))
            self._lost.note_lost(digest, tried, self._site.clock.monotonic_s())
        self._ask(ranges(first))

    def _ask(self, wanted: Iterable[Range]) -> None:
        self._work.add([partial(self._in_background_fetch, each) for each in wanted])

    # What the threads found out

    def _collect(self) -> None:
        while self._done:
            done = self._done.popleft()
            for digest in done.digests:
                self._note_here(digest)
            if done.asked is not None:
                self._note_fetched(done, done.asked)

    def _note_here(self, digest: bytes) -> None:
        found = self._wanted.pop(digest, None)
        if found is not None:
            self.here_bytes += found[0].size_bytes * len(found[1])
        self._places.pop(digest, None)

    def _note_fetched(self, done: _Done, asked: Range) -> None:
        for digest in done.digests:
            self._lost.note_found(digest)
        elsewhere = [
            digest
            for digest, error in done.errors.items()
            if isinstance(error, (ObjectNotVisible, CorruptObject)) and digest in self._wanted
        ]
        others = [error for digest, error in done.errors.items() if digest not in elsewhere]
        if elsewhere:
            self._why_lost = self._why_lost or done.errors[elsewhere[0]]
            self._ask_for(elsewhere)
        if others and all(isinstance(error, OperationUnderWay) for error in others):
            self._again.append(asked)
        elif others:
            self._stop(others[0])

    def _stop(self, problem: GeosyncError) -> None:
        """Ends this attempt: the store, or a part of the log, is in trouble."""
        self._problem = self._problem or problem
        self._work.clear()
        self._windows = None
        self._again.clear()

    # In the background

    def _in_background_check(self, pieces: Sequence[Piece]) -> None:
        done = _Done()
        bad: set[bytes] = set()
        for offset, chunk in pieces:
            there = self.file.read_at(offset, chunk.size_bytes)
            if self._site.hasher.chunk_digest(there) != chunk.digest:
                bad.add(chunk.digest)
            elif len(self._wanted[chunk.digest][1]) == 1:
                done.digests.append(chunk.digest)
        self._done.append(done)

    def _in_background_copy(self, source: SourceFile, pieces: Sequence[Piece]) -> None:
        """RACE: a program may write to the source, or shorten it: only what is wanted counts."""
        done = _Done()
        for offset, chunk in pieces:
            try:
                there = source.read_at(offset, chunk.size_bytes)
            except OSError:
                break  # what was copied until then is as good
            if self._site.hasher.chunk_digest(there) == chunk.digest:
                self._is_written(chunk.digest, there)
                done.digests.append(chunk.digest)
        self._done.append(done)

    def _in_background_fetch(self, wanted: Range) -> None:
        for _ in range(_ATTEMPTS):
            result = self._reader.read(wanted)
            if not all(isinstance(each, OperationUnderWay) for each in result.errors.values()):
                break
            if not result.errors:
                break
        done = _Done(errors=result.errors, asked=wanted)
        for digest, data in result.chunks.items():
            if self._is_written(digest, data):
                done.digests.append(digest)
            else:
                done.errors[digest] = ContentUnavailable(
                    f"chunk {digest.hex()[:16]} has {len(data)} bytes, and not what the log says"
                )
        self._done.append(done)

    def _is_written(self, digest: bytes, data: bytes) -> bool:
        """Writes a chunk wherever it belongs; returns False if it has another size than said."""
        found = self._wanted.get(digest)
        if found is None:
            return True  # it came another way
        chunk, offsets = found
        if len(data) != chunk.size_bytes:
            return False
        for offset in offsets:
            self.file.write_at(offset, data)
        self._unsynced_bytes += len(data) * len(offsets)
        if self._unsynced_bytes >= SYNC_EVERY_BYTES:
            self._in_background_sync()
        return True

    def _in_background_sync(self) -> None:
        """Makes durable bit by bit what would take long at the end."""
        self._unsynced_bytes = 0
        try:
            self.file.sync()
        except OSError:
            self.is_spoilt = True
            raise


def _with_offsets(content: Content) -> Iterator[Piece]:
    offset = 0
    for chunk in content.chunks:
        yield offset, chunk
        offset += chunk.size_bytes


def _groups(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Divides chunks into such that are looked at in one go."""
    group: list[Piece] = []
    size_bytes = 0
    for piece in pieces:
        group.append(piece)
        size_bytes += piece[1].size_bytes
        if size_bytes >= PIECE_SIZE_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group
