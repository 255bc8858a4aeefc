"""The history that is in the store: every version of every file, put together from its chunks.

It uses our reader of the store's format, and nothing that decides: no merge, no journal, no disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from conflict.content import Content, ContentKind
from conflict.operations import ROOT, NodeId, Operation, Place, Put
from tests.torture.evidence import CapturedVersion
from tests.torture.signed_content import described, digest_of, digest_of_link, is_ours
from transport.hashing import VolumeHasher
from transport.object_names import VOLUME_RECORD, SegmentName, recognise
from transport.object_store import ObjectStore
from transport.pack import ChunkLocation, read_chunk
from transport.segment import ExpectedSegment, Segment, decode_segment
from transport.volume_record import decode_volume_record

OBJECT_BYTES_MAX = 64 * 1024 * 1024


def read_history(store: ObjectStore, volume: str) -> tuple[CapturedVersion, ...]:
    """Returns all versions. Raises what the store and the format raise."""
    key = decode_volume_record(
        store.get(VOLUME_RECORD, size_bytes_max=OBJECT_BYTES_MAX), volume
    ).key
    hasher = VolumeHasher(key)
    segments = list(_segments(store, hasher, volume))
    operations = [o for s in segments for t in s.transactions for o in t.operations]
    paths = _Paths(operations)
    chunks = _Chunks(store, hasher, segments)
    return tuple(
        _version(operation, paths, chunks)
        for operation in operations
        if isinstance(operation, Put) and operation.content.kind is not ContentKind.FIFO
    )


def _segments(store: ObjectStore, hasher: VolumeHasher, volume: str) -> Iterator[Segment]:
    for name in sorted(store.list_names("log/")):
        found = recognise(name)
        if isinstance(found, SegmentName):
            body = store.get(name, size_bytes_max=OBJECT_BYTES_MAX)
            expected = ExpectedSegment(volume, found.actor, found.sequence)
            yield decode_segment(body, hasher, expected)


class _Paths:
    """Where a file was last placed; which one is last does not matter to the checker."""

    def __init__(self, operations: list[Operation]) -> None:
        self._last: dict[NodeId, Place] = {}
        for operation in operations:
            if isinstance(operation, Place):
                before = self._last.get(operation.node)
                if before is None or before.stamp < operation.stamp:
                    self._last[operation.node] = operation

    def of(self, node: NodeId) -> str:
        names: list[bytes] = []
        seen: set[NodeId] = set()
        while node != ROOT and node not in seen:
            seen.add(node)
            place = self._last[node]
            names.append(place.name)
            node = place.parent
        return os.fsdecode(b"/".join(reversed(names)))


class _Chunks:
    def __init__(self, store: ObjectStore, hasher: VolumeHasher, segments: list[Segment]) -> None:
        self._store = store
        self._hasher = hasher
        self._inline: dict[bytes, bytes] = {}
        self._packed: dict[bytes, ChunkLocation] = {}
        self._packs: dict[str, bytes] = {}
        for segment in segments:
            self._inline.update(segment.inline_chunks)
            self._packed.update(segment.pack_entries)

    def content(self, content: Content) -> bytes:
        return b"".join(self._chunk(chunk.digest) for chunk in content.chunks)

    def _chunk(self, digest: bytes) -> bytes:
        if digest in self._inline:
            return self._inline[digest]
        at = self._packed[digest]
        if at.pack not in self._packs:
            self._packs[at.pack] = self._store.get(at.pack, size_bytes_max=OBJECT_BYTES_MAX)
        stored = self._packs[at.pack][at.offset : at.offset + at.stored_size_bytes]
        return read_chunk(stored, at, digest, self._hasher)


def _version(put: Put, paths: _Paths, chunks: _Chunks) -> CapturedVersion:
    name = f"{put.dot.actor.hex()[:8]}-{put.dot.counter}"
    path = paths.of(put.node)
    if put.content.kind is ContentKind.SYMLINK:
        target = put.content.target
        return CapturedVersion(name, path, digest_of_link(target), False, os.fsdecode(target))
    body = chunks.content(put.content)
    return CapturedVersion(name, path, digest_of(body), is_ours(body), described(body))
