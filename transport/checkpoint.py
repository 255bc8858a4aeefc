"""Checkpoints: all that a new site needs in place of the log, in parts of bounded size.

The parts are stored first, then the manifest, which names each of them by its digest. The parts
hold nothing about who wrote them, so that equal states make equal parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from conflict.checkpoint import NOBODY
from conflict.content import DIGEST_SIZE_BYTES
from conflict.errors import MalformedValueError
from conflict.version import ActorId, VersionVector
from transport.actor_table import ActorTable, ActorTableWriter
from transport.checkpoint_records import (
    InlineChunk,
    Record,
    RecordReader,
    RecordWriter,
    Section,
    section_of,
)
from transport.frame import FrameFormat, seal, unseal
from transport.hashing import VolumeHasher
from transport.msgpack_codec import array, ascii_text, byte_string, decode, encode, integer
from transport.object_names import (
    CHECKPOINT_NUMBER_MAX,
    SEQUENCE_MAX,
    check_label,
    checkpoint_manifest_name,
    checkpoint_part_name,
)
from transport.segment import NO_SEGMENT
from transport.volume_record import TIME_MS_MAX
from transport.wire_errors import (
    DamagedObjectError,
    MalformedContentsError,
    MisplacedObjectError,
    Reading,
    WrongVolumeError,
)

CHECKPOINT_FORMAT_VERSION: Final = 1
CHECKPOINT_PART_SIZE_BYTES_TARGET: Final = 4 * 1024 * 1024
CHECKPOINT_PART_SIZE_BYTES_MAX: Final = 128 * 1024 * 1024
CHECKPOINT_MANIFEST_SIZE_BYTES_MAX: Final = 16 * 1024 * 1024
CHECKPOINT_PARTS_MAX: Final = 2**17

_PART: Final = FrameFormat(
    "part of a checkpoint", b"GCKP", CHECKPOINT_FORMAT_VERSION, CHECKPOINT_PART_SIZE_BYTES_MAX
)
_MANIFEST: Final = FrameFormat(
    "manifest of a checkpoint",
    b"GCKM",
    CHECKPOINT_FORMAT_VERSION,
    CHECKPOINT_MANIFEST_SIZE_BYTES_MAX,
)
CHECKPOINT_PART_OBJECT_SIZE_BYTES_MAX: Final = _PART.sealed_size_bytes_max
CHECKPOINT_MANIFEST_OBJECT_SIZE_BYTES_MAX: Final = _MANIFEST.sealed_size_bytes_max


@dataclass(frozen=True, slots=True)
class CheckpointedLog:
    """How far a checkpoint stands for one actor's log.

    Raises:
        MalformedValueError: the parts contradict each other.
    """

    actor: ActorId
    site: str  # '' until its log told it
    next_sequence: int  # of the first segment that must still be read
    chain_digest: bytes  # of the segment before that
    received: int  # counter of the last operation
    knows: VersionVector  # what the actor had received, as it last told
    applied: VersionVector  # what was on its disk, as it last told
    segment_at_ms: int  # by the actor's clock

    def __post_init__(self) -> None:
        if self.site:
            check_label(self.site, "a site")
        is_first = self.next_sequence == 0
        if len(self.chain_digest) != DIGEST_SIZE_BYTES or is_first != (
            self.chain_digest == NO_SEGMENT
        ):
            raise MalformedValueError(f"a checkpoint of a log up to segment {self.next_sequence}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint is of, and what it is made of."""

    volume: str
    site: str  # of the writer
    actor: ActorId  # the writer
    number: int  # of the writer's checkpoints, from 0; some may be missing
    created_at_ms: int  # by the writer's clock
    logs: tuple[CheckpointedLog, ...]  # sorted by actor
    tree_digest: bytes  # of all nodes and moves: equal for equal trees, whoever writes
    parts: tuple[bytes, ...]  # digest of each part as stored

    @property
    def received(self) -> VersionVector:
        """The operations that the checkpoint stands for."""
        return VersionVector({log.actor: log.received for log in self.logs if log.received})

    def log(self, actor: ActorId) -> CheckpointedLog | None:
        """Returns how far one actor's log is covered."""
        return next((log for log in self.logs if log.actor == actor), None)


class PartsWriter:
    """Cuts records, in the order of their sections, into parts."""

    def __init__(self, hasher: VolumeHasher, size_bytes_target: int) -> None:
        self._hasher = hasher
        self._size_bytes_target = size_bytes_target
        self._tree_digest = bytes(DIGEST_SIZE_BYTES)

    @property
    def tree_digest(self) -> bytes:
        """The digest of all nodes and moves so far."""
        return self._tree_digest

    def parts(self, records: Iterable[Record]) -> Iterator[bytes]:
        """Yields the parts as they are to be stored.

        Raises:
            OversizeObjectError: one record alone is too large.
        """
        writer = RecordWriter()
        section = Section.NODES
        packed: list[bytes] = []
        size_bytes = 0
        for record in records:
            is_next = section_of(record) is not section or size_bytes >= self._size_bytes_target
            if packed and is_next:
                yield self._sealed(section, writer, packed)
                writer, packed, size_bytes = RecordWriter(), [], 0
            section = section_of(record)
            packed.append(encode(writer.fields(record)))
            size_bytes += len(packed[-1])
        if packed:
            yield self._sealed(section, writer, packed)

    def _sealed(self, section: Section, writer: RecordWriter, packed: Sequence[bytes]) -> bytes:
        body = encode((section.value, writer.table.packed(), tuple(packed)))
        if section in (Section.NODES, Section.MOVES):
            self._tree_digest = self._hasher.chain_digest(self._tree_digest + body)
        return seal(_PART, body, self._hasher.authenticator)


