"""What the root's file system keeps of a file beside its contents: attributes, lists, times."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from geosync.disk.access_lists import ACCESS, XATTR_NAMES, Subjects, packed_list
from geosync.examination.finding import Finding, Level, Subject
from geosync.terminal import human_duration, human_size

ATTRIBUTE: Final = "user.geosync-doctor"
ATTRIBUTE_SIZE_BYTES_MAX: Final = 65_536  # the most that Linux takes
TIMES_S: Final = (-2_000_000_000, 1_700_000_000, 4_500_000_000)
"""In 1906, 2023 and 2112: what 32 bits hold with a sign, always, and not without more bits."""

_NANOSECONDS: Final = 123_456_789
_NOBODY_KNOWN: Final = Subjects(
    user_name=lambda number: b"#%d" % number,
    group_name=lambda number: b"#%d" % number,
    user_number=lambda name: int(name.removeprefix(b"#")),
    group_number=lambda name: int(name.removeprefix(b"#")),
)


def examine_attributes(directory: int, granularity_ns: int) -> Iterator[Finding]:
    """Tries attributes, access control lists and times on a file of its own.

    Args:
        directory: a descriptor of an empty directory on the root's file system.
        granularity_ns: as geosync.disk.capabilities found it.

    Raises:
        OSError: the file could not be made.
    """
    with _scratch_file(directory) as file:
        yield _attributes(file)
        yield _access_lists(file)
        yield _times(file, granularity_ns)


@contextmanager
def _scratch_file(directory: int) -> Iterator[int]:
    name = f"file-{secrets.token_hex(8)}"
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
    file = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        yield file
    finally:
        os.close(file)
        os.unlink(name, dir_fd=directory)


def _attributes(file: int) -> Finding:
    room = _attribute_room(file)
    facts = {"is_available": room > 0, "size_bytes_max": room}
    if room:
        text = f"attributes (user.*) of up to {human_size(room)} each are kept"
        return Finding(Subject.EXTENDED_ATTRIBUTES, Level.OK, text, facts=facts)
    return Finding(
        Subject.EXTENDED_ATTRIBUTES,
        Level.NOTE,
        "no attributes (user.*): those that other sites set are remembered, and not set here",
        "nothing, unless programs use them: then put the root on ext4, xfs or btrfs",
        facts,
    )


def _attribute_room(file: int) -> int:
    """Returns the largest power of two that fits as the value of one attribute; 0 for none."""
    size_bytes = ATTRIBUTE_SIZE_BYTES_MAX
    while size_bytes:
        try:
            os.setxattr(file, ATTRIBUTE, bytes(size_bytes))
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EDQUOT}:
                return 0
            size_bytes //= 2
        else:
            os.removexattr(file, ATTRIBUTE)
            return size_bytes
    return 0


def _access_lists(file: int) -> Finding:
    entries = {b"acl.access:user:#%d" % os.geteuid(): b"rw-"}
    packed = packed_list(ACCESS, entries, 0o600, _NOBODY_KNOWN)
    assert packed is not None
    try:
        os.setxattr(file, XATTR_NAMES[ACCESS], packed)
        is_kept = os.getxattr(file, XATTR_NAMES[ACCESS]) == packed
    except OSError:
        is_kept = False
    facts = {"is_available": is_kept}
    if is_kept:
        text = "POSIX access control lists are kept"
        return Finding(Subject.ACCESS_LISTS, Level.OK, text, facts=facts)
    return Finding(
        Subject.ACCESS_LISTS,
        Level.NOTE,
        "no POSIX access control lists: those of other sites are remembered, and not set here; the"
        " owning group gets what the list gives it",
        "nothing, unless the volume has such lists: then mount with the option acl, or put the"
        " root on ext4, xfs or btrfs",
        facts,
    )


def _times(file: int, granularity_ns: int) -> Finding:
    kept = [time_s for time_s in TIMES_S if _keeps(file, time_s)]
    facts = {
        "granularity_s": granularity_ns / 1e9,
        "keeps_nanoseconds": TIMES_S[1] in kept,
        "keeps_1906": TIMES_S[0] in kept,
        "keeps_2112": TIMES_S[2] in kept,
    }
    ticks = "at once"
    if granularity_ns:
        ticks = f"when they are {human_duration(granularity_ns / 1e9)} apart"
    text = f"two changes of a file have different times {ticks}"
    if len(kept) == len(TIMES_S):
        return Finding(Subject.TIMESTAMPS, Level.OK, f"{text}; all times are kept", facts=facts)
    return Finding(
        Subject.TIMESTAMPS,
        Level.NOTE,
        f"{text}; not all times are kept to the nanosecond, or not of all years (1906, 2112): other"
        " sites keep them, and here they are cut",
        "nothing, unless programs rely on it: mkfs.xfs has bigtime=1, mke2fs has -I 256",
        facts,
    )


def _keeps(file: int, time_s: int) -> bool:
    wanted_ns = time_s * 1_000_000_000 + _NANOSECONDS
    try:
        os.utime(file, ns=(wanted_ns, wanted_ns))
    except (OSError, OverflowError):
        return False
    return os.fstat(file).st_mtime_ns == wanted_ns
