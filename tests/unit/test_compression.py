"""Compression keeps what does not shrink, and decompression refuses bombs."""

from __future__ import annotations

import random
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard  # noqa: TID251 - makes frames that our own code refuses to make

from transport.compression import Method, compress, decompress, method_of
from transport.wire_errors import MalformedContentsError, NewerFormatError, OversizeObjectError

TEXT = b"the same line again and again\n" * 1000
LIMIT = 1024 * 1024


def test_text_shrinks_and_comes_back() -> None:
    method, stored = compress(TEXT)
    assert method is Method.ZSTD
    assert len(stored) < len(TEXT) // 10
    assert decompress(method, stored, len(TEXT), LIMIT) == TEXT


@pytest.mark.parametrize("plain", [b"", b"a", random.Random(1).randbytes(100_000)])
def test_what_does_not_shrink_stays_raw(plain: bytes) -> None:
    assert compress(plain) == (Method.RAW, plain)
    assert decompress(Method.RAW, plain, len(plain), LIMIT) == plain


def test_threads_compress_at_the_same_time() -> None:
    """One compressor that threads share crashes the interpreter."""
    texts = [random.Random(number).randbytes(1000) * 200 for number in range(100)]
    together = threading.Barrier(4)

    def round_trip(_: int) -> bool:
        together.wait()
        stored = [compress(text) for text in texts]
        return all(
            decompress(method, body, len(text), LIMIT) == text
            for text, (method, body) in zip(texts, stored, strict=True)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(round_trip, range(4)))


def test_a_frame_that_claims_more_than_declared_is_refused_before_memory_is_taken() -> None:
    """zstd allocates what the frame claims, whatever maximum it is told."""
    bomb = zstandard.ZstdCompressor().compress(bytes(256 * LIMIT))
    tracemalloc.start()
    try:
        with pytest.raises(MalformedContentsError, match=f"claims {256 * LIMIT} bytes where 100"):
            decompress(Method.ZSTD, bomb, 100, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < LIMIT
    finally:
        tracemalloc.stop()


def test_a_declared_size_above_the_limit_is_refused() -> None:
    with pytest.raises(OversizeObjectError, match=f"declare {LIMIT + 1} bytes"):
        decompress(Method.ZSTD, b"", LIMIT + 1, LIMIT)


def test_a_frame_without_a_size_is_refused() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(TEXT)
    with pytest.raises(MalformedContentsError, match="claims -1 bytes"):
        decompress(Method.ZSTD, frame, len(TEXT), LIMIT)


def test_a_frame_that_holds_more_than_it_claims_is_refused() -> None:
    """The size field of a frame of 256 to 65,791 bytes is two bytes, less 256 (RFC 8878)."""
    frame = zstandard.ZstdCompressor().compress(TEXT)
    claim = (len(TEXT) - 256).to_bytes(2, "little")
    smaller = (len(TEXT) - 256 - 10).to_bytes(2, "little")
    assert frame.count(claim) == 1
    with pytest.raises(MalformedContentsError, match="zstd can't decompress"):
        decompress(Method.ZSTD, frame.replace(claim, smaller), len(TEXT) - 10, LIMIT)


def test_every_truncated_or_extended_frame_is_refused() -> None:
    _, stored = compress(TEXT)
    for bad in [stored[:length] for length in range(len(stored))] + [stored + b"\0", stored * 2]:
        with pytest.raises(MalformedContentsError):
            decompress(Method.ZSTD, bad, len(TEXT), LIMIT)


def test_raw_bytes_of_another_size_are_refused() -> None:
    with pytest.raises(MalformedContentsError, match="3 bytes are stored where 4 bytes"):
        decompress(Method.RAW, b"abc", 4, LIMIT)


def test_an_unknown_method_asks_for_an_update() -> None:
    assert [method_of(0), method_of(1)] == [Method.RAW, Method.ZSTD]
    with pytest.raises(NewerFormatError, match=r"method 2.*update geosync"):
        method_of(2)
