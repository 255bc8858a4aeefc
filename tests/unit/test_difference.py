"""What `conflicts diff` prints of two versions, whatever their bytes are."""

from __future__ import annotations

import pytest

from conflict.content import ChunkReference, Content, ContentKind
from geosync.reporting.difference import (
    TEXT_SIZE_BYTES_MAX,
    NamedVersion,
    difference,
    is_comparable,
)
from tests.support.small_site import content_of_bytes


def version(name: str, data: bytes) -> NamedVersion:
    return NamedVersion(name, content_of_bytes(data), data)


def diff(before: bytes, after: bytes) -> list[str]:
    return difference(version("before", before), version("after", after)).split("\n")


def test_texts_are_compared_line_by_line() -> None:
    assert diff(b"one\ntwo\nthree\n", b"one\n2\nthree\n") == [
        "--- before",
        "+++ after",
        "@@ -1,3 +1,3 @@",
        " one",
        "-two",
        "+2",
        " three",
    ]


def test_a_last_line_without_an_end_is_told() -> None:
    assert diff(b"a\n", b"a")[-3:] == ["-a", "+a", "\\ No newline at end of file"]


def test_equal_contents_are_called_so() -> None:
    assert diff(b"same\n", b"same\n") == ["before and after are equal"]


@pytest.mark.parametrize("binary", [b"\0", b"\xff\xfe"])
def test_what_is_no_text_is_told_by_size_and_digest(binary: bytes) -> None:
    lines = diff(b"text\n", binary)
    assert lines[0].startswith("--- before: 5 B, ")
    assert lines[1].startswith(f"+++ after: {len(binary)} B, ")


def test_a_symlink_is_told_by_its_target() -> None:
    link = Content(ContentKind.SYMLINK, b"d" * 32, 7, target=b"else\x1b[m")
    said = difference(version("file", b"1"), NamedVersion("link", link, None))
    assert said.endswith("+++ link: a symlink to else\\x1b[m")


def test_contents_can_not_drive_a_terminal() -> None:
    text = "\n".join(diff(b"\x1b]0;evil\x07\tcolumn\n", "\u202ereversed\n".encode()))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"-\x1b]0;evil\x07" + "\tcolumn" in text


def test_what_is_large_is_not_read() -> None:
    size_bytes = TEXT_SIZE_BYTES_MAX + 1
    chunks = (ChunkReference(b"c" * 32, size_bytes),)
    large = Content(ContentKind.REGULAR, b"d" * 32, size_bytes, chunks)
    assert not is_comparable(large)
    assert is_comparable(content_of_bytes(b"small"))
