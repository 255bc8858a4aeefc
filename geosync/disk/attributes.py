"""Mode, owner, group, extended attributes and mtime: read from an inode, and set on one.

An inode is given as a descriptor, which may have been opened with O_PATH; where a system call
does not take such a one, the link in /proc/self/fd leads to the inode without a race.
"""

import errno
import os
import stat
from collections.abc import Iterator, Mapping

from conflict.observation import Attributes
from geosync.disk.access_lists import (
    ACCESS,
    DEFAULT,
    XATTR_NAMES,
    Subjects,
    entries_of,
    group_permissions,
    packed_list,
)
from geosync.disk.owner_names import OwnerNames

_USER_NAMESPACE = "user."

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


def read_attributes(descriptor: int, status: os.stat_result, names: OwnerNames) -> Attributes:
    """Returns the attributes of an inode whose stat is given.

    Raises:
        OSError: an extended attribute could not be read.
    """
    has_extended = not stat.S_ISLNK(status.st_mode)
    return Attributes(
        mode=stat.S_IMODE(status.st_mode),
        owner=names.users.name_of(status.st_uid),
        group=names.groups.name_of(status.st_gid),
        mtime_ns=status.st_mtime_ns,
        extended=_read_extended(descriptor, names) if has_extended else (),
    )


def _link_to(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _is_users(name: str) -> bool:
    return name.startswith(_USER_NAMESPACE) and "\0" not in name


def _listed(link: str) -> list[str]:
    try:
        return os.listxattr(link)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise


def _value_of(link: str, name: str) -> bytes | None:
    try:
        return os.getxattr(link, name)
    except OSError as error:
        # RACE: removed since it was listed; that has changed ctime, so the next look tells.
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise


def _subjects(names: OwnerNames) -> Subjects:
    return Subjects(
        names.users.name_of, names.groups.name_of, names.users.number_of, names.groups.number_of
    )


def _read_extended(descriptor: int, names: OwnerNames) -> tuple[tuple[bytes, bytes], ...]:
    link = _link_to(descriptor)
    listed = _listed(link)
    return tuple(sorted(_found_extended(link, listed, names))) if listed else ()


def _found_extended(
    link: str, listed: list[str], names: OwnerNames
) -> Iterator[tuple[bytes, bytes]]:
    for name in filter(_is_users, listed):
        value = _value_of(link, name)
        if value is not None:
            yield os.fsencode(name), value
    for kind, name in XATTR_NAMES.items():
        packed = _value_of(link, name) if name in listed else None
        if packed is not None:
            # Two numbers may have one name; the attribute is there once all the same.
            yield from dict(entries_of(kind, packed, _subjects(names))).items()


def apply_attributes(descriptor: int, attributes: Attributes, names: OwnerNames) -> None:
    """Sets all attributes as far as this process may and the file system can; the rest stays.

    The order matters: chown clears setuid and setgid, a file that its owner may not write takes
    no attribute from him, an access control list changes the mode, and all of them come before
    mtime. Read the entry again to see what was refused.

    Raises:
        OSError: anything but a refusal (an I/O error, a read-only file system).
    """
    link = _link_to(descriptor)
    status = os.fstat(descriptor)
    uid = names.users.number_of(attributes.owner)
    gid = names.groups.number_of(attributes.group)
    _apply_owner(link, status, uid, gid)
    if not stat.S_ISLNK(status.st_mode):
        wanted = dict(attributes.extended)
        _apply_users_own(link, wanted)
        mode = _allowed_mode(descriptor, attributes.mode, uid, gid)
        if not _apply_list(link, ACCESS, packed_list(ACCESS, wanted, mode, _subjects(names))):
            mode = _without_list(mode, wanted)
        _apply_mode(link, descriptor, mode)
        if stat.S_ISDIR(status.st_mode):
            _apply_list(link, DEFAULT, packed_list(DEFAULT, wanted, mode, _subjects(names)))
    _apply_mtime(link, descriptor, attributes.mtime_ns)


def _tolerate_refusal(error: OSError) -> None:
    if error.errno not in _REFUSED:
        raise error


def _apply_owner(link: str, status: os.stat_result, uid: int | None, gid: int | None) -> None:
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


def _allowed_mode(descriptor: int, mode: int, uid: int | None, gid: int | None) -> int:
    """Returns the mode; setuid and setgid only where the owner or group they stand for was set.

    A file that was meant to run as one user must not run as another because chown was refused.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISDIR(status.st_mode):
        if status.st_uid != uid:
            mode &= ~stat.S_ISUID
        if status.st_gid != gid:
            mode &= ~stat.S_ISGID
    return mode


def _without_list(mode: int, wanted: Mapping[bytes, bytes]) -> int:
    """Gives the owning group no more than the list that can't be set would have given it."""
    permissions = group_permissions(wanted)
    return mode if permissions is None else mode & ~(~permissions << 3 & 0o070)


def _apply_mode(link: str, descriptor: int, mode: int) -> None:
    if stat.S_IMODE(os.fstat(descriptor).st_mode) == mode:
        return
    try:
        os.chmod(link, mode)
    except OSError as error:
        _tolerate_refusal(error)


def _apply_list(link: str, kind: bytes, packed: bytes | None) -> bool:
    """Sets or removes an access control list; returns whether it is as wanted."""
    name = XATTR_NAMES[kind]
    present = _value_of(link, name) if name in _listed(link) else None
    if present == packed:
        return True
    try:
        if packed is None:
            os.removexattr(link, name)
        else:
            os.setxattr(link, name, packed)
    except OSError as error:
        _tolerate_refusal(error)
        return False
    return True


def _apply_users_own(link: str, wanted: Mapping[bytes, bytes]) -> None:
    try:
        _set_users_own(link, wanted)
    except PermissionError:
        # Not even its owner may do this to a file that he may not write, but he may make it so.
        try:
            os.chmod(link, stat.S_IMODE(os.stat(link).st_mode) | stat.S_IWUSR)
            _set_users_own(link, wanted)
        except OSError as error:
            _tolerate_refusal(error)


def _set_users_own(link: str, wanted: Mapping[bytes, bytes]) -> None:
    """Sets and removes users' attributes. Raises OSError: PermissionError for want of rights."""
    present = list(filter(_is_users, _listed(link)))
    for name in present:
        if os.fsencode(name) not in wanted:
            _remove_extended(link, name)
    for encoded_name, value in wanted.items():
        name = os.fsdecode(encoded_name)
        if not _is_users(name):
            continue
        try:
            if name not in present or os.getxattr(link, name) != value:
                os.setxattr(link, name, value)
        except PermissionError:
            raise
        except OSError as error:
            _tolerate_refusal(error)


def _remove_extended(link: str, name: str) -> None:
    try:
        os.removexattr(link, name)
    except PermissionError:
        raise
    except OSError as error:
        if error.errno != errno.ENODATA:  # RACE: a program has removed it
            _tolerate_refusal(error)


def _apply_mtime(link: str, descriptor: int, mtime_ns: int) -> None:
    status = os.fstat(descriptor)
    if status.st_mtime_ns == mtime_ns:
        return
    try:
        os.utime(link, ns=(status.st_atime_ns, mtime_ns))
    except OSError as error:
        _tolerate_refusal(error)
