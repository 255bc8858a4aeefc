"""Authoring: begins a transaction of this site's, and keeps what was written of it."""

from __future__ import annotations

from dataclasses import replace

from conflict.author import Author
from conflict.operations import Topic, Transaction
from conflict.version import Dot
from geosync.engine.site import Site


def author_of(site: Site) -> Author:
    """Returns who writes this site's next transaction. In a transaction of the journal."""
    journal = site.journal
    return Author(journal.nodes, site.hybrid_clock(), journal.log.received(), site.now_ms())


def save_written(site: Site, author: Author) -> Transaction | None:
    """Keeps a transaction of ours: received by ourselves, and to be sent.

    In the transaction of the journal in which its author began. Returns None if nothing was
    written.
    """
    transaction = author.transaction()
    if transaction is None:
        return None
    log = site.journal.log.actor(site.actor)
    assert log is not None
    site.journal.log.save_actor(replace(log, received=transaction.last_counter))
    site.journal.log.add_to_outbox(transaction)
    site.journal.declarations.add_all([transaction])
    site.save_hybrid_clock(author.clock)
    return transaction


def declare(site: Site, topic: Topic, body: bytes) -> Dot:
    """Tells all sites something about the volume's life; returns the dot of the declaration."""
    with site.journal.transaction():
        author = author_of(site)
        author.declare(topic, body)
        transaction = save_written(site, author)
        assert transaction is not None
        return transaction.operations[0].dot
