"""Segments: the objects of which an actor's log is made, each one naming the one before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Final

from conflict.content import DIGEST_SIZE_BYTES
from conflict.errors import MalformedValueError
from conflict.operations import Transaction
from conflict.version import ActorId, VersionVector, actor_id
from transport.actor_table import ActorTable, ActorTableWriter
from transport.frame import FrameFormat, seal, unseal
from transport.hashing import VolumeHasher
from transport.msgpack_codec import (
    WireValue,
    array,
    ascii_text,
    byte_string,
    decode,
    encode,
    integer,
    pairs,
)
from transport.object_names import (
    PACK_NUMBER_MAX,
    SEQUENCE_MAX,
    check_label,
    pack_name,
    parse_pack_name,
    segment_name,
)
from transport.operation_codec import OperationReader, OperationWriter
from transport.pack import PACK_SIZE_BYTES_MAX, ChunkLocation
from transport.volume_record import TIME_MS_MAX
from transport.wire_errors import (
    MalformedContentsError,
    MisplacedObjectError,
    Reading,
    WrongVolumeError,
)

SEGMENT_FORMAT_VERSION: Final = 1
SEGMENT_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
INLINE_CHUNK_SIZE_BYTES_MAX: Final = 16 * 1024
INLINE_SIZE_BYTES_MAX: Final = 256 * 1024
NO_SEGMENT: Final = bytes(DIGEST_SIZE_BYTES)  # what the first segment names as the one before

_FRAME: Final = FrameFormat("segment", b"GSEG", SEGMENT_FORMAT_VERSION, SEGMENT_SIZE_BYTES_MAX)
SEGMENT_OBJECT_SIZE_BYTES_MAX: Final = _FRAME.sealed_size_bytes_max


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of one actor's log. It may hold no transaction, only what its author knows.

    Raises:
        MalformedValueError: the parts contradict each other or exceed a limit.
    """

    volume: str
    site: str
    actor: ActorId
    sequence: int  # from 0, without gaps
    previous_digest: bytes  # `VolumeHasher.chain_digest` of the segment before, or NO_SEGMENT
    created_at_ms: int  # since 1970, by the author's clock
    received: VersionVector  # what the author had received when it wrote this
    applied: VersionVector  # what was on the author's disk then
    transactions: tuple[Transaction, ...] = ()
    pack_entries: Mapping[bytes, ChunkLocation] = field(default_factory=dict)  # by chunk digest
    inline_chunks: Mapping[bytes, bytes] = field(default_factory=dict)  # by chunk digest

    def __post_init__(self) -> None:
        check_label(self.volume, "a volume")
        check_label(self.site, "a site")
        actor_id(self.actor)
        if not 0 <= self.sequence <= SEQUENCE_MAX or not 0 <= self.created_at_ms <= TIME_MS_MAX:
            raise MalformedValueError(
                f"segment {self.sequence}, written at {self.created_at_ms} ms"
            )
        _check_digests(self.previous_digest, *self.pack_entries, *self.inline_chunks)
        if (self.sequence == 0) != (self.previous_digest == NO_SEGMENT):
            raise MalformedValueError(f"segment {self.sequence} names a wrong segment before it")
        self._check_transactions()
        self._check_inline_chunks()

    def _check_transactions(self) -> None:
        following: int | None = None
        for transaction in self.transactions:
            first = transaction.operations[0].dot
            if first.actor != self.actor or following not in (None, first.counter):
                raise MalformedValueError(f"{first} is out of order in a log of {self.actor.hex()}")
            following = transaction.last_counter + 1

    def _check_inline_chunks(self) -> None:
        sizes = [len(chunk) for chunk in self.inline_chunks.values()]
        if (
            sum(sizes) > INLINE_SIZE_BYTES_MAX
            or max(sizes, default=0) > INLINE_CHUNK_SIZE_BYTES_MAX
        ):
            raise MalformedValueError(
                f"{len(sizes)} inline chunks of {sum(sizes)} bytes, the largest of {max(sizes)}"
            )


@dataclass(frozen=True, slots=True)
class ExpectedSegment:
    """What a reader knows about a segment before reading it: the volume, and the object's name."""

    volume: str
    actor: ActorId
    sequence: int


def encode_segment(segment: Segment, hasher: VolumeHasher) -> bytes:
    """Returns the object to store as `segment_name(segment.actor, segment.sequence)`.

    Raises:
        OversizeObjectError: no reader would accept so much in one segment: use several.
        MalformedValueError: an operation can't be stored.
    """
    operations = OperationWriter(segment.actor)
    table = operations.table
    received = table.vector(segment.received)
    applied = table.vector(segment.applied)
    transactions = operations.transactions(segment.transactions, segment.received)
    packs = tuple(_packs(segment.pack_entries, table))
    body = encode(
        (
            segment.volume.encode("ascii"),
            segment.site.encode("ascii"),
            table.packed(),
            segment.sequence,
            segment.previous_digest,
            segment.created_at_ms,
            received,
            applied,
            transactions,
            packs,
            tuple(chain.from_iterable(sorted(segment.inline_chunks.items()))),
        )
    )
    return seal(_FRAME, body, hasher.authenticator)


