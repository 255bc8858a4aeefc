"""Where files are cut, and what that costs in memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

import pytest

from transport.chunker import (
    CHUNK_SIZE_BYTES_MAX,
    CHUNK_SIZE_BYTES_MIN,
    WHOLE_FILE_SIZE_BYTES_MAX,
    cut,
)

MIB = 1024 * 1024


def _noise(size_bytes: int) -> bytes:
    return hashlib.shake_128(b"geosync").digest(size_bytes)


def test_boundaries_are_pinned() -> None:
    """Other boundaries would store every large file once more, and deduplicate nothing."""
    chunks = list(cut([_noise(6 * MIB)]))
    assert [len(chunk) for chunk in chunks] == [
        624398,
        343374,
        635659,
        805980,
        558365,
        835516,
        746709,
        594582,
        598946,
        547927,
    ]


def test_an_empty_file_has_no_chunks() -> None:
    assert list(cut([])) == []
    assert list(cut([b"", b""])) == []


@pytest.mark.parametrize("size_bytes", [1, 4096, WHOLE_FILE_SIZE_BYTES_MAX])
def test_a_small_file_is_one_chunk(size_bytes: int) -> None:
    noise = _noise(size_bytes)
    assert list(cut([noise[:1000], noise[1000:]])) == [noise]


def test_even_where_the_algorithm_would_cut_it() -> None:
    noise = hashlib.shake_128(b"47").digest(WHOLE_FILE_SIZE_BYTES_MAX + 1)
    assert [len(chunk) for chunk in cut([noise])] == [215_548, 46_596]
    assert list(cut([noise[:-1]])) == [noise[:-1]]


def test_a_large_file_has_chunks_of_bounded_size() -> None:
    noise = _noise(5 * MIB)
    chunks = list(cut([noise]))
    assert b"".join(chunks) == noise
    assert all(CHUNK_SIZE_BYTES_MIN <= len(c) <= CHUNK_SIZE_BYTES_MAX for c in chunks[:-1])


def test_a_file_without_variety_is_cut_at_the_maximum() -> None:
    chunks = list(cut([bytes(5 * MIB)]))
    assert [len(chunk) for chunk in chunks] == [2 * MIB, 2 * MIB, MIB]


def test_an_insertion_changes_the_chunks_around_it_only() -> None:
    noise = _noise(6 * MIB)
    before = set(cut([noise]))
    after = list(cut([noise[: 3 * MIB], b"inserted", noise[3 * MIB :]]))
    assert len([chunk for chunk in after if chunk not in before]) <= 2


def test_chunks_stay_what_they_were_when_the_next_one_is_read() -> None:
    """The library reuses its buffer: a chunk that is a view of it would change."""
    noise = _noise(6 * MIB)
    assert b"".join(list(cut([noise]))) == noise


def test_memory_does_not_grow_with_the_file() -> None:
    def blocks() -> Iterator[bytes]:
        for number in range(256):
            yield bytes([number]) * (256 * 1024)

    tracemalloc.start()
    try:
        size_bytes = sum(len(chunk) for chunk in cut(blocks()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size_bytes == 64 * MIB
    assert peak < 10 * MIB


def test_an_error_of_the_reader_comes_through() -> None:
    def failing() -> Iterator[bytes]:
        yield bytes(MIB)
        raise OSError(5, "read failed")

    with pytest.raises(OSError, match="read failed"):
        list(cut(failing()))


def test_the_slow_fallback_of_the_library_is_refused() -> None:
    program = """
import sys, warnings
warnings.simplefilter("ignore")
sys.modules["pyfastcdc.cy"] = None  # as on a machine where the extension was not built
from transport.chunker import ChunkerUnavailableError, cut
assert list(cut([b"small"])) == [b"small"]
try:
    list(cut([bytes(1000000)]))
except ChunkerUnavailableError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "without its compiled extension" in done.stdout
    assert "install pyfastcdc again" in done.stdout
