"""What is published: the logs as the store holds them, and the contents that they name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from conflict.content import ChunkReference, ContentKind
from conflict.observation import DiskKind
from conflict.operations import Operation, Put, Transaction
from conflict.version import ActorId
from transport.chunker import cut
from transport.hashing import VolumeHasher
from transport.object_names import SegmentName, recognise
from transport.segment import ExpectedSegment, Segment, decode_segment

VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class Log:
    """All that the store holds of the volume."""

    segments: dict[ActorId, list[Segment]]

    @property
    def transactions(self) -> list[Transaction]:
        """All of them, each actor's in order."""
        return [t for log in self.segments.values() for s in log for t in s.transactions]

    @property
    def operations(self) -> list[Operation]:
        """All operations."""
        return [operation for transaction in self.transactions for operation in transaction]


def read_segments(bodies: Mapping[str, bytes], hasher: VolumeHasher) -> Log:
    """Reads what is there now, in the order of each log; something may be on its way."""
    segments: dict[ActorId, list[Segment]] = defaultdict(list)
    for name, body in _segments_of(bodies):
        expected = ExpectedSegment(VOLUME, name.actor, name.sequence)
        segments[name.actor].append(decode_segment(body, hasher, expected))
    return Log(dict(segments))


def _segments_of(bodies: Mapping[str, bytes]) -> Iterator[tuple[SegmentName, bytes]]:
    for name, body in sorted(bodies.items()):
        found = recognise(name)
        if isinstance(found, SegmentName):
            yield found, body


def contents_in(operations: Iterable[Operation]) -> set[bytes]:
    """Returns the digests of all contents that operations name."""
    return {each.content.digest for each in operations if isinstance(each, Put)}


def digest_of(hasher: VolumeHasher, kind: DiskKind, body: bytes) -> bytes:
    """Returns the digest of a content."""
    if kind is DiskKind.SYMLINK:
        return hasher.content_digest(ContentKind.SYMLINK, target=body)
    if kind is DiskKind.FIFO:
        return hasher.content_digest(ContentKind.FIFO)
    chunks = [ChunkReference(hasher.chunk_digest(c), len(c)) for c in cut([body] if body else [])]
    return hasher.content_digest(ContentKind.REGULAR, chunks)
