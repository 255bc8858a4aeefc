"""Kept versions: finds the operation that wrote one in the segments that the journal keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conflict.operations import Operation, Put
from conflict.version import ActorId, Dot
from geosync.journal.journal import Journal
from transport.hashing import VolumeHasher
from transport.segment import ExpectedSegment, decode_segment

_EVERYTHING_BYTES = 2**62
_Counters = Mapping[int, Operation]  # by counter of the operation


class KeptVersions:
    """Reads no more segments than it must: those of one actor are in the order of its operations.

    For one search; it remembers what it read.

    Raises:
        WireFormatError: from its methods, a segment in the journal is damaged.
    """

    def __init__(self, journal: Journal, volume: str, hasher: VolumeHasher) -> None:
        self._journal = journal
        self._volume = volume
        self._hasher = hasher
        self._read: dict[tuple[ActorId, int], _Counters] = {}
        self._sequences: dict[ActorId, Sequence[int]] = {}
        self._unsent: dict[Dot, Operation] | None = None

    def put(self, dot: Dot) -> Put | None:
        """Returns the operation that wrote a version; None when it is not kept any more."""
        found = self._in_segments(dot) or self._in_outbox(dot)
        return found if isinstance(found, Put) else None

    def _in_segments(self, dot: Dot) -> Operation | None:
        """Halves the segments of the actor; those without operations tell nothing."""
        sequences = self._sequences_of(dot.actor)
        low, high = 0, len(sequences)
        while low < high:
            middle = (low + high) // 2
            at = middle
            while at < high and not (counters := self._counters(dot.actor, sequences[at])):
                at += 1
            if at == high or dot.counter < min(counters):
                high = middle
            elif dot.counter > max(counters):
                low = at + 1
            else:
                return counters.get(dot.counter)
        return None

    def _sequences_of(self, actor: ActorId) -> Sequence[int]:
        if actor not in self._sequences:
            found = self._journal.log.sequences(actor)
            self._sequences[actor] = [sequence for sequence, _ in found]
        return self._sequences[actor]

    def _counters(self, actor: ActorId, sequence: int) -> _Counters:
        key = (actor, sequence)
        if key not in self._read:
            body = self._journal.log.segment(actor, sequence)
            assert body is not None, "it was listed a moment ago, by the only thread that removes"
            expected = ExpectedSegment(self._volume, actor, sequence)
            segment = decode_segment(body, self._hasher, expected)
            self._read[key] = {
                each.dot.counter: each for one in segment.transactions for each in one
            }
        return self._read[key]

    def _in_outbox(self, dot: Dot) -> Operation | None:
        if self._unsent is None:
            transactions = self._journal.log.outbox(_EVERYTHING_BYTES)
            self._unsent = {each.dot: each for one in transactions for each in one}
        return self._unsent.get(dot)
