"""Compression with zstd that any thread may use, and decompression that no bomb gets through."""

from __future__ import annotations

import threading
from enum import Enum

import zstandard  # noqa: TID251 - its home

from transport.wire_errors import MalformedContentsError, NewerFormatError, OversizeObjectError

COMPRESSION_LEVEL = 3
_SAVING_DIVISOR = 32  # compression that saves less than 1/32 is not worth the work of undoing it


class Method(Enum):
    """How bytes are stored. Values are wire format."""

    RAW = 0
    ZSTD = 1


class _ThreadCodecs(threading.local):
    """One compressor and decompressor for each thread: a shared one crashes the interpreter."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_codecs = _ThreadCodecs()


def compress(plain: bytes) -> tuple[Method, bytes]:
    """Compresses where that helps, and tells whether it did."""
    compressed = _codecs.compressor.compress(plain)
    if len(compressed) < len(plain) - len(plain) // _SAVING_DIVISOR:
        return Method.ZSTD, compressed
    return Method.RAW, plain


def decompress(method: Method, stored: bytes, size_bytes: int, size_bytes_max: int) -> bytes:
    """Undoes `compress`. Never allocates more than `size_bytes_max` for the result.

    Args:
        method: how the bytes are stored.
        stored: what `compress` returned.
        size_bytes: the size of the plain bytes, as declared where these bytes are referred to.
        size_bytes_max: the largest size that makes sense here.

    Raises:
        OversizeObjectError: the declared size is larger than that.
        MalformedContentsError: the bytes are damaged, or of another size than declared.
    """
    if size_bytes > size_bytes_max:
        raise OversizeObjectError(
            f"compressed bytes declare {size_bytes} bytes, and at most {size_bytes_max} are"
            " expected here: they were not written by geosync, don't decompress them by hand"
        )
    plain = stored if method is Method.RAW else _inflated(stored, size_bytes)
    if len(plain) != size_bytes:
        raise MalformedContentsError(
            f"{len(plain)} bytes are stored where {size_bytes} bytes are declared:"
            " fetch the object again; if it stays so, restore it in the store"
        )
    return plain


def method_of(number: int) -> Method:
    """Returns the method with this number. Raises NewerFormatError for one not known."""
    try:
        return Method(number)
    except ValueError:
        raise NewerFormatError(
            f"bytes are compressed by method {number}, which this version of geosync does not"
            " know: update geosync on this site"
        ) from None


def _inflated(stored: bytes, size_bytes: int) -> bytes:
    try:
        # The decompressor allocates what the frame claims, whatever limit it is given.
        claimed = zstandard.frame_content_size(stored)
        if claimed != size_bytes:
            raise MalformedContentsError(
                f"a zstd frame claims {claimed} bytes where {size_bytes} bytes are declared:"
                " fetch the object again; if it stays so, restore it in the store"
            )
        return _codecs.decompressor.decompress(
            stored, max_output_size=size_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise MalformedContentsError(
            f"zstd can't decompress {len(stored)} bytes ({error}):"
            " fetch the object again; if it stays so, restore it in the store"
        ) from error
