"""A small segment that uses every part of the format, and the bytes that it must stay.

`python -m tests.support.sample_segment` writes the bytes anew, for a new format version only.
"""

from __future__ import annotations

from pathlib import Path

from conflict.content import ChunkReference, Content, ContentKind
from conflict.operations import (
    GROUP,
    MODE,
    MTIME_NS,
    OWNER,
    ROOT,
    Delete,
    Drop,
    LinkId,
    NodeId,
    Place,
    Put,
    SetAttributes,
    Transaction,
    id_of,
)
from conflict.stamp import Stamp
from conflict.version import ActorId, Dot, VersionVector
from transport.hashing import VolumeHasher
from transport.object_names import pack_name
from transport.pack import ChunkLocation
from transport.segment import ExpectedSegment, Segment, encode_segment

GOLDEN = Path(__file__).parent.parent / "golden" / "segment_v1.bin"

HASHER = VolumeHasher(bytes(range(32)))
BARI = ActorId(bytes.fromhex("ba" * 16))
CNAF = ActorId(bytes.fromhex("cf" * 16))
EXPECTED = ExpectedSegment("redmine", BARI, 5)


def sample_segment() -> Segment:
    """Returns the segment: two transactions with all types of operation, a pack, a small chunk."""
    small, large = b"small content\n", b"large content\n" * 5000
    chunks = (ChunkReference(HASHER.chunk_digest(large), len(large)),)
    return Segment(
        volume=EXPECTED.volume,
        site="bari",
        actor=BARI,
        sequence=EXPECTED.sequence,
        previous_digest=HASHER.chain_digest(b"segment 4"),
        created_at_ms=1_790_000_000_000,
        received=VersionVector({BARI: 6, CNAF: 80}),
        applied=VersionVector({BARI: 6, CNAF: 77}),
        transactions=(_first(chunks), _second()),
        pack_entries={chunks[0].digest: ChunkLocation(pack_name(BARI, 3), 1000, 60, len(large))},
        inline_chunks={HASHER.chunk_digest(small): small},
    )


def _stamp(elapsed: int, epoch: int = 1) -> Stamp:
    return Stamp(epoch, (1_790_000_000_000 << 16) + elapsed, BARI)


def _first(chunks: tuple[ChunkReference, ...]) -> Transaction:
    node = NodeId(id_of(Dot(BARI, 2)))
    content = Content(
        ContentKind.REGULAR,
        HASHER.content_digest(ContentKind.REGULAR, chunks),
        sum(chunk.size_bytes for chunk in chunks),
        chunks,
    )
    attributes = ((GROUP, b"www-data"), (MODE, 0o640), (MTIME_NS, -1), (OWNER, b"#1000"))
    return Transaction(
        (
            Place(Dot(BARI, 2), _stamp(0), node, LinkId(node), False, ROOT, b"caf\xe9.txt"),
            Put(Dot(BARI, 3), _stamp(1), node, LinkId(node), content, attributes),
        ),
        VersionVector({BARI: 1, CNAF: 80}),
    )


def _second() -> Transaction:
    node = NodeId(id_of(Dot(CNAF, 7)))
    link = LinkId(NodeId(id_of(Dot(CNAF, 9))))
    earlier = frozenset({Dot(CNAF, 8), Dot(BARI, 1)})
    return Transaction(
        (
            SetAttributes(Dot(BARI, 4), _stamp(70_000), node, ((b"x:user.note", b"\0"),)),
            Delete(Dot(BARI, 5), _stamp(60_000, 2), node, link, earlier, frozenset(), False),
            Drop(Dot(BARI, 6), _stamp(70_001), node, frozenset({Dot(CNAF, 8)})),
        ),
        VersionVector({BARI: 3, CNAF: 79}),
    )


if __name__ == "__main__":
    GOLDEN.write_bytes(encode_segment(sample_segment(), HASHER))
