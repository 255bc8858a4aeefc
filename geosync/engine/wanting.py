"""Wanting: asks the other sites for chunks that the store has lost, and answers such wants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from conflict.operations import Topic
from conflict.supply import Want, is_answered, turn_of
from conflict.version import Dot
from geosync.engine.authoring import declare
from geosync.engine.retry_pace import RetryPace
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from geosync.engine.supplying import supply
from geosync.event_log import event_logger
from transport.supply_record import (
    WANTED_CHUNKS_MAX,
    WANTED_PACKS_MAX,
    decode_supply,
    encode_supply,
)
from transport.wire_errors import WireFormatError

ANSWER_AFTER_S: Final = 5.0
"""A want may have been answered by what is only just being received."""

TURN_S: Final = 60.0  # so much later answers each site that comes after another one
TURNS_MAX: Final = 8
SEARCH_AGAIN_S: Final = 120.0
SEARCH_AGAIN_S_MAX: Final = 3600.0  # somebody may put a file back
_PROBLEM: Final = b"contents that are lost"
_log = event_logger(__name__)


class Wants:
    """The wants of all sites, as far as no place is known that would answer them."""

    def __init__(self, site: Site, spool: Spool) -> None:
        self._site = site
        self._spool = spool
        self._open: dict[Dot, Want] = {}
        self._due_s: dict[Dot, float] = {}
        self._paces: dict[Dot, RetryPace] = {}

    def refresh(self) -> None:
        """Reads the declarations; one that is answered is forgotten."""
        journal = self._site.journal
        self._open.clear()
        answered: list[Dot] = []
        for declaration in journal.declarations.of_topic(Topic.SUPPLY):
            operation = declaration.operation
            try:
                statement = decode_supply(operation.body)
            except WireFormatError as error:
                self._site.report(_PROBLEM + b", " + operation.dot.actor.hex().encode(), str(error))
                continue
            missing: Mapping[bytes, frozenset[str]] = {}
            if isinstance(statement, Want):
                missing = self._unanswered(statement.chunks)
                self._forget_answered(statement.chunks, missing)
            if missing:
                self._open[operation.dot] = Want(missing)
            else:
                answered.append(operation.dot)
        if answered:
            with journal.transaction():
                journal.declarations.forget(answered)
        self._note_open()

    def want(self, chunks: Mapping[bytes, frozenset[str]]) -> bool:
        """Asks for chunks that are not in the packs that were tried, unless somebody has.

        Returns whether anything was asked for.
        """
        new = {
            digest: packs for digest, packs in chunks.items() if not self._is_asked(digest, packs)
        }
        for part in _parts(new):
            declare(self._site, Topic.SUPPLY, encode_supply(Want(part)))
            _log.warning("wanted", chunks=len(part))
        if new:
            self.refresh()
        return bool(new)

    def answer(self) -> set[bytes]:
        """Supplies what is wanted and is here, when it is our turn; returns the chunks.

        Raises:
            OSError: the spool can't be written.
        """
        now_s = self._site.clock.monotonic_s()
        due = [dot for dot in sorted(self._open) if self._is_due(dot, now_s)]
        if not due:
            return set()
        supplied = supply(
            self._site, self._spool, {d for dot in due for d in self._open[dot].chunks}
        )
        for dot in due:
            pace = self._paces.setdefault(
                dot, RetryPace(first_s=SEARCH_AGAIN_S, longest_s=SEARCH_AGAIN_S_MAX)
            )
            if supplied.isdisjoint(self._open[dot].chunks):
                pace.note_failure(now_s)
        if supplied:
            self.refresh()
        return supplied

    def unanswered(self) -> set[bytes]:
        """Returns the chunks that are still waited for, by whichever site."""
        return {digest for want in self._open.values() for digest in want.chunks}

    def _is_asked(self, digest: bytes, packs: frozenset[str]) -> bool:
        asked = (want.chunks.get(digest) for want in self._open.values())
        return any(tried is not None and tried >= packs for tried in asked)

    def _is_due(self, dot: Dot, now_s: float) -> bool:
        pace = self._paces.get(dot)
        return now_s >= self._due_s[dot] and (pace is None or pace.is_due(now_s))

    def _unanswered(self, chunks: Mapping[bytes, frozenset[str]]) -> dict[bytes, frozenset[str]]:
        return {
            digest: tried
            for digest, tried in chunks.items()
            if not is_answered(tried, self._packs(digest))
        }

    def _forget_answered(
        self, wanted: Mapping[bytes, frozenset[str]], missing: Mapping[bytes, frozenset[str]]
    ) -> None:
        """Forgets the places that were tried in vain where another one is known.

        A collection would otherwise take one of them for the copy to keep, and remove the other.
        """
        chunks = self._site.journal.chunks
        tried = {
            (digest, pack)
            for digest in wanted.keys() - missing.keys()
            for pack in wanted[digest] & self._packs(digest)
        }
        if tried:
            with self._site.journal.transaction():
                chunks.forget_places(tried)

    def _packs(self, digest: bytes) -> frozenset[str]:
        return frozenset(each.pack for each in self._site.journal.chunks.locations(digest))

    def _note_open(self) -> None:
        now_s = self._site.clock.monotonic_s()
        actors = [log.actor for log in self._site.journal.log.actors()]
        for dot in self._open.keys() - self._due_s.keys():
            turn = min(turn_of(dot, self._site.actor, actors), TURNS_MAX)
            self._due_s[dot] = now_s + ANSWER_AFTER_S + turn * TURN_S
        for dot in self._due_s.keys() - self._open.keys():
            del self._due_s[dot]
            self._paces.pop(dot, None)
        count = len(self.unanswered())
        text = (
            f"{count} chunks of contents are not in the store, and a site has asked the others for"
            " them. It is answered by itself once a site that has them is running; to see which"
            " files are concerned: geosync verify. If no site has them, restore the file from a"
            " backup, on any site, or delete it."
        )
        self._site.report(_PROBLEM, text if count else None)


def _parts(chunks: Mapping[bytes, frozenset[str]]) -> Iterable[dict[bytes, frozenset[str]]]:
    """Cuts a want into pieces that a declaration can hold."""
    part: dict[bytes, frozenset[str]] = {}
    packs = 0
    for digest, tried in chunks.items():
        if len(part) >= WANTED_CHUNKS_MAX or packs + len(tried) > WANTED_PACKS_MAX:
            yield part
            part, packs = {}, 0
        part[digest] = tried
        packs += len(tried)
    if part:
        yield part
