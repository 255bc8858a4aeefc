"""Resolving: writes an operator's decisions about conflicts as operations."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from conflict.author import Author
from conflict.content import Block, Content
from conflict.merged_tree import directories_at
from conflict.node import Location
from conflict.operations import MTIME_NS, AttributeChanges, NodeId
from conflict.report import Conflict, conflicts
from conflict.synced import Path, SyncedEntry, entry_at_path
from geosync.engine.authoring import author_of, save_written
from geosync.engine.intake import Intake
from geosync.engine.site import Site, joined
from geosync.engine.spool import Spool
from geosync.errors import OperatorError
from geosync.journal.journal import Journal
from geosync.journal.settlements import Settlement

OWN_CONTENT: Final = "content"  # as the choice of a settlement: a person wrote it
KEPT_MS: Final = 90 * 86_400_000  # so long a settlement can be undone, if its versions are there


class Choice(Enum):
    """What is to become of a losing version."""

    WINNER = "winner"  # the version at the name stays, the loser is dropped
    LOSER = "loser"  # the loser takes the name
    BOTH = "both"  # the loser becomes a file of its own, beside the other


def find_conflict(site: Site, identity: str) -> Conflict:
    """Returns the conflict with this identity, or the only one at this path.

    Raises:
        OperatorError: there is none, or several.
    """
    return chosen_conflict(site.journal, identity)


def chosen_conflict(journal: Journal, identity: str) -> Conflict:
    """As `find_conflict`, with a journal that may be open for reading only."""
    found = [
        conflict
        for conflict in conflicts(journal.nodes)
        if identity in (conflict.identity, joined(conflict.path).decode(errors="surrogateescape"))
    ]
    if not found:
        raise OperatorError(
            f"no open conflict is called {identity!r}: `geosync conflicts list` shows those there"
            " are. It may have been settled here or on another site."
        )
    if len(found) > 1:
        names = ", ".join(conflict.identity for conflict in found)
        raise OperatorError(f"{identity!r} has several conflicts: name one of {names}.")
    return found[0]


def resolve(site: Site, conflict: Conflict, choice: Choice) -> set[Location]:
    """Writes the decision; the next apply shows it on the disk. Returns the names it touches.

    Raises:
        OperatorError: the file is not on this site's disk as the decision needs it.
    """
    with site.journal.transaction():
        author = author_of(site)
        winner = conflict.winner_version
        result = b"" if winner is None else winner.content.digest
        if choice is Choice.LOSER:
            loser = conflict.loser
            _give_name(site, author, conflict, loser.content, loser.attributes)
            result = loser.content.digest
        elif choice is Choice.BOTH:
            _keep_both(site, author, conflict)
        author.settle(conflict.claims)
        save_written(site, author)
        _note_settled(site, conflict, choice.value, result)
    return author.touched


def resolve_with(
    site: Site, spool: Spool, conflict: Conflict, blocks: Iterable[Block]
) -> set[Location]:
    """Writes a content of a person's own in place of both versions. Returns what it touches.

    Raises:
        OperatorError: the file is not on this site's disk as the decision needs it.
        OSError: the spool can't be written; nothing was decided.
    """
    intake = Intake(site, spool)
    content = intake.take_blocks(blocks)
    intake.finish_packs()
    with site.journal.transaction():
        author = author_of(site)
        times = ((MTIME_NS, site.clock.wall_ns()),)
        _give_name(site, author, conflict, content, times)
        author.settle(conflict.claims)
        save_written(site, author)
        intake.commit()
        _note_settled(site, conflict, OWN_CONTENT, content.digest)
    return author.touched


def _note_settled(site: Site, conflict: Conflict, choice: str, result: bytes) -> None:
    journal, now_ms = site.journal, site.now_ms()
    journal.settlements.forget_settled(now_ms - KEPT_MS)
    settlement = Settlement(
        number=0,
        conflict=conflict.identity,
        path=joined(conflict.path),
        choice=choice,
        settled_at_ms=now_ms,
        winner=conflict.winner_version,
        loser=conflict.loser,
        result=result,
    )
    journal.settlements.add_settled(settlement)


def _give_name(
    site: Site, author: Author, conflict: Conflict, content: Content, attributes: AttributeChanges
) -> None:
    here = entry_at_path(site.journal.synced, conflict.path)
    if here is None:
        author.create_file(
            parent_of(site, author, conflict.path), conflict.path[-1], content, attributes
        )
        return
    _check_is_file(here, conflict)
    author.write(here.claims, content, attributes)


def _keep_both(site: Site, author: Author, conflict: Conflict) -> None:
    loser = conflict.loser
    parent = parent_of(site, author, conflict.path)
    author.create_file(parent, conflict.copy_name, loser.content, loser.attributes)


def _check_is_file(here: SyncedEntry, conflict: Conflict) -> None:
    if here.is_directory:
        raise OperatorError(
            f"{joined(conflict.path)!r} is a directory now, so no file can take its name:"
            " choose `both`, which keeps the losing file beside it, or `winner`."
        )


def parent_of(site: Site, author: Author, path: Path) -> NodeId:
    """Returns the directory of a path, made anew as far as it was deleted."""
    for depth in range(len(path) - 1, -1, -1):
        together = directories_at(site.journal.nodes, path[:depth])
        if together:
            node = min(together)
            for name in path[depth:-1]:
                node = author.create_directory(node, name, ()).node
            return node
    raise AssertionError("the root is always there")
