"""Mode, owner, group, extended attributes and mtime: read from an inode, and set on one.

An inode is given as a descriptor, which may have been opened with O_PATH; where a system call
does not take such a one, the link in /proc/self/fd leads to the inode without a race.
"""

import errno
import grp
import os
import pwd
import stat
from functools import lru_cache

from conflict.observation import Attributes

_ID_MAX = 2**32 - 2  # the one above means: leave it as it is
_USER_NAMESPACE = "user."
_ACL_NAMESPACE = "system.posix_acl_"

_REFUSED = frozenset(
    (
        errno.EPERM,
        errno.EACCES,
        errno.EOPNOTSUPP,
        errno.EINVAL,  # an id, or an access control list, that this system can't hold
        errno.ENOSPC,  # ext4: the extended attributes of one inode are limited to a block
        errno.EDQUOT,
        errno.E2BIG,
        errno.ERANGE,
    )
)


@lru_cache(maxsize=4096)
def owner_name(uid: int) -> bytes:
    """Returns the user's name, or b"#" and the number; remembered until the process ends."""
    try:
        return os.fsencode(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return b"#%d" % uid


@lru_cache(maxsize=4096)
def group_name(gid: int) -> bytes:
    """Returns the group's name, or b"#" and the number; remembered until the process ends."""
    try:
        return os.fsencode(grp.getgrgid(gid).gr_name)
    except KeyError:
        return b"#%d" % gid


@lru_cache(maxsize=4096)
def _known_uid(name: bytes) -> int:
    return _number(name[1:]) if name.startswith(b"#") else pwd.getpwnam(os.fsdecode(name)).pw_uid


@lru_cache(maxsize=4096)
def _known_gid(name: bytes) -> int:
    return _number(name[1:]) if name.startswith(b"#") else grp.getgrnam(os.fsdecode(name)).gr_gid


def _number(digits: bytes) -> int:
    number = int(digits)
    if not 0 <= number <= _ID_MAX:
        raise ValueError(digits)
    return number


def uid_of(owner: bytes) -> int | None:
    """Returns the number of a user, None when this system has no such user (asked anew)."""
    try:
        return _known_uid(owner)
    except (KeyError, ValueError):
        return None


def gid_of(group: bytes) -> int | None:
    """Returns the number of a group, None when this system has no such group (asked anew)."""
    try:
        return _known_gid(group)
    except (KeyError, ValueError):
        return None


def read_attributes(descriptor: int, status: os.stat_result) -> Attributes:
    """Returns the attributes of an inode whose stat is given.

    Raises:
        OSError: an extended attribute could not be read.
    """
    return Attributes(
        mode=stat.S_IMODE(status.st_mode),
        owner=owner_name(status.st_uid),
        group=group_name(status.st_gid),
        mtime_ns=status.st_mtime_ns,
        extended=() if stat.S_ISLNK(status.st_mode) else _read_extended(descriptor),
    )


def _is_carried(name: str) -> bool:
    return name.startswith((_USER_NAMESPACE, _ACL_NAMESPACE)) and "\0" not in name


def _link_to(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _extended_names(link: str) -> list[str]:
    try:
        names = os.listxattr(link)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise
    return [name for name in names if _is_carried(name)] if names else names


def _read_extended(descriptor: int) -> tuple[tuple[bytes, bytes], ...]:
    link = _link_to(descriptor)
    names = _extended_names(link)
    if not names:
        return ()
    found = []
    for name in names:
        try:
            found.append((os.fsencode(name), os.getxattr(link, name)))
        except OSError as error:
            # RACE: removed since it was listed; that has changed ctime, so the next look tells.
            if error.errno != errno.ENODATA:
                raise
    return tuple(sorted(found))


def apply_attributes(descriptor: int, attributes: Attributes) -> None:
    """Sets all attributes as far as this process may and the file system can; the rest stays.

    The order matters: chown clears setuid and setgid, chmod changes the mask of an access
    control list, and all of them come before mtime. Read the entry again to see what was refused.

    Raises:
        OSError: anything but a refusal (an I/O error, a read-only file system).
    """
    link = _link_to(descriptor)
    is_symlink = stat.S_ISLNK(os.fstat(descriptor).st_mode)
    _apply_owner(link, descriptor, attributes)
    if not is_symlink:
        _apply_mode(link, descriptor, attributes)
        _apply_extended(link, attributes)
    _apply_mtime(link, descriptor, attributes.mtime_ns)


def _tolerate_refusal(error: OSError) -> None:
    if error.errno not in _REFUSED:
        raise error


def _apply_owner(link: str, descriptor: int, attributes: Attributes) -> None:
    status = os.fstat(descriptor)
    uid, gid = uid_of(attributes.owner), gid_of(attributes.group)
    # One at a time: an owner who may not give the file away may still choose among his groups.
    if gid is not None and gid != status.st_gid:
        _change_owner(link, -1, gid)
    if uid is not None and uid != status.st_uid:
        _change_owner(link, uid, -1)


def _change_owner(link: str, uid: int, gid: int) -> None:
    try:
        os.chown(link, uid, gid)
    except OSError as error:
        _tolerate_refusal(error)


def _apply_mode(link: str, descriptor: int, attributes: Attributes) -> None:
    """Sets the mode; setuid and setgid only where the owner or group they stand for was set.

    A file that was meant to run as one user must not run as another because chown was refused.
    """
    status = os.fstat(descriptor)
    mode = attributes.mode
    if not stat.S_ISDIR(status.st_mode):
        if status.st_uid != uid_of(attributes.owner):
            mode &= ~stat.S_ISUID
        if status.st_gid != gid_of(attributes.group):
            mode &= ~stat.S_ISGID
    if stat.S_IMODE(status.st_mode) == mode:
        return
    try:
        os.chmod(link, mode)
    except OSError as error:
        _tolerate_refusal(error)


def _apply_extended(link: str, attributes: Attributes) -> None:
    wanted = dict(attributes.extended)
    present = _extended_names(link)
    for name in present:
        if os.fsencode(name) not in wanted:
            try:
                os.removexattr(link, name)
            except OSError as error:
                _tolerate_refusal(error)
    for encoded_name, value in wanted.items():
        name = os.fsdecode(encoded_name)
        if not _is_carried(name):
            continue
        try:
            if name not in present or os.getxattr(link, name) != value:
                os.setxattr(link, name, value)
        except OSError as error:
            _tolerate_refusal(error)


def _apply_mtime(link: str, descriptor: int, mtime_ns: int) -> None:
    status = os.fstat(descriptor)
    if status.st_mtime_ns == mtime_ns:
        return
    try:
        os.utime(link, ns=(status.st_atime_ns, mtime_ns))
    except OSError as error:
        _tolerate_refusal(error)
