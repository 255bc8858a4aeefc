"""Fetching: brings contents from the store, and from what is on this machine already."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from typing import Final

from conflict.content import Block, ChunkReference, Content, Zeros
from conflict.observation import Attributes
from conflict.synced import Path
from geosync.disk.interface import Staged
from geosync.engine.ahead import Ahead
from geosync.engine.downloading import ContentUnavailable, Download, StillComing
from geosync.engine.gathering import Gathering
from geosync.engine.lost_chunks import LostChunks
from geosync.engine.ranges import RangeReader
from geosync.engine.replaced_file import ReplacedFile
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from geosync.terminal import human_size

LARGE_SIZE_BYTES: Final = 8 * 1024 * 1024  # from here on, files come in the background
NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
SLICE_S: Final = 0.3  # so long a round waits for these, at most
BEGUN_SIZE_BYTES: Final = 64 * 1024 * 1024  # so much of several is under way before one is here
_PLACED_MAX: Final = 16  # large files of which it is remembered where they lie


class Fetcher:
    """Gathers chunks in memory, or, for large files, in downloads that survive a restart.

    Attributes:
        lost: the chunks that were at none of their places.
        ahead: what is brought before anybody needs it.
    """

    def __init__(self, site: Site, spool: Spool) -> None:
        self.lost = LostChunks()
        self.ahead = Ahead(site)
        self._site = site
        self._reader = RangeReader(site, spool, self.ahead)
        self._gathered: Gathering | None = None  # what is in memory
        self._downloads: dict[bytes, Download] = {}  # by the content's digest
        self._complete: dict[bytes, bytes] = {}  # digest -> inode, of those that were staged
        self._placed: dict[bytes, ReplacedFile] = {}  # large contents that came to the disk
        self._staged: set[bytes] = set()  # large contents in this batch
        self._asked: set[bytes] = set()  # large contents in this round
        self._held: frozenset[bytes] = frozenset()
        self._deadline_s = 0.0
        self._may_have_downloads = True  # of an earlier run

    # Small contents

    def gathering(self, contents: Iterable[Content]) -> Gathering:
        """Returns what brings the chunks of small contents, to be begun before `use`."""
        small = (content for content in contents if not is_large(content))
        return Gathering(self._site, self._reader, self.lost, small)

    def use(self, gathering: Gathering) -> None:
        """Waits for what is gathered, and takes it for what is in memory."""
        gathering.finish()
        self._gathered = gathering

    def prefetch(self, contents: Iterable[Content]) -> None:
        """Brings the chunks of small contents into memory, many with one request."""
        self.use(self.gathering(contents))

    def forget(self) -> None:
        """Frees the memory; for when a batch is over."""
        self._gathered = None
        self._staged.clear()

    def blocks(self, content: Content) -> Iterator[Block]:
        """Yields a regular file's bytes in order, and its holes; waits for a large one.

        Raises:
            ContentUnavailable: some of it can't be had now.
            OSError: there is no room for it.
        """
        download = self._all_of(content) if is_large(content) else None
        offset = 0
        for chunk in content.chunks:
            if chunk.is_hole:
                yield Zeros(chunk.size_bytes)
            elif download is None:
                yield self._chunk(chunk)
            else:
                yield download.file.read_at(offset, chunk.size_bytes)
            offset += chunk.size_bytes

    # Large contents

    def begin_round(self, planned_s: float) -> None:
        """Says that a round of applying begins, of which the planning took so long.

        What takes long to plan goes on for longer, so that most of the time goes into the work.
        """
        self._deadline_s = self._site.clock.monotonic_s() + max(SLICE_S, planned_s)
        self._asked.clear()

    def stage(
        self, content: Content, attributes: Attributes, replaced: ReplacedFile | None
    ) -> Staged:
        """Stages a large file, once it is complete.

        Args:
            content: of the file.
            attributes: that it gets.
            replaced: a file that may have a part of the content.

        Raises:
            StillComing: it goes on in the background; it is worth asking again at once.
            ContentUnavailable: some of it can't be had now.
            OSError: there is no room for it.
        """
        if content.digest in self._staged:
            raise StillComing("the same bytes came just now for another file")
        self._asked.add(content.digest)
        download = self._download(content)
        before_bytes = download.here_bytes
        wait_s = max(0.0, self._deadline_s - self._site.clock.monotonic_s())
        source = self._placed.get(content.digest, replaced)
        try:
            is_complete = self._advance(download, source, wait_s)
        finally:
            now_s = self._site.clock.monotonic_s()
            self._site.progress.note_brought(0, download.here_bytes - before_bytes, now_s)
        if not is_complete:
            here, total = human_size(download.here_bytes), human_size(content.size_bytes)
            raise StillComing(f"a large file: {here} of {total} are here")
        del self._downloads[content.digest]
        staged = download.file.finish(attributes)
        self._complete[content.digest] = staged.handle
        self._staged.add(content.digest)
        return staged

    def here_bytes(self, content: Content) -> int:
        """Returns how much of a large file is here."""
        download = self._downloads.get(content.digest)
        return 0 if download is None else download.here_bytes

    def note_placed(self, content: Content, path: Path, handle: bytes) -> None:
        """Says where a content is on the disk now: another file may get the same."""
        self._complete.pop(content.digest, None)
        if is_large(content):
            self._placed[content.digest] = ReplacedFile(path, handle, content)
            while len(self._placed) > _PLACED_MAX:
                del self._placed[next(iter(self._placed))]

    def finish_download(self, content: Content) -> None:
        """Removes the download of a large file that was read, and is not needed any more."""
        if content.digest in self._downloads:
            self._drop(content.digest)
            self._site.disk.discard_download(_name(content.digest))

    def close(self) -> None:
        """Lets go of what is open on the disk; downloads stay, and go on at the next start."""
        for digest in list(self._downloads):
            self._drop(digest)

    def hold(self, digests: Iterable[bytes]) -> None:
        """Says which large contents are wanted for something else than the tree."""
        self._held = frozenset(digests)

    def pause_others(self) -> None:
        """Has the downloads wait that nobody asked for in this round."""
        for digest, download in self._downloads.items():
            if digest not in self._asked and digest not in self._held:
                download.pause()

    def discard_downloads(self, keep: Iterable[bytes] = ()) -> None:
        """Removes what was begun for versions that nobody wants any more.

        Args:
            keep: digests of the contents that are wanted still.
        """
        kept = self._held.union(keep)
        if self._may_have_downloads:
            for digest in self._downloads.keys() - kept:
                self._drop(digest)
            self._site.disk.discard_downloads(frozenset(map(_name, kept)))
            self._may_have_downloads = bool(kept)

    def _download(self, content: Content) -> Download:
        found = self._downloads.get(content.digest)
        if found is not None:
            return found
        under_way_bytes = sum(each.left_bytes() for each in self._downloads.values())
        if self._downloads and under_way_bytes >= BEGUN_SIZE_BYTES:
            raise StillComing("a large file, which waits for another one")
        self._may_have_downloads = True
        file = self._site.disk.open_download(
            _name(content.digest), content.size_bytes, data_size_bytes=content.data_size_bytes
        )
        is_complete = file.handle == self._complete.pop(content.digest, None)
        download = Download(
            self._site, content, file, self._reader, self.lost, is_complete=is_complete
        )
        self._downloads[content.digest] = download
        return download

    def _advance(self, download: Download, source: ReplacedFile | None, wait_s: float) -> bool:
        try:
            return download.advance(source, wait_s)
        except OSError as error:
            if download.is_spoilt or error.errno in NO_ROOM:  # which others may have
                self._drop(download.content.digest)
                self._site.disk.discard_download(_name(download.content.digest))
            raise

    def _all_of(self, content: Content) -> Download:
        download = self._download(content)
        while not self._advance(download, None, SLICE_S):
            pass
        return download

    def _drop(self, digest: bytes) -> None:
        self._downloads.pop(digest).give_up()

    def _chunk(self, chunk: ChunkReference) -> bytes:
        found = self._gathered.chunks.get(chunk.digest) if self._gathered else None
        if found is None:
            raise self._unavailable(chunk)
        if len(found) != chunk.size_bytes:
            raise ContentUnavailable(
                f"chunk {chunk.digest.hex()[:16]} has {len(found)} bytes,"
                f" but the log says {chunk.size_bytes}"
            )
        return found

    def _unavailable(self, chunk: ChunkReference) -> ContentUnavailable:
        reason = self._gathered.errors.get(chunk.digest) if self._gathered else None
        return ContentUnavailable(str(reason) if reason else "its bytes are not in the store yet")


def is_large(content: Content) -> bool:
    """Tells whether a file comes in the background."""
    return content.data_size_bytes >= LARGE_SIZE_BYTES


def _name(digest: bytes) -> bytes:
    return digest.hex().encode()