def decode_segment(stored: bytes, hasher: VolumeHasher, expected: ExpectedSegment) -> Segment:
    """Returns the segment, once it proved to be the expected one and intact in every part.

    Whether `previous_digest` is that of the segment before is for the caller to compare.

    Raises:
        WireFormatError: of the class that fits; the text says what was found and what to do.
    """
    name = segment_name(expected.actor, expected.sequence)
    body = unseal(_FRAME, stored, name, hasher.authenticator)
    with Reading(name):
        fields = array(decode(body, SEGMENT_SIZE_BYTES_MAX), "segment", 11)
        table = ActorTable(fields[2])
        _check_expected(fields, table, expected)
        segment = _segment(fields, table)
        for digest, chunk in segment.inline_chunks.items():
            if hasher.chunk_digest(chunk) != digest:
                raise MalformedContentsError(f"the inline chunk {digest.hex()} has another digest")
    return segment


def _check_expected(
    fields: tuple[WireValue, ...], table: ActorTable, expected: ExpectedSegment
) -> None:
    volume = ascii_text(fields[0], "volume")
    if volume != expected.volume:
        raise WrongVolumeError(
            f"the segment belongs to the volume {volume!r}, not {expected.volume!r}:"
            " check the containers in the configuration"
        )
    sequence = integer(fields[3], 0, SEQUENCE_MAX, "sequence")
    if (table.author, sequence) != (expected.actor, expected.sequence):
        raise MisplacedObjectError(
            f"the segment says that it is {segment_name(table.author, sequence)}: an object was"
            " copied or renamed in the store; restore the right one, or retire that site"
        )


def _segment(fields: tuple[WireValue, ...], table: ActorTable) -> Segment:
    volume, site, _, sequence, previous, created_at_ms, got, applied, written, packs, inline = (
        fields
    )
    received = table.vector(got, "received")
    return Segment(
        ascii_text(volume, "volume"),
        ascii_text(site, "site"),
        table.author,
        integer(sequence, 0, SEQUENCE_MAX, "sequence"),
        byte_string(previous, "previous digest"),
        integer(created_at_ms, 0, TIME_MS_MAX, "created at"),
        received,
        table.vector(applied, "applied"),
        tuple(OperationReader(table).transactions(written, received)),
        _pack_entries(packs, table),
        _inline_chunks(inline),
    )


def _packs(
    entries: Mapping[bytes, ChunkLocation], table: ActorTableWriter
) -> Iterator[tuple[WireValue, ...]]:
    """Yields for each pack its actor, its number, the digests, and three numbers for each chunk.

    These are the gap to the end of the chunk before, the stored size and the plain size.
    """
    in_order = sorted(entries.items(), key=lambda entry: (entry[1].pack, entry[1].offset, entry[0]))
    for name, group in groupby(in_order, key=lambda entry: entry[1].pack):
        actor, number = parse_pack_name(name)
        digests: list[bytes] = []
        numbers: list[int] = []
        end = 0
        for digest, location in group:
            digests.append(digest)
            numbers += (location.offset - end, location.stored_size_bytes, location.size_bytes)
            end = location.offset + location.stored_size_bytes
        yield (table.place(actor), number, b"".join(digests), tuple(numbers))


def _pack_entries(value: WireValue, table: ActorTable) -> dict[bytes, ChunkLocation]:
    entries: dict[bytes, ChunkLocation] = {}
    count = 0
    for pack in array(value, "packs"):
        place, number, digests, numbers = array(pack, "pack", 4)
        name = pack_name(
            table.actor(place), integer(number, 0, PACK_NUMBER_MAX, "number of a pack")
        )
        locations = _locations(name, byte_string(digests, "digests"), array(numbers, "locations"))
        for digest, location in locations:
            entries[digest] = location
            count += 1
    if len(entries) != count:
        raise MalformedContentsError("the location of a chunk is there twice")
    return entries


def _locations(
    name: str, digests: bytes, numbers: tuple[WireValue, ...]
) -> Iterator[tuple[bytes, ChunkLocation]]:
    if len(digests) * 3 != len(numbers) * DIGEST_SIZE_BYTES:
        raise MalformedContentsError(f"{len(digests)} bytes of digests, {len(numbers)} numbers")
    sizes = [
        integer(number, -PACK_SIZE_BYTES_MAX, PACK_SIZE_BYTES_MAX, "location") for number in numbers
    ]
    end = 0
    for index in range(0, len(sizes), 3):
        gap, stored_size_bytes, size_bytes = sizes[index : index + 3]
        start = index // 3 * DIGEST_SIZE_BYTES
        location = ChunkLocation(name, end + gap, stored_size_bytes, size_bytes)
        end = location.offset + stored_size_bytes
        yield digests[start : start + DIGEST_SIZE_BYTES], location


def _inline_chunks(value: WireValue) -> dict[bytes, bytes]:
    entries = pairs(value, "inline chunks")
    chunks = {
        byte_string(digest, "digest"): byte_string(chunk, "chunk") for digest, chunk in entries
    }
    if len(chunks) != len(entries):
        raise MalformedContentsError("an inline chunk is there twice")
    return chunks


def _check_digests(*digests: bytes) -> None:
    for digest in digests:
        if len(digest) != DIGEST_SIZE_BYTES:
            raise MalformedValueError(f"not a digest: {len(digest)} bytes")
