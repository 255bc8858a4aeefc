"""What was changed lately, by whom; and how much of a log, and what first, a site still lacks.

Read from the segments that the journal keeps, each once, as far back as is worth telling.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from conflict.node import Location
from conflict.operations import (
    ROOT,
    Delete,
    LinkId,
    NodeId,
    Operation,
    Place,
    Put,
    SetAttributes,
    Transaction,
)
from conflict.path_history import What
from conflict.version import ActorId
from geosync.engine.site import joined
from geosync.journal.journal import Journal
from geosync.journal.nodes import JournalNodes
from geosync.terminal import display_name
from transport.hashing import VolumeHasher
from transport.segment import ExpectedSegment, decode_segment
from transport.wire_errors import WireFormatError

CHANGES_SHOWN_MAX: Final = 30
NOTED_MAX: Final = 10_000  # changes of each actor
READ_BACK_BYTES: Final = 1024 * 1024  # of each log, at the first look
OUTBOX_BYTES: Final = 256 * 1024
DEPTH_MAX: Final = 1000

_RANK: Final = (What.CREATED, What.LINKED, What.RENAMED, What.WRITTEN, What.DELETED)
"""Which of the operations of one transaction on one node tells what happened."""


@dataclass(frozen=True, slots=True)
class RecentChange:
    """One change of one file or directory.

    Attributes:
        site: who made it; '' as long as nobody told the name.
        at_ms: when, by that site's clock.
        what: a word of `geosync log`.
        path: where it is now, or was last, as `display_name` writes it.
        size_bytes: of what was written; None where nothing was.
    """

    site: str
    at_ms: int
    what: str
    path: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What of a log is not somewhere.

    Attributes:
        size_bytes: of the contents that were written in it.
        oldest: the path of its first change; '' when that is not known any more.
    """

    size_bytes: int
    oldest: str


@dataclass(frozen=True, slots=True)
class _Noted:
    counter: int  # of its last operation
    at_ms: int
    what: What
    node: NodeId
    link: LinkId
    size_bytes: int | None


class RecentOperations:
    """Keeps the last changes of each log. Used by one thread."""

    def __init__(self, volume: str) -> None:
        """Knows nothing before the first look."""
        self._volume = volume
        self._noted: dict[ActorId, deque[_Noted]] = {}
        self._next: dict[ActorId, int] = {}  # sequence of the segment to read
        self._floor: dict[ActorId, int] = {}  # what is noted begins after this counter

    def look(self, journal: Journal) -> None:
        """Reads what came since the last look; what is damaged is left out."""
        hasher = VolumeHasher(journal.setting("volume_key") or b"")
        for log in journal.log.actors():
            for sequence, body in self._unread(journal, log.actor):
                transactions = journal.log.take_decoded(log.actor, sequence)
                if not transactions:
                    expected = ExpectedSegment(self._volume, log.actor, sequence)
                    with suppress(WireFormatError):  # `geosync verify` tells of it
                        transactions = decode_segment(body, hasher, expected).transactions
                self._note(log.actor, transactions)
        self._note_outbox(journal)

    def _unread(self, journal: Journal, actor: ActorId) -> list[tuple[int, bytes]]:
        """Returns the segments to read; of a log that is new to us, some of the last ones."""
        if actor not in self._next:
            self._next[actor] = _worth_reading(journal, actor)
        found = journal.log.segments_from(actor, self._next[actor])
        if found:
            self._next[actor] = found[-1][0] + 1
        return found

    def _note_outbox(self, journal: Journal) -> None:
        own = journal.setting("actor")
        if own is not None:
            self._note(ActorId(own), journal.log.outbox(OUTBOX_BYTES))

    def _note(self, actor: ActorId, transactions: Iterable[Transaction]) -> None:
        noted = self._noted.setdefault(actor, deque())
        last = noted[-1].counter if noted else 0
        for transaction in transactions:
            first_counter = transaction.operations[0].dot.counter
            if first_counter <= last:
                continue  # it was in the outbox when we looked last
            self._floor.setdefault(actor, first_counter - 1)
            noted.extend(_changes_of(transaction))
        while len(noted) > NOTED_MAX:
            self._floor[actor] = noted.popleft().counter

    def backlog(self, journal: Journal, actor: ActorId, after: int) -> Backlog | None:
        """Returns what a site lacks that has a log up to a counter; None: it is too long ago."""
        if after < self._floor.get(actor, 0):
            return None
        newest_first = reversed(self._noted.get(actor, deque()))
        lacked = list(takewhile(lambda each: each.counter > after, newest_first))
        size_bytes = sum(each.size_bytes or 0 for each in lacked)
        return Backlog(size_bytes, _path(journal.nodes, lacked[-1]) or "" if lacked else "")

    def changes(self, journal: Journal) -> tuple[RecentChange, ...]:
        """Returns the last changes of all sites, the newest first, by the sites' clocks."""
        sites = {log.actor: log.site for log in journal.log.actors()}
        newest = [
            (each.at_ms, each.counter, actor, each)
            for actor, noted in self._noted.items()
            for each in list(noted)[-CHANGES_SHOWN_MAX:]
        ]
        newest.sort(key=lambda item: item[:3], reverse=True)
        return tuple(
            RecentChange(sites.get(actor, ""), at_ms, each.what.value, path, each.size_bytes)
            for at_ms, _, actor, each in newest[:CHANGES_SHOWN_MAX]
            if (path := _path(journal.nodes, each)) is not None
        )


