"""Contents that say who wrote them and what they replaced, so that every mix of two is seen.

A content is one record, or several in a row when it was appended to. A record begins with its
writer, serial number and what it replaced, names itself in each of its blocks, and ends with its
name again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

BLOCK_BYTES = 4096
NOTHING = "nothing"
_NAMED = re.compile(rb"torture-record ([a-z0-9.-]+)")
_MARK = b"torture-"


def compose(identity: str, replaced: str, size_bytes: int) -> bytes:
    """Returns one record.

    Args:
        identity: `site.writer.serial`, never used twice.
        replaced: the identity of what the writer found there, or NOTHING.
        size_bytes: about how long it is to be; it is never shorter than its head and end.
    """
    head = f"torture-record {identity} begins, replaces {replaced}\n".encode()
    end = f"torture-record {identity} ends\n".encode()
    filling = hashlib.shake_128(identity.encode()).hexdigest(BLOCK_BYTES // 2).encode()
    blocks: list[bytes] = []
    missing_bytes = size_bytes - len(head) - len(end)
    while missing_bytes > 0:
        block = b"torture-record %s block %d " % (identity.encode(), len(blocks)) + filling
        blocks.append(block[: min(missing_bytes, BLOCK_BYTES) - 1] + b"\n")
        missing_bytes -= BLOCK_BYTES
    return b"".join((head, *blocks, end))


def digest_of(content: bytes) -> str:
    """Returns what a content goes by in logs and evidence."""
    return hashlib.sha256(content).hexdigest()


def digest_of_link(target: bytes) -> str:
    """Returns what the target of a symbolic link goes by; no file's content goes by the same."""
    return "link:" + digest_of(target)


def is_ours(content: bytes) -> bool:
    """Tells whether any part of a content was made by `compose`, however damaged it is."""
    return _MARK in content


def identities_in(content: bytes) -> list[str]:
    """Returns the records that a content names, in order, each once: tells what was mixed."""
    return list(dict.fromkeys(name.decode() for name in _NAMED.findall(content)))


def last_identity(content: bytes) -> str:
    """Returns the record at the end of a content, or NOTHING."""
    return (identities_in(content) or [NOTHING])[-1]


def described(content: bytes) -> str:
    """Says in one line what a content is, for a person who looks for where it came from."""
    return f"{len(content)} bytes, {_listed(identities_in(content)) or repr(content[:40])}"


def _listed(identities: Iterable[str]) -> str:
    return " then ".join(identities)
