"""POSIX access control lists: between the kernel's bytes, and entries that name their subjects.

The kernel keeps a list as an extended attribute: a version, then entries of tag, permissions and
number. The volume keeps each entry as an attribute of its own, so that entries set on several
sites are all kept, and an entry for somebody who is unknown on one site survives a change there:

    acl.access:user:alice     rw-
    acl.access:group:         r-x     the owning group
    acl.default:other:        ---

What a list has in common with the mode (owner, mask, others) is in the mode alone. So a chmod on
one site and an entry on another don't contradict each other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

ACCESS: Final = b"access"
DEFAULT: Final = b"default"
PREFIX: Final = b"acl."
XATTR_NAMES: Final = {
    ACCESS: "system.posix_acl_access",
    DEFAULT: "system.posix_acl_default",
}

_VERSION: Final = 2
_HEADER: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_NOBODY: Final = 0xFFFFFFFF
_OWNER: Final = 0x01
_USER: Final = 0x02
_OWNING_GROUP: Final = 0x04
_GROUP: Final = 0x08
_MASK: Final = 0x10
_OTHER: Final = 0x20
_NAME_SIZE_BYTES_MAX: Final = 200  # of a subject; longer ones go by number

NameOf = Callable[[int], bytes]
NumberOf = Callable[[bytes], int | None]

_SUBJECTS: Final = {
    _OWNER: b"user:",
    _OWNING_GROUP: b"group:",
    _MASK: b"mask:",
    _OTHER: b"other:",
}
_TAGS: Final = {subject: tag for tag, subject in _SUBJECTS.items()}
_NAMED: Final = {_USER: b"user:", _GROUP: b"group:"}


@dataclass(frozen=True, slots=True)
class _Entry:
    tag: int
    permissions: int
    number: int = _NOBODY


@dataclass(frozen=True, slots=True)
class Subjects:
    """How users and groups are called: numbers to names, or names to numbers."""

    user_name: NameOf
    group_name: NameOf
    user_number: NumberOf
    group_number: NumberOf


def is_entry(name: bytes) -> bool:
    """Tells whether an attribute of the volume is an entry of an access control list."""
    return name.startswith((PREFIX + ACCESS + b":", PREFIX + DEFAULT + b":"))


def entries_of(kind: bytes, packed: bytes, subjects: Subjects) -> Iterator[tuple[bytes, bytes]]:
    """Yields a list of the kernel as attributes of the volume; nothing for what is no such list.

    Args:
        kind: ACCESS or DEFAULT.
        packed: value of the extended attribute.
        subjects: names the numbers.
    """
    for entry in _unpacked(packed):
        if kind == ACCESS and entry.tag in (_OWNER, _MASK, _OTHER):
            continue  # the mode has it
        key = PREFIX + kind + b":" + _subject(entry, subjects)
        yield key, _text(entry.permissions)


def packed_list(
    kind: bytes, entries: Mapping[bytes, bytes], mode: int, subjects: Subjects
) -> bytes | None:
    """Returns the kernel's bytes for the entries of one kind; None when there is no list.

    Entries for subjects that are unknown here are left out, and so is what is no entry. Of two
    names for one number, the permissions that both have count.

    Args:
        kind: ACCESS or DEFAULT.
        entries: attributes of the volume, others among them.
        mode: permission bits, for what the entries don't say.
        subjects: numbers the names.
    """
    found: dict[tuple[int, int], int] = {}
    prefix = PREFIX + kind + b":"
    is_there = False
    for key, text in entries.items():
        if not key.startswith(prefix):
            continue
        is_there = True
        who = _numbered(key[len(prefix) :], subjects)
        permissions = _permissions(text)
        if who is not None and permissions is not None:
            found[who] = found.get(who, 0o7) & permissions
    if not is_there:
        return None
    return _packed(_completed(kind, found, mode))


def group_permissions(entries: Mapping[bytes, bytes]) -> int | None:
    """Returns what an access list gives the owning group; None when there is no list.

    Where the list can't be set, the group bits of the mode are the mask of the list, which may be
    more than that.
    """
    text = entries.get(PREFIX + ACCESS + b":" + _SUBJECTS[_OWNING_GROUP])
    return _permissions(text) if text is not None else None


def unknown_subjects(entries: Mapping[bytes, bytes], subjects: Subjects) -> Iterator[bytes]:
    """Yields the keys of entries whose user or group is unknown here."""
    for key in entries:
        if is_entry(key):
            subject = key.split(b":", 1)[1]
            if _numbered(subject, subjects) is None:
                yield key


def _completed(kind: bytes, found: dict[tuple[int, int], int], mode: int) -> list[_Entry]:
    """Adds what every list must have. The mask of an access list is in the group bits."""
    own = {_OWNER: mode >> 6 & 7, _OWNING_GROUP: mode >> 3 & 7, _OTHER: mode & 7}
    if kind == ACCESS:
        own[_MASK] = mode >> 3 & 7
    elif any(tag in _NAMED for tag, _ in found):
        grouped = (p for (tag, _), p in found.items() if tag in (_USER, _GROUP, _OWNING_GROUP))
        own[_MASK] = 0
        for permissions in grouped:
            own[_MASK] |= permissions
    complete = {(tag, _NOBODY): permissions for tag, permissions in own.items()}
    if kind == ACCESS:
        found = {who: p for who, p in found.items() if who[0] not in (_OWNER, _MASK, _OTHER)}
    complete.update(found)
    return [_Entry(tag, permissions, number) for (tag, number), permissions in complete.items()]


def _packed(entries: list[_Entry]) -> bytes:
    ordered = sorted(entries, key=lambda entry: (entry.tag, entry.number))
    packed = (_ENTRY.pack(entry.tag, entry.permissions, entry.number) for entry in ordered)
    return _HEADER.pack(_VERSION) + b"".join(packed)


def _unpacked(packed: bytes) -> list[_Entry]:
    body = packed[_HEADER.size :]
    is_known = packed[: _HEADER.size] == _HEADER.pack(_VERSION)
    if not is_known or len(body) % _ENTRY.size:
        return []
    return [_Entry(*_ENTRY.unpack_from(body, at)) for at in range(0, len(body), _ENTRY.size)]


def _subject(entry: _Entry, subjects: Subjects) -> bytes:
    if entry.tag not in _NAMED:
        return _SUBJECTS.get(entry.tag, b"%d:" % entry.tag)
    name_of = subjects.user_name if entry.tag == _USER else subjects.group_name
    name = name_of(entry.number)
    if len(name) > _NAME_SIZE_BYTES_MAX:
        name = b"#%d" % entry.number
    return _NAMED[entry.tag] + name


def _numbered(subject: bytes, subjects: Subjects) -> tuple[int, int] | None:
    """Returns tag and number of a subject, None when it is unknown here, or no subject."""
    tag = _TAGS.get(subject)
    if tag is not None:
        return tag, _NOBODY
    kind, _, name = subject.partition(b":")
    if kind == b"user" and name:
        number, tag = subjects.user_number(name), _USER
    elif kind == b"group" and name:
        number, tag = subjects.group_number(name), _GROUP
    else:
        return None
    return None if number is None else (tag, number)


def _text(permissions: int) -> bytes:
    return bytes(
        letter if permissions & bit else ord("-")
        for letter, bit in zip(b"rwx", (4, 2, 1), strict=True)
    )


def _permissions(text: bytes) -> int | None:
    found = [value for value in range(8) if _text(value) == text]
    return found[0] if found else None
