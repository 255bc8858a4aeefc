"""The content stage: brings a file from the store, complete, to where the disk stages it."""

from __future__ import annotations

from typing import Final

from conflict.content import Content, ContentKind, Zeros
from conflict.observation import Attributes
from geosync.disk.interface import Staged
from geosync.engine.fetching import NO_ROOM, Fetcher, is_large
from geosync.engine.replaced_file import ReplacedFile
from geosync.engine.retry_pace import RetryPace
from geosync.engine.site import Site

_RETRY_S: Final = 1.0
_RETRY_S_MAX: Final = 60.0


class ContentStage:
    """Stages single files; `Disk.sync_stage` makes them durable.

    A file for which there was no room is not fetched and written again in every cycle, only to
    fill the disk once more: it is refused at once, with the same error, until some time is over.
    """

    def __init__(self, site: Site, fetcher: Fetcher) -> None:
        self._site = site
        self._fetcher = fetcher
        self._refused: dict[bytes, tuple[RetryPace, int, str]] = {}  # by digest: pace, errno, why

    def may_have_room(self, content: Content) -> bool:
        """Tells whether it makes sense to fetch a file now."""
        refused = self._refused.get(content.digest)
        return refused is None or refused[0].is_due(self._site.clock.monotonic_s())

    def stage(
        self, content: Content, attributes: Attributes, replaced: ReplacedFile | None = None
    ) -> Staged:
        """Stages one file.

        Args:
            content: of the file.
            attributes: that it gets.
            replaced: a file that may have a part of the content.

        Raises:
            ContentUnavailable: the store does not give it at present; StillComing: it does, and
                that takes its time.
            OSError: the stage can't be written.
        """
        if not self.may_have_room(content):
            _, number, reason = self._refused[content.digest]
            raise OSError(number, reason)
        try:
            staged = self._staged(content, attributes, replaced)
        except OSError as error:
            if error.errno in NO_ROOM:
                self._refuse(content, error)
            raise
        self._refused.pop(content.digest, None)
        return staged

    def forget(self) -> None:
        """Forgets what was refused; for when nothing waits any more."""
        self._refused.clear()

    def _refuse(self, content: Content, error: OSError) -> None:
        fresh = RetryPace(first_s=_RETRY_S, longest_s=_RETRY_S_MAX)
        pace, *_ = self._refused.get(content.digest, (fresh,))
        pace.note_failure(self._site.clock.monotonic_s())
        self._refused[content.digest] = (pace, error.errno or 0, error.strerror or str(error))

    def _note(self, size_bytes: int) -> None:
        self._site.progress.note_brought(0, size_bytes, self._site.clock.monotonic_s())

    def _staged(
        self, content: Content, attributes: Attributes, replaced: ReplacedFile | None
    ) -> Staged:
        disk = self._site.disk
        if content.kind is ContentKind.SYMLINK:
            return disk.stage_symlink(content.target, attributes)
        if content.kind is ContentKind.FIFO:
            return disk.stage_fifo(attributes)
        if is_large(content):
            return self._fetcher.stage(content, attributes, replaced)
        file = disk.stage_file(content.data_size_bytes)
        try:
            for block in self._fetcher.blocks(content):
                file.write(block)
                self._note(block.size_bytes if isinstance(block, Zeros) else len(block))
            return file.finish(attributes)
        except BaseException:
            file.abandon()
            raise
