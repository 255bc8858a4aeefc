"""What must hold once a site that died has been started again and all sites have come to rest."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass

from conflict.operations import Delete, Operation
from geosync.disk.interface import PRIVATE_DIRECTORY
from geosync.engine.sweeping import WATCHED_FOR_MS
from geosync.journal.database import FILE_NAME
from tests.support.disk_tree import contents_of, disk_tree
from tests.support.local_sites import LocalSite, operations_of, settle
from transport.object_store import ObjectStore
from transport.segment import ExpectedSegment, decode_segment

_WORKING_AREAS = (b"stage", b"trash", b"parked")
_TIMES_WATCHED = 3  # once for each name of a displaced file: the others change when one goes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What two sites came to.

    Attributes:
        operations: how many the site that died wrote in all its life.
        deletes: how many of these were deletions.
    """

    operations: int
    deletes: int


def captured_operations(site: LocalSite) -> list[Operation]:
    """Returns all operations in a site's own log, as far as its journal knows: sent or not."""
    log = site.journal.log
    actor = site.engine.site.actor
    operations: list[Operation] = []
    for sequence, body in log.segments(actor):
        expected = ExpectedSegment(site.engine.site.volume, actor, sequence)
        segment = decode_segment(body, site.engine.site.hasher, expected)
        operations += [o for transaction in segment.transactions for o in transaction]
    for transaction in log.outbox(2**62):
        operations += list(transaction)
    return operations


def kept_contents(before: set[bytes], *now: set[bytes]) -> set[bytes]:
    """Returns the contents that nobody removed.

    Args:
        before: what both sites showed at first.
        now: what each site shows after its programs' changes.
    """
    shown = set().union(*now)
    return {content for content in shown if content not in before or all(content in n for n in now)}


def settled_contents(away: LocalSite, here: LocalSite) -> set[bytes]:
    """Starts a site, lets it come to the same tree as the other one, and ends it again."""
    here.open()
    settle(away, here)
    contents = contents_of(here.root)
    here.close()
    return contents


def come_to_rest(here: LocalSite, away: LocalSite) -> None:
    """Lets both sites run until nothing is left to do, displaced files included."""
    settle(here, away)
    for _ in range(_TIMES_WATCHED):
        here.time.advance(2 * WATCHED_FOR_MS / 1000)
        settle(here, away)


def check(
    here: LocalSite,
    away: LocalSite,
    store: ObjectStore,
    captured: list[Operation],
    contents: set[bytes],
) -> Outcome:
    """Checks two sites that have come to rest.

    Args:
        here: the site that died.
        away: the other one.
        store: where they meet.
        captured: what the journal of the dead site held.
        contents: what must be found on both sites, at a name or as a conflict.

    Raises:
        AssertionError: something does not hold.
    """
    assert disk_tree(here.root) == disk_tree(away.root), "the trees differ"
    for site in (here, away):
        assert not site.problems(), (site.name, site.problems())
        lost = contents - contents_of(site.root)
        assert not lost, (site.name, "lost", sorted(content[:30] for content in lost))
        _check_is_tidy(site)
        _check_journal(site)
    written = operations_of(here, store)
    assert [o.dot.counter for o in written] == list(range(1, len(written) + 1)), "dots"
    assert written[: len(captured)] == captured, "a dot was used twice, or a captured one is lost"
    return Outcome(len(written), sum(isinstance(operation, Delete) for operation in written))


def _check_is_tidy(site: LocalSite) -> None:
    """Nothing that the engine needed on its way is left."""
    private = os.path.join(site.root, PRIVATE_DIRECTORY)
    for area in _WORKING_AREAS:
        left = os.listdir(os.path.join(private, area))
        assert not left, (site.name, area, left)
    assert not os.listdir(os.path.join(site.state_dir, b"spool")), (site.name, "spool")
    assert not site.journal.intents(), (site.name, "intents")
    assert not site.journal.retired(), (site.name, "retired")


def _check_journal(site: LocalSite) -> None:
    connection = sqlite3.connect(os.path.join(site.state_dir, FILE_NAME))
    try:
        found = connection.execute("PRAGMA integrity_check").fetchall()
    finally:
        connection.close()
    assert found == [("ok",)], (site.name, found)
