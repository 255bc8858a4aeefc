"""How two versions of a file differ: line by line if both are text, by size and digest if not."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

from conflict.content import Content, ContentKind
from geosync.terminal import escape_unprintable, human_size

TEXT_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
_NO_NEWLINE: Final = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class NamedVersion:
    """A version, what to call it, and its bytes unless there are too many to compare."""

    name: str
    content: Content
    data: bytes | None


def is_comparable(content: Content) -> bool:
    """Tells whether the bytes are worth reading, to be compared line by line."""
    return content.kind is ContentKind.REGULAR and content.size_bytes <= TEXT_SIZE_BYTES_MAX


def difference(before: NamedVersion, after: NamedVersion) -> str:
    """Returns a unified diff, or one line for each of two versions that are no text."""
    if before.content.digest == after.content.digest:
        return f"{before.name} and {after.name} are equal"
    texts = _text(before.data), _text(after.data)
    if texts[0] is None or texts[1] is None:
        return f"--- {_described(before)}\n+++ {_described(after)}"
    lines = difflib.unified_diff(
        texts[0].splitlines(keepends=True),
        texts[1].splitlines(keepends=True),
        before.name,
        after.name,
    )
    return "\n".join(_shown(line) for line in lines)


def _text(data: bytes | None) -> str | None:
    if data is None or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _shown(line: str) -> str:
    """Returns a line that can't make a terminal do anything; tabs stay."""
    whole = line.removesuffix("\n")
    said = "\t".join(escape_unprintable(part) for part in whole.split("\t"))
    is_content = not line.startswith(("---", "+++", "@@"))
    return said if line.endswith("\n") or not is_content else f"{said}\n{_NO_NEWLINE}"


def _described(version: NamedVersion) -> str:
    content = version.content
    if content.kind is ContentKind.SYMLINK:
        target = escape_unprintable(content.target.decode(errors="surrogateescape"))
        return f"{version.name}: a symlink to {target}"
    if content.kind is ContentKind.FIFO:
        return f"{version.name}: a FIFO"
    return f"{version.name}: {human_size(content.size_bytes)}, {content.digest.hex()[:16]}"
