"""Reuse: which chunks that are in the store already a new operation may refer to."""

from __future__ import annotations

from conflict.collection import Told, Verdicts
from conflict.operations import Topic
from conflict.version import ActorId, Dot
from geosync.engine.retiring import membership
from geosync.engine.site import Site
from geosync.journal.journal import Journal
from transport.collection_record import decode_verdict
from transport.object_names import parse_pack_name


def verdicts(journal: Journal) -> Verdicts:
    """Returns what was said of packs, as far as this site has received it."""
    return Verdicts(
        Told(each.operation.dot, decode_verdict(each.operation.body))
        for each in journal.declarations.of_topic(Topic.COLLECTION)
    )


class Reuse:
    """Tells which packs may be referred to, as of one moment.

    Not one that is condemned; and of another actor only if its owner knows of us, since it asks
    nobody else before it deletes a pack. What a new actor captures until then it stores itself.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._forbidden = verdicts(site.journal).forbidden
        self._membership = membership(site.journal)
        self._first = Dot(site.actor, 1)
        self._is_waited_for: dict[ActorId, bool] = {site.actor: True}

    def is_kept(self, digest: bytes) -> bool:
        """Tells whether a chunk is kept where a new operation may refer to it."""
        chunks = self._site.journal.chunks
        if chunks.inline_chunk(digest) is not None:
            return True
        return any(self._is_usable(location.pack) for location in chunks.locations(digest))

    def _is_usable(self, pack: str) -> bool:
        if pack in self._forbidden:
            return False
        actor = parse_pack_name(pack).actor
        if actor not in self._is_waited_for:
            owner = self._membership.owner_of(actor)
            log = self._site.journal.log.actor(owner)
            is_known = owner == self._site.actor or (
                log is not None and log.knows.includes(self._first)
            )
            self._is_waited_for[actor] = is_known
        return self._is_waited_for[actor]
