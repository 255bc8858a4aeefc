"""The content stage: brings a file from the store, complete, to where the disk stages it."""

from __future__ import annotations

from conflict.content import Content, ContentKind
from conflict.observation import Attributes
from geosync.disk.interface import Staged
from geosync.engine.fetching import Fetcher
from geosync.engine.site import Site


class ContentStage:
    """Stages single files; `Disk.sync_stage` makes them durable."""

    def __init__(self, site: Site, fetcher: Fetcher) -> None:
        self._site = site
        self._fetcher = fetcher

    def stage(self, content: Content, attributes: Attributes) -> Staged:
        """Stages one file.

        Raises:
            ContentUnavailable: the store does not give it at present.
            OSError: the stage can't be written.
        """
        disk = self._site.disk
        if content.kind is ContentKind.SYMLINK:
            return disk.stage_symlink(content.target, attributes)
        if content.kind is ContentKind.FIFO:
            return disk.stage_fifo(attributes)
        file = disk.stage_file(content.size_bytes)
        try:
            for block in self._fetcher.blocks(content):
                file.write(block)
            return file.finish(attributes)
        except BaseException:
            file.abandon()
            raise
