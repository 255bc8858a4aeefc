"""What the daemon does with a journal that is superseded: it sets it aside, and joins anew."""

from __future__ import annotations

import shutil

from geosync.engine.retiring import bequest, inherit
from geosync.journal.journal import Journal
from tests.support.local_sites import LocalSite


def rejoin(site: LocalSite) -> None:
    """Joins anew as another actor."""
    assert site.engine.superseded is not None
    earlier = site.state_dir + b"-earlier-%d" % site.incarnation
    site.close()
    shutil.move(site.state_dir, earlier)
    site.incarnation += 1
    site.open()
    before = Journal(earlier)
    inherit(site.journal, bequest(before))
    before.close()
