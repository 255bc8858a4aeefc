"""The sites of a volume as `geosync site list` shows them: who takes part, and who holds back."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from conflict.membership import Membership
from conflict.version import ActorId, VersionVector
from geosync.engine.retiring import membership
from geosync.journal.journal import Journal
from geosync.journal.log import ActorLog
from geosync.terminal import human_duration, plain_table
from transport.operation_codec import decode_vector

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One actor: a site, or an earlier incarnation of one."""

    site: str  # '' until its log told it
    actor: str
    last_heard_at_ms: int  # by our clock; 0: never
    operations_it_lacks: int  # of all that were received here, on its disk
    state: str  # "this site", "live", "retiring", "retired"
    holds_back: str  # what waits for it, in words; '' for nothing


def site_rows(journal: Journal) -> list[SiteRow]:
    """Returns all actors that were ever heard of, those of one site together."""
    own = ActorId(journal.setting("actor") or b"")
    stored = journal.setting("applied")
    applied = VersionVector() if stored is None else decode_vector(stored)
    logs = journal.log.actors()
    state = membership(journal)
    received = journal.log.received()
    names = {log.actor: log.site or log.actor.hex()[:8] for log in logs}
    awaited = {
        target: state.awaited(target, names) for target in state.suspected - state.fences.keys()
    }
    rows = []
    for log in sorted(logs, key=lambda log: (log.site, log.heard_at_ms, log.actor)):
        told = applied if log.actor == own else log.applied
        told = told.join({log.actor: log.received} if log.received else {})
        lacks = sum(counter - told.counter_of(actor) for actor, counter in received.items())
        waiting = sorted(names[t] for t, actors in awaited.items() if log.actor in actors)
        rows.append(
            SiteRow(
                log.site,
                log.actor.hex(),
                log.heard_at_ms,
                max(0, lacks),
                _state(log, own, state, received),
                _holds_back(log, own, state, lacks=lacks, retirements=waiting),
            )
        )
    return rows


def _state(log: ActorLog, own: ActorId, state: Membership, received: VersionVector) -> str:
    if log.actor == own:
        return "this site"
    if not state.live((log.actor,), received):
        return "retired"
    return "retiring" if state.is_retired(log.actor) else "live"


def _holds_back(
    log: ActorLog, own: ActorId, state: Membership, *, lacks: int, retirements: list[str]
) -> str:
    if retirements:
        return f"the retirement of {', '.join(retirements)}"
    if log.actor == own or state.is_retired(log.actor) or lacks <= 0:
        return ""
    return "removal of what is not needed any more"


def site_table(rows: list[SiteRow], now_ms: int) -> str:
    """Returns the rows for people."""
    table = []
    for row in rows:
        is_other = row.state != "this site"
        heard_s = max(0, now_ms - row.last_heard_at_ms) / 1000
        heard = f"{human_duration(heard_s)} ago" if row.last_heard_at_ms else "never"
        behind = f"{row.operations_it_lacks} operations" if row.operations_it_lacks else ""
        table.append(
            [
                row.site or "?",
                row.actor[:8],
                heard if is_other else "",
                behind if row.state != "retired" else "",
                row.state,
                row.holds_back,
            ]
        )
    return plain_table(("SITE", "ACTOR", "HEARD", "BEHIND", "STATE", "HOLDS BACK"), table)


def sites_json(rows: list[SiteRow]) -> list[JsonObject]:
    """Returns the rows for programs; docs/commands.md tells what the keys mean."""
    return [asdict(row) for row in rows]
