"""Authoring: begins a transaction of this site's, and keeps what was written of it."""

from __future__ import annotations

from dataclasses import replace

from conflict.author import Author
from conflict.operations import Transaction
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
    site.save_hybrid_clock(author.clock)
    return transaction