def decode_part(
    stored: bytes, hasher: VolumeHasher, manifest: Manifest, index: int
) -> tuple[Record, ...]:
    """Returns the records of a part, once it proved to be the one that the manifest names.

    Raises:
        WireFormatError: of the class that fits.
    """
    return tuple(records_of_part(stored, hasher, manifest, index))


def records_of_part(
    stored: bytes, hasher: VolumeHasher, manifest: Manifest, index: int
) -> Iterator[Record]:
    """As `decode_part`, for whoever does not want all of the work at once.

    The part is proved before the first record; one that can't be read raises when its turn comes.
    """
    name = checkpoint_part_name(manifest.actor, manifest.number, index)
    body = unseal(_PART, stored, name, hasher.authenticator)
    if hasher.chain_digest(stored) != manifest.parts[index]:
        raise DamagedObjectError(
            f"{name}: it is intact, but not the part that the manifest names: an object was copied"
            " or replaced in the store; another checkpoint, or the log, is used in its place"
        )
    with Reading(name):
        fields = array(decode(body, CHECKPOINT_PART_SIZE_BYTES_MAX), "part", 3)
        section = Section(integer(fields[0], 0, max(Section), "section"))
        reader = RecordReader(ActorTable(fields[1]))
        for each in array(fields[2], "records"):
            value = decode(byte_string(each, "record"), CHECKPOINT_PART_SIZE_BYTES_MAX)
            record = reader.record(section, value)
            if isinstance(record, InlineChunk):
                _check_chunk(record, hasher)
            yield record


def _check_chunk(record: InlineChunk, hasher: VolumeHasher) -> None:
    if hasher.chunk_digest(record.chunk) != record.digest:
        raise MalformedContentsError(f"the inline chunk {record.digest.hex()} has another digest")


def encode_manifest(manifest: Manifest, hasher: VolumeHasher) -> bytes:
    """Returns the object to store as `checkpoint_manifest_name(actor, number)`."""
    table = ActorTableWriter(manifest.actor)
    logs = tuple(
        (
            table.place(log.actor),
            log.site.encode("ascii"),
            log.next_sequence,
            log.chain_digest,
            log.received,
            table.vector(log.knows),
            table.vector(log.applied),
            log.segment_at_ms,
        )
        for log in manifest.logs
    )
    body = encode(
        (
            manifest.volume.encode("ascii"),
            manifest.site.encode("ascii"),
            table.packed(),
            manifest.number,
            manifest.created_at_ms,
            logs,
            manifest.tree_digest,
            b"".join(manifest.parts),
        )
    )
    return seal(_MANIFEST, body, hasher.authenticator)


def decode_manifest(
    stored: bytes, hasher: VolumeHasher, volume: str, actor: ActorId, number: int
) -> Manifest:
    """Returns the manifest of the checkpoint with this name.

    Raises:
        WireFormatError: of the class that fits.
    """
    name = checkpoint_manifest_name(actor, number)
    body = unseal(_MANIFEST, stored, name, hasher.authenticator)
    with Reading(name):
        manifest = _manifest(body)
        if manifest.volume != volume:
            raise WrongVolumeError(
                f"the checkpoint belongs to the volume {manifest.volume!r}, not {volume!r}:"
                " check the containers in the configuration"
            )
        if (manifest.actor, manifest.number) != (actor, number):
            found = checkpoint_manifest_name(manifest.actor, manifest.number)
            raise MisplacedObjectError(
                f"it says that it is {found}: an object was copied or renamed in the store"
            )
    return manifest


def _manifest(body: bytes) -> Manifest:
    volume, site, actors, number, created_at_ms, logs, tree_digest, parts = array(
        decode(body, CHECKPOINT_MANIFEST_SIZE_BYTES_MAX), "manifest", 8
    )
    table = ActorTable(actors)
    found = []
    for each in array(logs, "logs"):
        at, of_site, sequence, chain, received, knows, applied, at_ms = array(each, "log", 8)
        found.append(
            CheckpointedLog(
                table.actor(at),
                ascii_text(of_site, "site"),
                integer(sequence, 0, SEQUENCE_MAX, "sequence"),
                byte_string(chain, "chain digest"),
                integer(received, 0, SEQUENCE_MAX, "received"),
                table.vector(knows, "knows"),
                table.vector(applied, "applied"),
                integer(at_ms, 0, TIME_MS_MAX, "written at"),
            )
        )
    if [log.actor for log in found] != sorted({log.actor for log in found}):
        raise MalformedContentsError("the logs are not in order, or one is there twice")
    joined = byte_string(parts, "parts")
    count, rest = divmod(len(joined), DIGEST_SIZE_BYTES)
    if rest or count > CHECKPOINT_PARTS_MAX:
        raise MalformedContentsError(f"{len(joined)} bytes of digests of parts")
    digest = byte_string(tree_digest, "digest of the tree")
    if len(digest) != DIGEST_SIZE_BYTES or table.author == NOBODY:
        raise MalformedContentsError("the checkpoint names no writer, or no tree")
    label = ascii_text(site, "site")
    check_label(label, "a site")
    starts = range(0, len(joined), DIGEST_SIZE_BYTES)
    return Manifest(
        ascii_text(volume, "volume"),
        label,
        table.author,
        integer(number, 0, CHECKPOINT_NUMBER_MAX, "number"),
        integer(created_at_ms, 0, TIME_MS_MAX, "created at"),
        tuple(found),
        digest,
        tuple(joined[start : start + DIGEST_SIZE_BYTES] for start in starts),
    )
