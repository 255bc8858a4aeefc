"""The keyed hashes of a volume, and the checksum against accidents."""

from __future__ import annotations

import pytest

from conflict.content import ChunkReference, ContentKind
from conflict.errors import MalformedValueError
from transport.hashing import VolumeHasher, quick_checksum

HASHER = VolumeHasher(b"k" * 32)
CHUNKS = (ChunkReference(b"a" * 32, 10), ChunkReference(b"b" * 32, 20))


def test_digests_are_pinned() -> None:
    """Another derivation would make every stored chunk unfindable."""
    assert (
        HASHER.chunk_digest(b"bytes").hex()
        == "c0baf805492ac679b9587051554aece578cb64e4f888378d8db1bf885f3d2786"
    )
    assert (
        HASHER.content_digest(ContentKind.REGULAR, CHUNKS).hex()
        == "d7798300bc2d8938bceb8efa6dc03c2246e6f16338b7e5d29719b14b358a1c9d"
    )
    assert (
        HASHER.authenticator(b"by", b"tes").hex()
        == "826243621cbc47125126225c6442a9a55585835b453491cb16d000174b46cb18"
    )
    assert (
        HASHER.chain_digest(b"bytes").hex()
        == "e7abc8d97214ca4323b3c593b26336330da2cf4b2fe4c42a1bc18fd237f4bb9e"
    )
    assert quick_checksum(b"by", b"tes").hex() == "95f64cad147d23ee983871c230125b12"


def test_another_key_gives_other_digests() -> None:
    other = VolumeHasher(b"l" * 32)
    assert other.chunk_digest(b"bytes") != HASHER.chunk_digest(b"bytes")
    assert other.authenticator(b"bytes") != HASHER.authenticator(b"bytes")


def test_no_digest_serves_two_purposes() -> None:
    """A file that looks like a segment must not get that segment's authenticator published."""
    regular = bytes((ContentKind.REGULAR.value,))
    digests = [
        HASHER.chunk_digest(regular),
        HASHER.content_digest(ContentKind.REGULAR),
        HASHER.authenticator(regular),
        HASHER.chain_digest(regular),
    ]
    assert len(set(digests)) == 4


def test_an_authenticator_does_not_depend_on_how_the_bytes_are_parted() -> None:
    assert HASHER.authenticator(b"by", b"tes") == HASHER.authenticator(b"bytes")
    assert quick_checksum(b"", b"bytes") == quick_checksum(b"bytes")


def test_contents_have_equal_digests_only_if_kind_and_chunks_are_equal() -> None:
    digests = [
        HASHER.content_digest(ContentKind.REGULAR),
        HASHER.content_digest(ContentKind.FIFO),
        HASHER.content_digest(ContentKind.REGULAR, CHUNKS),
        HASHER.content_digest(ContentKind.REGULAR, CHUNKS[::-1]),
        HASHER.content_digest(ContentKind.REGULAR, CHUNKS[:1]),
        HASHER.content_digest(ContentKind.REGULAR, (ChunkReference(b"a" * 32, 11),)),
        HASHER.content_digest(ContentKind.SYMLINK, target=b"a"),
        HASHER.content_digest(ContentKind.SYMLINK, target=b"b"),
        HASHER.content_digest(ContentKind.SYMLINK, target=b"a" * 32 + (10).to_bytes(8, "big")),
    ]
    assert len(set(digests)) == len(digests)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(MalformedValueError, match=r"32 bytes, this one 16.*volume record"):
        VolumeHasher(bytes(16))
