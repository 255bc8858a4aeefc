"""Declarations from which nothing follows any more, which a journal need not keep."""

from __future__ import annotations

from collections.abc import Iterator

from conflict.version import Dot, VersionVector
from geosync.engine.forgetting import forgetting
from geosync.engine.retiring import membership
from geosync.engine.reuse import verdicts
from geosync.engine.site import Site
from geosync.engine.stability import stable


def forget_old_declarations(site: Site) -> int:
    """Drops them; returns how many there were.

    Those about checkpoints are dropped where logs are cut, wants once they are answered. Fences,
    epochs, and what brakes held stay: they are few.
    """
    certain = stable(site)
    old = {
        *forgetting(site).obsolete(certain),
        *membership(site.journal).obsolete(certain),
        *_old_verdicts(site, certain),
    }
    if old:
        with site.journal.transaction():
            site.journal.declarations.forget(sorted(old))
    return len(old)


def _old_verdicts(site: Site, certain: VersionVector) -> Iterator[Dot]:
    to_delete = {each.pack for each in site.journal.collection.doomed() if not each.is_over}

    def is_over(pack: str) -> bool:
        return pack not in to_delete and not site.journal.chunks.locations_in(pack)

    yield from verdicts(site.journal).obsolete(certain, is_over)
