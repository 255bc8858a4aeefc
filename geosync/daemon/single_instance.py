"""One daemon per state directory and per root, by locks that end with their process."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import NoReturn

from geosync.clock import Clock
from geosync.configuration.volume_configuration import Configuration
from geosync.errors import OperatorError
from geosync.terminal import display_name, escape_unprintable

LOCK_NAME = b"lock"
OWN_DIRECTORY = b".geosync"
HOLDER_BYTES_MAX = 1024

_REMEDIES = {
    errno.EACCES: "let the user that runs geosync write there",
    errno.EPERM: "let the user that runs geosync write there",
    errno.EROFS: "mount the file system read-write, or configure another directory",
    errno.ENOSPC: "make room on that file system",
    errno.EDQUOT: "raise the quota there, or make room",
    errno.ENOENT: "create it, or mount what belongs there, or correct the configuration",
    errno.ENOTDIR: "a directory is needed there: move the file away or correct the configuration",
    errno.EEXIST: "a directory is needed there: move the file away or correct the configuration",
    errno.ELOOP: "a symbolic link is there, which geosync does not follow: remove it",
}


@contextmanager
def single_instance(configuration: Configuration, clock: Clock) -> Iterator[None]:
    """Holds the locks of a configuration's state directory and root while the block runs.

    Creates the state directory (0700) and `<root>/.geosync` (0700), but never the root: where a
    file system is not mounted, an empty root would look like one whose files were all deleted.
    The lock files stay; the locks are flock(2), so that a dead process never holds one.

    Raises:
        OperatorError: another process holds a lock (the text names it), or a lock cannot be taken.
    """
    holder = _holder_text(configuration, clock)
    state_dir = configuration.state_dir
    own_directory = os.path.join(configuration.root, OWN_DIRECTORY)
    with ExitStack() as held:
        with _explained("use the state directory", state_dir):
            os.makedirs(state_dir, mode=0o700, exist_ok=True)
            with _opened(state_dir) as directory:
                held.enter_context(_lock(directory, state_dir, holder))
        with _explained("use the root", configuration.root):
            root = held.enter_context(_opened(configuration.root))
        with _explained("use the directory", own_directory), _own_directory(root) as directory:
            held.enter_context(_lock(directory, own_directory, holder))
        yield


@contextmanager
def _opened(path: bytes, flags: int = 0, dir_fd: int | None = None) -> Iterator[int]:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | flags, dir_fd=dir_fd)
    try:
        yield directory
    finally:
        os.close(directory)


@contextmanager
def _own_directory(root: int) -> Iterator[int]:
    with suppress(FileExistsError):
        os.mkdir(OWN_DIRECTORY, mode=0o700, dir_fd=root)
    # Applications write in the root: a symbolic link there must not lead us elsewhere.
    with _opened(OWN_DIRECTORY, os.O_NOFOLLOW, root) as directory:
        yield directory


@contextmanager
def _lock(directory: int, path: bytes, holder: bytes) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(LOCK_NAME, flags, 0o600, dir_fd=directory)
    try:
        _take(descriptor, os.path.join(path, LOCK_NAME))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder, 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: bytes) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        # RACE: the holder may not have written its text yet; then the message lacks its id.
        written = os.pread(descriptor, HOLDER_BYTES_MAX, 0).decode(errors="backslashreplace")
        found = ", ".join(map(escape_unprintable, written.splitlines())) or "process id not known"
        raise OperatorError(
            f"another geosync daemon is at work: it holds {display_name(path)} ({found}). "
            "Two daemons would undo each other's work. Stop that one first, with systemctl stop "
            "or kill and its process id, or give this one another root and state_dir."
        ) from error


def _holder_text(configuration: Configuration, clock: Clock) -> bytes:
    started = datetime.fromtimestamp(clock.wall_ns() // 1_000_000_000, UTC)
    # The host is there because a root on NFS can be locked by a daemon on another machine.
    lines = (
        f"process id {os.getpid()}",
        f"host {socket.gethostname()}",
        f"site {configuration.site}",
        f"volume {configuration.volume}",
        f"started {started:%Y-%m-%dT%H:%M:%SZ}",
    )
    return "".join(line + "\n" for line in lines).encode()


@contextmanager
def _explained(attempt: str, path: bytes) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _explain(attempt, path, error)


def _explain(attempt: str, path: bytes, error: OSError) -> NoReturn:
    remedy = _REMEDIES.get(error.errno or 0, "look at the disk and the kernel's log")
    text = f"cannot {attempt} {display_name(path)}: {error.strerror}; {remedy}"
    raise OperatorError(text) from error
