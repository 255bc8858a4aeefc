"""Giving and taking names without ever overwriting one, with renameat2 and without.

Private names are fresh and random, and nobody else makes names in a private directory, so only
names in the tree can be taken by somebody else.
"""

import errno
import os
import stat

from geosync.disk.syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, rename_with_flags
from geosync.disk.tree import Place


def take_name(source: Place, private: Place) -> None:
    """Moves whatever is at a name in the tree to a fresh private name. Raises OSError."""
    os.rename(source.name, private.name, src_dir_fd=source.directory, dst_dir_fd=private.directory)


def rename_to_free(source: Place, target: Place) -> None:
    """Renames, in one step, onto a name that is free (renameat2).

    Raises:
        FileExistsError: the target's name is not free.
        OSError: ENOENT when the source is gone, and the like.
    """
    rename_with_flags(
        source.directory, source.name, target.directory, target.name, RENAME_NOREPLACE
    )


def exchange(first: Place, second: Place) -> None:
    """Swaps what is at two names, in one step (renameat2). Raises OSError."""
    rename_with_flags(first.directory, first.name, second.directory, second.name, RENAME_EXCHANGE)


def give_name(private: Place, target: Place, *, in_one_step: bool) -> None:
    """Moves a private entry onto a name in the tree that is free.

    Without renameat2 a file is linked and then unlinked, as link(2) refuses an existing name.
    CRASH: in between it has both names; the private one is removed, or listed, at the next start.
    RACE: a directory can only be checked and renamed; what is overwritten in between can be
    nothing but an empty directory, by rename(2).

    Raises:
        FileExistsError: the target's name is not free.
        OSError: anything else.
    """
    if in_one_step:
        rename_to_free(private, target)
    elif _is_directory(private):
        if _exists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target.name)
        take_name(private, target)
    else:
        os.link(
            private.name,
            target.name,
            src_dir_fd=private.directory,
            dst_dir_fd=target.directory,
            follow_symlinks=False,
        )
        os.unlink(private.name, dir_fd=private.directory)


def _is_directory(place: Place) -> bool:
    status = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
    return stat.S_ISDIR(status.st_mode)


def _exists(place: Place) -> bool:
    try:
        os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
