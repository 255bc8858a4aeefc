"""Compares the store with what the journal says is there: our log, and the chunks that are used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Final

from conflict.errors import GeosyncError
from conflict.operations import NodeId
from conflict.version import ActorId
from geosync.clock import Clock
from geosync.engine.site import Pool
from geosync.engine.truncating import CUT_SEQUENCE
from geosync.journal.journal import Journal
from geosync.terminal import human_size
from geosync.verification.finding import Checked, Finding, Kind, Level
from geosync.verification.referenced import referenced_chunks, shown_files
from geosync.verification.rest import Rest
from transport.errors import CorruptObject, ObjectNotVisible, StoreRefused, StoreUnavailable
from transport.hashing import VolumeHasher
from transport.object_names import segment_name
from transport.object_store import ObjectStore
from transport.pack import PACK_SIZE_BYTES_MAX, ChunkLocation, read_chunk
from transport.segment import SEGMENT_OBJECT_SIZE_BYTES_MAX, ExpectedSegment, decode_segment
from transport.wire_errors import WireFormatError

ASKED_TIMES: Final = 3
ASK_AGAIN_S: Final = 2.0
"""An object that is not visible may be so only here and now: that is asked several times."""

REPAIR: Final = (
    "geosync verify --repair: what this site still has is stored again under another name, and"
    " the rest is asked of the other sites"
)


@dataclass(frozen=True, slots=True)
class Volume:
    """What is verified: a volume, by the journal of one of its sites."""

    name: str
    actor: ActorId
    hasher: VolumeHasher


@dataclass(slots=True)
class _PackResult:
    """What became of one pack."""

    lost: dict[bytes, str] = field(default_factory=dict)  # digest -> why
    is_missing: bool = False
    unknown: str = ""


class StoreCheck:
    """Asks the store for what should be in it; changes nothing."""

    def __init__(
        self, volume: Volume, journal: Journal, store: ObjectStore, clock: Clock, rest: Rest
    ) -> None:
        self._volume = volume
        self._journal = journal
        self._store = store
        self._clock = clock
        self._rest = rest
        self.checked = Checked()

    # Our own log

    def log_findings(self) -> Iterator[Finding]:
        """Yields what is wrong with our own log, here and in the store."""
        actor = self._volume.actor
        log = self._journal.log.actor(actor)
        if log is None:
            return
        chain: bytes | None = None
        for sequence, is_stored in self._journal.log.sequences(actor):
            body = self._journal.log.segment(actor, sequence)
            if body is None:
                continue  # it was removed since: a checkpoint has it
            name = segment_name(actor, sequence)
            self.checked.segments += 1
            try:
                segment = decode_segment(
                    body, self._volume.hasher, ExpectedSegment(self._volume.name, actor, sequence)
                )
            except WireFormatError as error:
                yield _broken(name, str(error))
                return
            if chain is not None and segment.previous_digest != chain:
                yield _broken(name, "it does not follow the one before it")
                return
            chain = self._volume.hasher.chain_digest(body)
            if is_stored and sequence >= self._journal.integer_setting(CUT_SEQUENCE):
                yield from self._compare_segment(name, sequence, body)
            self._rest.take()

    def _compare_segment(self, name: str, sequence: int, body: bytes) -> Iterator[Finding]:
        try:
            found = self._visible(name, SEGMENT_OBJECT_SIZE_BYTES_MAX)
        except (StoreUnavailable, StoreRefused) as error:
            yield _unavailable(name, error)
            return
        except CorruptObject as error:
            yield _damaged_segment(name, sequence, str(error))
            return
        if found is None and sequence < self._journal.integer_setting(CUT_SEQUENCE):
            return  # a checkpoint has it, and it was removed just now
        if found is None:
            yield Finding(
                Kind.SEGMENT_MISSING,
                Level.DAMAGE,
                name,
                f"a segment of this site's log ({human_size(len(body))}) is not in the store,"
                " though it was stored: sites that have not read it yet wait there"
                f" (asked {ASKED_TIMES} times)",
                "geosync verify --repair: it is stored again, byte for byte, from the journal",
                segment=sequence,
            )
        elif found != body:
            yield self._other_segment(name, sequence, found)

    def _other_segment(self, name: str, sequence: int, found: bytes) -> Finding:
        expected = ExpectedSegment(self._volume.name, self._volume.actor, sequence)
        try:
            decode_segment(found, self._volume.hasher, expected)
        except WireFormatError as error:
            return _damaged_segment(name, sequence, str(error))
        return Finding(
            Kind.SEGMENT_FOREIGN,
            Level.DAMAGE,
            name,
            "another daemon has written this segment of our log: this machine was cloned or"
            " restored",
            "restart the daemon: it notices, and joins the volume anew with all that it has",
        )

    def _visible(self, name: str, size_bytes_max: int) -> bytes | None:
        """Returns an object, None when it is not visible whenever it is asked for."""
        for attempt in range(ASKED_TIMES):
            try:
                return self._store.get(name, size_bytes_max=size_bytes_max)
            except ObjectNotVisible:
                if attempt < ASKED_TIMES - 1:
                    self._clock.wait(Event(), ASK_AGAIN_S)
        return None

    # The chunks

    def content_findings(self, pool: Pool, *, is_deep: bool) -> Iterator[Finding]:
        """Yields the contents of the volume that the store does not hold.

        Args:
            pool: asks for several packs at the same time.
            is_deep: whether each chunk is read and proven, not only asked for.
        """
        needed = referenced_chunks(self._journal)
        places = self._places(needed)
        yield from self._unknown(needed, places)
        by_pack: dict[str, dict[bytes, ChunkLocation]] = defaultdict(dict)
        for digest, locations in places.items():
            for location in locations:
                by_pack[location.pack][digest] = location
        self.checked.chunks, self.checked.packs = len(needed), len(by_pack)
        check = self._read_pack if is_deep else self._ask_for_pack
        names = sorted(by_pack)
        results = dict(
            zip(names, pool.map(lambda name: check(name, by_pack[name]), names), strict=True)
        )
        for name, result in results.items():
            yield from self._pack_findings(name, result, results, places, needed)

    def _places(self, needed: Collection[bytes]) -> dict[bytes, list[ChunkLocation]]:
        """Returns the places of all chunks that are not in the journal itself, or in the spool."""
        waiting = set(self._journal.chunks.packs_to_store())
        places: dict[bytes, list[ChunkLocation]] = {}
        for digest in needed:
            if self._journal.chunks.inline_chunk(digest) is None:
                known = self._journal.chunks.locations(digest)
                if waiting.isdisjoint(at.pack for at in known):
                    places[digest] = known
        return places

    def _unknown(
        self, needed: Mapping[bytes, NodeId], places: Mapping[bytes, list[ChunkLocation]]
    ) -> Iterator[Finding]:
        lost = {digest: needed[digest] for digest, known in places.items() if not known}
        if lost:
            yield Finding(
                Kind.CONTENT_UNKNOWN,
                Level.DAMAGE,
                shown_files(self._journal, lost),
                f"nobody has told in which pack {_counted(len(lost))} of it",
                REPAIR,
                lost=dict.fromkeys(lost, frozenset()),
            )

    def _ask_for_pack(self, name: str, chunks: Mapping[bytes, ChunkLocation]) -> _PackResult:
        """Asks for the last byte that is needed of a pack."""
        end = max(at.offset + at.stored_size_bytes for at in chunks.values())
        result = _PackResult()
        for attempt in range(ASKED_TIMES):
            try:
                self._store.get_range(name, end - 1, 1)
            except ObjectNotVisible as error:
                result.is_missing = True
                result.lost = dict.fromkeys(chunks, str(error))
                if attempt < ASKED_TIMES - 1:
                    self._clock.wait(Event(), ASK_AGAIN_S)
                continue
            except CorruptObject:
                return self._read_chunks(name, chunks)
            except (StoreUnavailable, StoreRefused) as error:
                return _PackResult(unknown=str(error))
            return _PackResult()
        return result

    def _read_pack(self, name: str, chunks: Mapping[bytes, ChunkLocation]) -> _PackResult:
        try:
            body = self._visible(name, PACK_SIZE_BYTES_MAX)
        except CorruptObject:
            return self._read_chunks(name, chunks)
        except (StoreUnavailable, StoreRefused) as error:
            return _PackResult(unknown=str(error))
        if body is None:
            return _PackResult(dict.fromkeys(chunks, "it is not there"), is_missing=True)
        result = _PackResult()
        for digest, at in chunks.items():
            piece = body[at.offset : at.offset + at.stored_size_bytes]
            try:
                read_chunk(piece, at, digest, self._volume.hasher)
            except CorruptObject as error:
                result.lost[digest] = str(error)
        return result

    def _read_chunks(self, name: str, chunks: Mapping[bytes, ChunkLocation]) -> _PackResult:
        """Looks which chunks of a damaged pack are sound."""
        result = _PackResult()
        for digest, at in chunks.items():
            try:
                piece = self._store.get_range(name, at.offset, at.stored_size_bytes)
                read_chunk(piece, at, digest, self._volume.hasher)
            except (CorruptObject, ObjectNotVisible) as error:
                result.lost[digest] = str(error)
            except (StoreUnavailable, StoreRefused) as error:
                result.unknown = str(error)
        return result

    def _pack_findings(
        self,
        name: str,
        result: _PackResult,
        results: Mapping[str, _PackResult],
        places: Mapping[bytes, list[ChunkLocation]],
        needed: Mapping[bytes, NodeId],
    ) -> Iterator[Finding]:
        if result.unknown:
            yield _unavailable(name, result.unknown)
        if not result.lost:
            return
        packs = {digest: [at.pack for at in places[digest]] for digest in result.lost}
        lost = {
            digest: needed[digest]
            for digest, names in packs.items()
            if all(digest in results[each].lost or results[each].unknown for each in names)
            # A collection may have moved it meanwhile.
            and names == [at.pack for at in self._journal.chunks.locations(digest)]
        }
        kind = Kind.PACK_MISSING if result.is_missing else Kind.PACK_DAMAGED
        found = "is not in the store" if result.is_missing else "is damaged in the store"
        if not lost:
            text = f"it {found}; all that is needed of it is in other packs, too"
            yield Finding(kind, Level.NOTE, name, text)
            return
        reason = next(iter(result.lost.values()))
        yield Finding(
            kind,
            Level.DAMAGE,
            name,
            f"it {found}, with {_counted(len(lost))} of {shown_files(self._journal, lost)}:"
            f" {reason}",
            REPAIR,
            lost={digest: frozenset(packs[digest]) for digest in lost},
        )


def _counted(count: int) -> str:
    return "1 chunk" if count == 1 else f"{count} chunks"


def _broken(name: str, reason: str) -> Finding:
    return Finding(
        Kind.LOG_BROKEN,
        Level.DAMAGE,
        name,
        f"the journal's copy of this site's own log is damaged: {reason}",
        "stop the daemon, move the journal away (keep it) and start again: the site joins anew",
    )


def _damaged_segment(name: str, sequence: int, reason: str) -> Finding:
    return Finding(
        Kind.SEGMENT_DAMAGED,
        Level.DAMAGE,
        name,
        f"a segment of this site's log is damaged in the store: {reason}",
        "geosync verify --repair: the damaged object is removed, and stored again from the journal",
        segment=sequence,
    )


def _unavailable(name: str, error: GeosyncError | str) -> Finding:
    text = f"it could not be checked: {error}"
    return Finding(
        Kind.STORE_UNAVAILABLE, Level.UNKNOWN, name, text, "verify again once the store answers"
    )
