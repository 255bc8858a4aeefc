"""What a site could not set of an entry's attributes, as short texts to be counted by."""

from __future__ import annotations

from typing import Final

from conflict.observation import Attributes

OWNER: Final = b"owner "  # followed by the name that the volume has
GROUP: Final = b"group "
LIST: Final = b"acl "  # followed by user:NAME or group:NAME, or by group: and the like
MODE: Final = b"mode"
MTIME: Final = b"mtime"
EXTENDED: Final = b"xattr"
RETRY: Final = OWNER  # with no name: its attributes are to be set once more

_LIST_PREFIX: Final = b"acl."


def unset_parts(intended: Attributes, shown: Attributes, *, is_symlink: bool) -> set[bytes]:
    """Returns in what the disk shows other attributes than the volume has.

    No disk has modes and extended attributes of symlinks, which a file may have been before.
    """
    if intended == shown:
        return set()
    parts = set()
    if intended.owner != shown.owner:
        parts.add(OWNER + intended.owner)
    if intended.group not in (shown.group, b""):  # empty: whatever it is
        parts.add(GROUP + intended.group)
    if intended.mode != shown.mode and not is_symlink:
        parts.add(MODE)
    if intended.mtime_ns != shown.mtime_ns:
        parts.add(MTIME)
    differing = set() if is_symlink else set(intended.extended) ^ set(shown.extended)
    for name, _ in differing:
        is_entry = name.startswith(_LIST_PREFIX) and b":" in name
        parts.add(LIST + name.split(b":", 1)[1] if is_entry else EXTENDED)
    return parts
