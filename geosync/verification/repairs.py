"""What would repair the findings of a verification."""

from __future__ import annotations

from collections.abc import Iterable

from geosync.engine.mending import Mending
from geosync.engine.site import split
from geosync.verification.finding import Finding, Kind

BEYOND_REPAIR = frozenset({Kind.JOURNAL_DAMAGED, Kind.LOG_BROKEN})
"""A journal in which this is found proves nothing that a repair could rest on."""


def mending_for(findings: Iterable[Finding]) -> Mending:
    """Returns what an engine is to repair."""
    mending = Mending()
    for finding in findings:
        if finding.kind in BEYOND_REPAIR:
            return Mending()
        mending.chunks.update(finding.lost)
        mending.segments += [finding.segment] if finding.segment is not None else []
        mending.files += [split(finding.file)] if finding.file is not None else []
    return mending
