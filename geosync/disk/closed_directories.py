"""Directories that not even their owner may write: opened by him for one change, then closed.

An ordinary user's daemon needs this to bring the files of a directory that is read-only on
purpose; root does without.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from geosync.disk.interface import RelativePath
from geosync.disk.tree import Tree

_MAY_CHANGE_NAMES = stat.S_IWUSR | stat.S_IXUSR


@contextmanager
def opened_directories(tree: Tree, paths: Iterable[RelativePath]) -> Iterator[bool]:
    """Opens the directories of these paths, and the paths that are directories themselves.

    A directory that moves to another one must be open, too, as its entry for that one changes.

    CRASH: a directory stays open for its owner, which the next scan takes for his own change of
    its mode.
    RACE: the mode that a program sets meanwhile stays.

    Yields:
        Whether any was closed, and is open now.
    """
    with ExitStack() as stack:
        directories = {directory for path in paths for directory in (_parent(path), path)}
        # A directory is reached through those above it.
        opened = [_open_up(tree, directory, stack) for directory in sorted(directories)]
        yield any(opened)


def _parent(path: RelativePath) -> RelativePath:
    return RelativePath(path.rpartition(b"/")[0])


def _open_up(tree: Tree, path: RelativePath, stack: ExitStack) -> bool:
    try:
        directory = tree.hold_directory(path)
    except OSError:
        return False  # gone, or no directory: the change itself tells
    stack.callback(os.close, directory)
    status = os.fstat(directory)
    mode = stat.S_IMODE(status.st_mode)
    is_closed = mode & _MAY_CHANGE_NAMES != _MAY_CHANGE_NAMES
    if not is_closed or status.st_uid != os.geteuid():
        return False
    opened = mode | _MAY_CHANGE_NAMES
    try:
        os.chmod(_link_to(directory), opened)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
            raise
        return False
    stack.callback(_close_again, directory, opened, mode)
    return True


def _close_again(directory: int, opened: int, mode: int) -> None:
    if stat.S_IMODE(os.fstat(directory).st_mode) == opened:
        os.chmod(_link_to(directory), mode)


def _link_to(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
