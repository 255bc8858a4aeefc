"""Names of conflict copies: a function of the version's dot and stamp, the same on all sites."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from conflict.operations import NAME_SIZE_BYTES_MAX
from conflict.stamp import Stamp
from conflict.version import Dot

_YEAR_9999_MS = 253_402_300_799_000
_MARK = re.compile(rb"\.gs-(?:\d{8}T\d{6}Z|\d+ms)-[0-9a-f]{8}-\d+")


def copy_name(name: bytes, dot: Dot, stamp: Stamp) -> bytes:
    """Names the copy of a losing version: `stem.gs-TIME-ACTOR-COUNTER.extension`.

    No two versions have the same dot, so no two copies get one name. Long names are cut before
    the mark, between characters where they are UTF-8.
    """
    stem, extension = _split(name)
    mark = b".gs-%s-%s-%d" % (_utc(stamp.time_ms), dot.actor[:4].hex().encode(), dot.counter)
    room = NAME_SIZE_BYTES_MAX - len(mark) - len(extension)
    if room < 1:
        extension, room = b"", NAME_SIZE_BYTES_MAX - len(mark)
    return _cut(stem, room) + mark + extension


def original_name(name: bytes) -> bytes:
    """Returns the name that a conflict copy was named after; a long one may have been cut."""
    return _MARK.sub(b"", name)


def _split(name: bytes) -> tuple[bytes, bytes]:
    stem, dot, extension = name.rpartition(b".")
    if not stem.strip(b".") or not extension:
        return name, b""
    return stem, dot + extension


def _cut(text: bytes, size_bytes: int) -> bytes:
    while len(text) > size_bytes:
        end = size_bytes
        while end > max(0, size_bytes - 4) and text[end] & 0xC0 == 0x80:
            end -= 1
        text = text[: end or size_bytes]
    return text


def _utc(time_ms: int) -> bytes:
    if time_ms > _YEAR_9999_MS:
        return b"%dms" % time_ms
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ").encode()
