"""The private directory at the root: where it is, what lies in it, and how names in it are made.

.geosync/marker    tells that this is the directory that was initialised
.geosync/stage/    entries that have not got their name yet
.geosync/trash/    inodes that a change displaced
.geosync/parked/   entries that are on their way to another name
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
from dataclasses import dataclass

from geosync.disk.interface import PRIVATE_DIRECTORY, RelativePath, RootLost

_STAGE = b"stage"
_DOWNLOAD = b"download-"
_TRASH = b"trash"
_PARKED = b"parked"
_GENERATION = b"generation"
_MARKER = b"marker"
_MARKER_PATTERN = re.compile(rb"[0-9a-f]{32}\n")
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _digest(handle: bytes) -> bytes:
    return hashlib.blake2b(handle, digest_size=16).hexdigest().encode()


def fresh_unfinished_name() -> bytes:
    """Returns a name for something that is being made."""
    return b"unfinished-" + secrets.token_hex(8).encode()


def fresh_token(staged_handle: bytes) -> bytes:
    """Returns a name that tells for which inode it was made; see `is_made_for`."""
    return secrets.token_hex(8).encode() + b"-" + _digest(staged_handle)


def name_of_download(name: bytes) -> bytes:
    """Returns the name in the stage of a download."""
    return _DOWNLOAD + name


def fresh_download_token(name: bytes, staged_handle: bytes) -> bytes:
    """As `fresh_token`, for a download that is complete; see `download_of`."""
    return name_of_download(name) + b"." + fresh_token(staged_handle)


def download_of(name: bytes) -> bytes | None:
    """Returns the download's name that a name in the stage is, or begins with; None: neither."""
    return name.partition(b".")[0] if name.startswith(_DOWNLOAD) else None


def fresh_removal_token() -> bytes:
    """Returns a name that was made for no staged inode."""
    return secrets.token_hex(8).encode() + b"-removed"


def is_made_for(token: bytes, handle: bytes) -> bool:
    """Tells a staged inode under its own token from one that was displaced to it."""
    return token.endswith(b"-" + _digest(handle))


def parked_path(name: bytes) -> RelativePath:
    """Returns the path, relative to the root, at which what is called so is parked."""
    return RelativePath(b"/".join((PRIVATE_DIRECTORY, _PARKED, _digest(name))))


@dataclass(frozen=True, slots=True)
class PrivateDirectory:
    """Descriptors of the private directories, opened once: nobody can swap them under us."""

    itself: int
    stage: int
    trash: int
    parked: int

    def is_any_removed(self) -> bool:
        """Tells whether a directory has no name any more. Raises OSError."""
        return not all(os.fstat(each).st_nlink for each in (self.stage, self.trash, self.parked))

    def close(self) -> None:
        """Closes the descriptors."""
        for descriptor in (self.itself, self.stage, self.trash, self.parked):
            os.close(descriptor)


def open_private_directory(root: int) -> PrivateDirectory:
    """Opens the private directory, making durably what is missing of it.

    Raises:
        RootLost: something else has its name.
        OSError: it could not be made.
    """
    itself = _open_made_directory(root, PRIVATE_DIRECTORY)
    private = PrivateDirectory(
        itself,
        stage=_open_made_directory(itself, _STAGE),
        trash=_open_made_directory(itself, _TRASH),
        parked=_open_made_directory(itself, _PARKED),
    )
    os.fsync(itself)
    os.fsync(root)
    return private


def _open_made_directory(parent: int, name: bytes) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    try:
        descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    except OSError as error:
        if error.errno in {errno.ENOTDIR, errno.ELOOP}:
            raise RootLost(
                f"can't use {os.fsdecode(name)} of the private directory: it is no directory; "
                "move it away"
            ) from error
        raise
    _make_private(descriptor)
    return descriptor


def _make_private(descriptor: int) -> None:
    """Undoes what the root may pass on, and what whoever made it in advance may have kept.

    That is: setgid, a default access control list, and another owner, who could change what is
    prepared here on its way to its name.
    """
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        os.chown(descriptor, os.geteuid(), -1)
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o700:
        os.chmod(descriptor, 0o700)
    for name in ("system.posix_acl_default", "system.posix_acl_access"):
        with contextlib.suppress(OSError):  # it has none, or the file system knows none
            os.removexattr(descriptor, name)


def read_marker(private: int) -> bytes | None:
    """Returns the token in the marker, None when there is no marker.

    Raises:
        RootLost: there is something else than a marker.
        OSError: it could not be read.
    """
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(_MARKER, flags, dir_fd=private)
    except FileNotFoundError:
        return None
    try:
        content = os.read(descriptor, 64)
    finally:
        os.close(descriptor)
    if not _MARKER_PATTERN.fullmatch(content):
        raise RootLost(
            f"the marker of the private directory holds {content!r}, not a token: "
            "restore it, or remove it to initialise the directory anew"
        )
    return content[:-1]


def create_marker(private: PrivateDirectory) -> bytes:
    """Makes the marker durably, with a random token, unless there is one; returns its token.

    Raises:
        RootLost: as `read_marker`.
        OSError: it could not be made.
    """
    name = fresh_unfinished_name()
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=private.stage)
    try:
        os.write(descriptor, secrets.token_hex(16).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    # RACE: another process may initialise too; link(2) lets one marker win, and both read it.
    # CRASH: the link lasts or not; the next start finds a whole marker or makes another.
    with contextlib.suppress(FileExistsError):
        os.link(name, _MARKER, src_dir_fd=private.stage, dst_dir_fd=private.itself)
    os.unlink(name, dir_fd=private.stage)
    os.fsync(private.itself)
    token = read_marker(private.itself)
    if token is None:
        raise RootLost("the marker of the private directory vanished while it was made")
    return token


def read_generation(private: int) -> bytes | None:
    """Returns the token that was left last, None when there is none.

    Raises:
        OSError: it could not be read.
    """
    try:
        return os.readlink(_GENERATION, dir_fd=private)
    except FileNotFoundError:
        return None


def write_generation(private: PrivateDirectory, token: bytes) -> None:
    """Replaces that token; a sync makes it durable. Raises OSError.

    It is the target of a symlink, as that is never there in part, synced or not.
    """
    name = fresh_unfinished_name()
    os.symlink(token, name, dir_fd=private.stage)
    try:
        os.rename(name, _GENERATION, src_dir_fd=private.stage, dst_dir_fd=private.itself)
    except OSError:
        os.unlink(name, dir_fd=private.stage)
        raise
