"""What becomes of the packs in the care of a site, as `geosync gc --explain` tells it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from conflict.version import ActorId, Dot, VersionVector
from geosync.engine.collecting import add_live, uses_in_care
from geosync.engine.hindering import hindrances
from geosync.engine.retiring import membership
from geosync.engine.reuse import verdicts
from geosync.journal.journal import Journal
from geosync.journal.nodes import shown_versions
from geosync.terminal import display_moment, display_name, human_duration, human_size
from transport.operation_codec import decode_vector

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """The packs in the care of one site, by what its journal knows. Sizes as stored."""

    packs: int  # in the store, condemned ones included, doomed ones not
    size_bytes: int
    needed_size_bytes: int  # by a file, a conflict, or what was replaced and is kept
    kept_versions: int  # that were replaced or deleted
    kept_s: int  # for how long such are kept
    condemned: int
    condemned_size_bytes: int
    condemned_wait_for: list[str]  # sites that have yet to tell that they know
    doomed: int
    doomed_size_bytes: int
    doomed_wait_for: list[str]
    next_deletion_at_ms: int  # at the earliest; 0: nothing is to be deleted
    deleted: int
    held_back: list[JsonObject]  # by sites that can't bring what they received to their disks


def collection_report(journal: Journal, kept_s: int) -> CollectionReport:
    """Looks at all that is live. That takes a while in a large volume."""
    own = ActorId(journal.setting("actor") or b"")
    known = verdicts(journal)
    journal.collection.begin_looking()
    for state in journal.nodes.all_nodes():
        if not state.is_directory:
            add_live(journal, shown_versions(state))
    add_live(journal, journal.collection.all_replaced())
    uses = list(uses_in_care(journal, own, known))
    waiting = known.waiting(own)
    doomed = journal.collection.doomed()
    coming = [each for each in doomed if not each.deletions]
    return CollectionReport(
        packs=len(uses),
        size_bytes=sum(use.size_bytes for use in uses),
        needed_size_bytes=sum(use.needed_size_bytes for use in uses),
        kept_versions=journal.collection.count_replaced(),
        kept_s=kept_s,
        condemned=len(waiting),
        condemned_size_bytes=sum(use.size_bytes for use in uses if use.pack in waiting),
        condemned_wait_for=_without(journal, own, waiting.values()),
        doomed=len(coming),
        doomed_size_bytes=sum(each.size_bytes for each in coming),
        doomed_wait_for=_without(
            journal, own, (known.doomed[each.pack] for each in coming if each.pack in known.doomed)
        ),
        next_deletion_at_ms=min((each.due_ms for each in coming), default=0),
        deleted=len(doomed) - len(coming),
        held_back=_held_back(journal),
    )


def _held_back(journal: Journal) -> list[JsonObject]:
    logs = journal.log.actors()
    live = membership(journal).live((log.actor for log in logs), journal.log.received())
    names = {log.actor: log.site or log.actor.hex() for log in logs if log.actor in live}
    return [
        {
            "site": names[actor],
            "since_ms": each.since_ms,
            "count": each.count,
            "path": display_name(each.path),
            "reason": each.reason,
        }
        for actor, each in sorted(hindrances(journal).of.items())
        if actor in names
    ]


def _without(journal: Journal, own: ActorId, dots: Iterable[Dot]) -> list[str]:
    """Returns the sites that have yet to tell that they applied all of these operations."""
    latest: dict[ActorId, int] = {}
    for dot in dots:
        latest[dot.actor] = max(dot.counter, latest.get(dot.actor, 0))
    wanted, logs = VersionVector(latest), journal.log.actors()
    live = membership(journal).live((log.actor for log in logs), journal.log.received())
    stored = journal.setting("applied")
    applied = VersionVector() if stored is None else decode_vector(stored)
    return sorted(
        {
            log.site or log.actor.hex()
            for log in logs
            if log.actor in live
            and not (applied if log.actor == own else log.applied).covers(wanted)
        }
    )


def collection_json(report: CollectionReport, doubt: str | None) -> JsonObject:
    """Returns the report for programs; docs/commands.md tells what the keys mean."""
    return {**asdict(report), "doubt": doubt}


def collection_text(report: CollectionReport, doubt: str | None, now_ms: int) -> str:
    """Returns the report in words."""
    return "\n".join(_lines(report, doubt, now_ms))


def _lines(report: CollectionReport, doubt: str | None, now_ms: int) -> Iterable[str]:
    yield (
        f"in the care of this site: {_counted(report.packs)}, {human_size(report.size_bytes)};"
        f" {human_size(report.needed_size_bytes)} of that is needed"
    )
    yield (
        f"replaced or deleted, and kept for {human_duration(report.kept_s)}:"
        f" {_counted(report.kept_versions, 'version')}"
    )
    yield (
        f"condemned: {_counted(report.condemned)}, {human_size(report.condemned_size_bytes)};"
        f" nobody may refer to them any more{_waits(report.condemned_wait_for)}"
    )
    yield (
        f"doomed: {_counted(report.doomed)}, {human_size(report.doomed_size_bytes)};"
        f" {_when(report, now_ms)}{_waits(report.doomed_wait_for)}"
    )
    yield f"deleted so far: {_counted(report.deleted)}"
    for each in report.held_back:
        more = f" and {int(str(each['count'])) - 1} more" if each["count"] != 1 else ""
        yield (
            f"held back by {each['site']}, since {display_moment(int(str(each['since_ms'])))}:"
            f" {each['path']}{more} ({each['reason']}); what to do: geosync status at"
            f" {each['site']}"
        )
    if doubt is not None:
        yield f"nothing is condemned or deleted at present: {doubt}"


def _when(report: CollectionReport, now_ms: int) -> str:
    if not report.next_deletion_at_ms:
        return "nothing is to be deleted"
    left_s = max(0, report.next_deletion_at_ms - now_ms) / 1000
    return f"the first may be deleted in {human_duration(left_s)}" if left_s else "they go now"


def _waits(sites: list[str]) -> str:
    return f"; waits until these tell that they know: {', '.join(sites)}" if sites else ""


def _counted(count: int, what: str = "pack") -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
