"""Reflinks: a copy of a file as of one moment, which shares its blocks and has no name."""

import errno
import fcntl
import os

_FICLONE = 0x40049409
_NOT_CLONED = frozenset(
    (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.EISDIR, errno.EPERM)
)


def copy_of_now(source: int, directory: int) -> int | None:
    """Copies a file in one step: no write(2), and no store through a mapping, is half in it.

    The copy vanishes with its descriptor, so a crash leaves nothing behind. What is not yet on
    the disk of the source is written first, which takes as long as it takes.

    Args:
        source: descriptor of a regular file.
        directory: descriptor of a directory on the same file system.

    Returns:
        A descriptor of the copy, which the caller closes; None where files can't share blocks.

    Raises:
        OSError: ENOSPC and the like.
    """
    try:
        copy = os.open(b".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=directory)
    except OSError as error:
        if error.errno in _NOT_CLONED:
            return None
        raise
    try:
        fcntl.ioctl(copy, _FICLONE, source)
    except OSError as error:
        os.close(copy)
        if error.errno in _NOT_CLONED:
            return None
        raise
    return copy