def _worth_reading(journal: Journal, actor: ActorId) -> int:
    """Returns the first sequence that is read of a log that is new to us."""
    first, size_bytes = 0, 0
    for sequence, _ in reversed(journal.log.sequences(actor)):
        first = sequence
        size_bytes += len(journal.log.segment(actor, sequence) or b"")
        if size_bytes >= READ_BACK_BYTES:
            break
    return first


def _changes_of(transaction: Transaction) -> list[_Noted]:
    """Returns one change for each node, in the order of the transaction."""
    found: dict[NodeId, _Noted] = {}
    for operation in transaction.operations:
        told = _told(operation)
        if told is None:
            continue
        before = found.pop(told.node, None)
        if before is not None:
            size_bytes = told.size_bytes if told.size_bytes is not None else before.size_bytes
            first = min((before, told), key=lambda each: _rank(each.what))
            told = _Noted(told.counter, told.at_ms, first.what, told.node, first.link, size_bytes)
        found[told.node] = told
    return sorted(found.values(), key=lambda each: each.counter)


def _rank(what: What) -> int:
    return _RANK.index(what) if what in _RANK else len(_RANK)


def _told(operation: Operation) -> _Noted | None:
    """Returns what an operation does to a file or directory; None: nothing that is shown."""
    size_bytes: int | None = None
    match operation:
        case Place(link=link):
            what = What.CREATED if operation.creates_link else What.RENAMED
        case Put(via=link):
            what, size_bytes = What.WRITTEN, operation.content.size_bytes
        case Delete(link=link):
            what = What.DELETED
        case SetAttributes():
            what, link = What.ATTRIBUTES, LinkId(operation.node)
        case _:
            return None
    at_ms = operation.stamp.time_ms
    return _Noted(operation.dot.counter, at_ms, what, operation.node, link, size_bytes)


def _path(nodes: JournalNodes, change: _Noted) -> str | None:
    """Returns where the name is now, or was last; None when the tree knows nothing of it."""
    names: list[bytes] = []
    location = _location(nodes, change.node, change.link)
    while location is not None and len(names) < DEPTH_MAX:
        names.append(location.name)
        if location.parent == ROOT:
            return display_name(joined(tuple(reversed(names))))
        location = _location(nodes, location.parent, LinkId(location.parent))
    return None


def _location(nodes: JournalNodes, node: NodeId, link: LinkId) -> Location | None:
    state = nodes.node(node)
    if state is None:
        return None
    if state.is_directory:
        return state.location
    found = state.links.get(link) or next(iter(state.links.values()), None)
    return None if found is None else found.location
