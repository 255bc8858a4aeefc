"""Hashes: keyed BLAKE3 for what people can forge, XXH3 for what only accident can break."""

from __future__ import annotations

from collections.abc import Iterable

import xxhash  # noqa: TID251 - its home
from blake3 import blake3  # noqa: TID251 - its home

from conflict.content import ChunkReference, ContentKind
from conflict.errors import MalformedValueError

KEY_SIZE_BYTES = 32
AUTHENTICATOR_SIZE_BYTES = 32
CHECKSUM_SIZE_BYTES = 16

# Users choose the bytes of chunks, and their digests are published. With one key for all purposes
# a file that looks like a segment would be a way to have that segment authenticated.
_CHUNK_PURPOSE = "geosync 2026 volume key: chunk digest"
_CONTENT_PURPOSE = "geosync 2026 volume key: content digest"
_AUTHENTICATOR_PURPOSE = "geosync 2026 volume key: object authenticator"
_CHAIN_PURPOSE = "geosync 2026 volume key: log chain"


class VolumeHasher:
    """The keyed hashes of one volume. Any thread may use it.

    Keyed so that nobody without the key can forge an object, nor find out from a digest whether
    the volume holds a file that they know. Each purpose has a key of its own, derived as the
    BLAKE3 paper (O'Connor et al., 2020, section 2.4) describes.

    Raises:
        MalformedValueError: the key is not 32 bytes long.
    """

    __slots__ = ("_authenticator_key", "_chain_key", "_chunk_key", "_content_key")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE_BYTES:
            raise MalformedValueError(
                f"a volume's key has {KEY_SIZE_BYTES} bytes, this one {len(key)}:"
                " read it again from the volume record"
            )
        self._chunk_key = _derived(key, _CHUNK_PURPOSE)
        self._content_key = _derived(key, _CONTENT_PURPOSE)
        self._authenticator_key = _derived(key, _AUTHENTICATOR_PURPOSE)
        self._chain_key = _derived(key, _CHAIN_PURPOSE)

    def chunk_digest(self, chunk: bytes) -> bytes:
        """Returns the address of a chunk: 32 bytes, from its plain bytes."""
        return blake3(chunk, key=self._chunk_key).digest()

    def content_digest(
        self, kind: ContentKind, chunks: Iterable[ChunkReference] = (), target: bytes = b""
    ) -> bytes:
        """Returns what stands for a content in comparisons: equal only for equal kind and bytes.

        Args:
            kind: the first byte of what is hashed, so an empty file is neither FIFO nor symlink.
            chunks: of a regular file, in order; each is hashed as digest and size of fixed width.
            target: of a symlink.
        """
        hasher = blake3(bytes((kind.value,)), key=self._content_key)
        for chunk in chunks:
            hasher.update(chunk.digest + chunk.size_bytes.to_bytes(8, "big"))
        return hasher.update(target).digest()

    def authenticator(self, *parts: bytes) -> bytes:
        """Returns 32 bytes that only a holder of the volume's key can make for these bytes."""
        return _keyed(self._authenticator_key, parts)

    def chain_digest(self, stored_object: bytes) -> bytes:
        """Returns what the next segment of a log says about this one: 32 bytes."""
        return _keyed(self._chain_key, (stored_object,))


def quick_checksum(*parts: bytes) -> bytes:
    """Returns the XXH3-128 of the joined parts, 16 bytes. Shows accidents; anyone can forge it."""
    checksum = xxhash.xxh3_128()
    for part in parts:
        checksum.update(part)
    return checksum.digest()


def _derived(key: bytes, purpose: str) -> bytes:
    return blake3(key, derive_key_context=purpose).digest()


def _keyed(key: bytes, parts: Iterable[bytes]) -> bytes:
    hasher = blake3(key=key)
    for part in parts:
        hasher.update(part)
    return hasher.digest()
