"""Undoing: brings back the versions that a person has settled, as a conflict again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from conflict.attributes import attributes_of
from conflict.author import Author
from conflict.content import Content, ContentKind
from conflict.naming import copy_name
from conflict.node import Location, Version
from conflict.synced import Path, SyncedEntry, entry_at_path
from geosync.engine.authoring import author_of, save_written
from geosync.engine.fetching import Fetcher
from geosync.engine.intake import Intake
from geosync.engine.resolving import Choice, parent_of
from geosync.engine.site import Site, split
from geosync.engine.spool import Spool
from geosync.errors import OperatorError
from geosync.journal.journal import Journal
from geosync.journal.settlements import Settlement


def chosen_settlement(journal: Journal, identity: str | None) -> Settlement:
    """Returns the last settlement of a conflict, by its identity or path; without one, of all.

    Raises:
        OperatorError: there is none that can be undone.
    """
    for each in journal.settlements.settled():
        names = (each.conflict, each.path.decode(errors="surrogateescape"))
        if not each.is_undone and identity in (None, *names):
            return each
    what = "nothing was settled here" if identity is None else f"no {identity!r} was settled here"
    raise OperatorError(
        f"{what} that can be undone: `geosync conflicts undo --list` shows what can. What another"
        " site has settled is undone there. Nothing was changed."
    )


class Undoing:
    """Writes versions anew that were settled. Used by the control thread."""

    def __init__(self, site: Site, spool: Spool, fetcher: Fetcher) -> None:
        self._site = site
        self._spool = spool
        self._fetcher = fetcher

    def undo(self, settlement: Settlement) -> set[Location]:
        """Gives the name back to what had it, if nobody changed it since, and the loser aside.

        What was changed since keeps the name, and both versions are beside it. Where a directory
        has the name, they become files of their own.

        Returns:
            What it touches.

        Raises:
            ContentUnavailable: a version can't be read now; nothing was changed.
            OSError: the spool can't be written; nothing was changed.
        """
        site, path = self._site, split(settlement.path)
        here = entry_at_path(site.journal.synced, path)
        intake = Intake(site, self._spool)
        versions = [each for each in (settlement.winner, settlement.loser) if each is not None]
        contents = [self._kept(intake, version.content) for version in versions]
        intake.finish_packs()
        with site.journal.transaction():
            author = author_of(site)
            if settlement.choice == Choice.BOTH.value:
                self._remove_copy(author, settlement)
            found = list(zip(versions, contents, strict=True))
            if here is not None and here.is_directory:
                self._make_files(author, path, found)
            else:
                self._bring_back(author, settlement, here, found)
            save_written(site, author)
            intake.commit()
            site.journal.settlements.mark_undone(settlement.number)
        return author.touched

    def _kept(self, intake: Intake, content: Content) -> Content:
        """Makes sure that a content is in the store: nobody may have needed it any more."""
        if content.kind is not ContentKind.REGULAR:
            return content
        try:
            self._fetcher.prefetch([content])
            return intake.take_blocks(self._fetcher.blocks(content))
        finally:
            self._fetcher.forget()

    def _bring_back(
        self,
        author: Author,
        settlement: Settlement,
        here: SyncedEntry | None,
        versions: Sequence[tuple[Version, Content]],
    ) -> None:
        path = split(settlement.path)
        (first, content), *others = versions
        if here is None:
            parent = parent_of(self._site, author, path)
            claim = author.create_file(parent, path[-1], content, first.attributes)
            shown = content.digest
        else:
            claim, shown = here.claims[0], here.content.digest if here.content else b""
            if shown not in (settlement.result, content.digest):
                others = list(versions)  # it was changed since, and keeps the name
            elif shown != content.digest:
                (claim,) = author.write(here.claims, content, first.attributes)
                shown = content.digest
        for version, other in others:
            if other.digest != shown:
                attributes = attributes_of(version.attributes, is_directory=False)
                author.write_beside(claim, other, attributes)

    def _make_files(
        self, author: Author, path: Path, versions: Iterable[tuple[Version, Content]]
    ) -> None:
        parent = parent_of(self._site, author, path)
        for version, content in versions:
            name = copy_name(path[-1], version.dot, version.stamp)
            author.create_file(parent, name, content, version.attributes)

    def _remove_copy(self, author: Author, settlement: Settlement) -> None:
        """Removes the file that the loser had become, unless somebody changed it."""
        loser, path = settlement.loser, split(settlement.path)
        name = copy_name(path[-1], loser.dot, loser.stamp)
        copy = entry_at_path(self._site.journal.synced, (*path[:-1], name))
        if copy is not None and copy.content == loser.content:
            author.delete(copy.claims, (), is_last_name=True)
