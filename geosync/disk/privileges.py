"""Keeping setuid and setgid, which another site wrote, from the files of this one."""

import stat
from collections.abc import Callable
from dataclasses import replace

from conflict.content import Block
from conflict.observation import Attributes
from geosync.disk.interface import DownloadFile, Staged, StagingFile

_PRIVILEGES = stat.S_ISUID | stat.S_ISGID


def without_privileges(attributes: Attributes, *, keep: int = 0) -> Attributes:
    """Returns attributes under which no program runs as somebody else.

    Of a directory these bits give no privilege to anybody: don't call this for one.

    Args:
        attributes: of a file.
        keep: the mode that it has already; what this site has set itself may stay.
    """
    return replace(attributes, mode=attributes.mode & ~(_PRIVILEGES & ~keep))


class UnprivilegedStagingFile:
    """A `StagingFile` that gets neither bit, whatever attributes it is finished with."""

    def __init__(self, file: StagingFile, on_withheld: Callable[[Staged], None]) -> None:
        """Takes the file, and what is called when it would have got one of the bits."""
        self._file = file
        self._on_withheld = on_withheld

    def write(self, block: Block) -> None:
        """See `StagingFile.write`."""
        self._file.write(block)

    def finish(self, attributes: Attributes) -> Staged:
        """See `StagingFile.finish`."""
        return _finish(self._file, attributes, self._on_withheld)

    def abandon(self) -> None:
        """See `StagingFile.abandon`."""
        self._file.abandon()


class UnprivilegedDownloadFile:
    """A `DownloadFile` that gets neither bit either."""

    def __init__(self, file: DownloadFile, on_withheld: Callable[[Staged], None]) -> None:
        """Takes the same as `UnprivilegedStagingFile`."""
        self.handle = file.handle
        self.has_remains = file.has_remains
        self.read_at = file.read_at
        self.write_at = file.write_at
        self.clear_at = file.clear_at
        self.sync = file.sync
        self.close = file.close
        self._file = file
        self._on_withheld = on_withheld

    def finish(self, attributes: Attributes) -> Staged:
        """See `DownloadFile.finish`."""
        return _finish(self._file, attributes, self._on_withheld)


def _finish(
    file: StagingFile | DownloadFile, attributes: Attributes, on_withheld: Callable[[Staged], None]
) -> Staged:
    """Finishes a file with the attributes that it may have, and tells when some are withheld."""
    allowed = without_privileges(attributes)
    staged = file.finish(allowed)
    if allowed != attributes:
        on_withheld(staged)
    return staged
