"""Retiring: takes lost actors out of the volume, and notices when we were taken out ourselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from conflict.membership import Fence, Inherited, Membership, Stated, Statement, Suspect
from conflict.operations import Topic
from conflict.version import ActorId, actor_id
from geosync.engine.authoring import declare
from geosync.engine.incarnation import Superseded
from geosync.engine.site import Site
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.journal.journal import Journal
from transport.membership_record import decode_statement, encode_statement
from transport.msgpack_codec import decode_own, encode

INHERITED = "inherited_membership"  # a setting of the journal
_log = event_logger(__name__)


def membership(journal: Journal) -> Membership:
    """Returns who takes part, as far as this site has received it."""
    stated = [
        Stated(each.operation.dot, decode_statement(each.operation.body))
        for each in journal.declarations.of_topic(Topic.MEMBERSHIP)
    ]
    return Membership(stated, _inherited(journal))


def bequest(journal: Journal) -> bytes:
    """Returns, for `inherit`, what the next journal of this site must know."""
    known = membership(journal).to_inherit()
    return encode((tuple(sorted(known.suspected)), tuple(sorted(known.fences.items()))))


def inherit(journal: Journal, bequest: bytes) -> None:
    """Lets a fresh journal know who was retired, before it reads any log."""
    with journal.transaction():
        journal.set_setting(INHERITED, bequest)


def _inherited(journal: Journal) -> Inherited:
    stored = journal.setting(INHERITED)
    if stored is None:
        return Inherited()
    suspected, fences = cast("tuple[Any, Any]", decode_own(stored))
    return Inherited(frozenset(map(actor_id, suspected)), dict(fences))


def keep_membership(site: Site) -> None:
    """States what is ours to state about actors that are being retired.

    Raises:
        Superseded: we were retired ourselves, or have read what is void.
    """
    state = membership(site.journal)
    if not state.suspected:
        return
    received = site.journal.log.received()
    if state.is_retired(site.actor):
        raise Superseded(
            f"this site was retired by an operator or a later incarnation while it was away"
            f" (actor {site.actor.hex()[:8]})"
        )
    beyond = state.beyond_fence(received)
    if beyond is not None:
        raise Superseded(
            f"this site has read more of the log of {beyond.hex()[:8]} than is valid: that actor"
            " was retired by sites that did not know of this one"
        )
    known = [log.actor for log in site.journal.log.actors()]
    for statement in state.due(site.actor, known, received):
        _state(site, statement)


def retire(site: Site, name: str) -> list[ActorId]:
    """Begins to retire all actors of a site; returns them.

    Raises:
        OperatorError: it is this site, or there is none of this name.
    """
    if name == site.name:
        raise OperatorError(
            f"{name} is this site itself: stop it, and retire it from another site. Nothing was"
            " changed."
        )
    state = membership(site.journal)
    logs = site.journal.log.actors()
    actors = [log.actor for log in logs if name in (log.site, log.actor.hex())]
    if not actors:
        names = ", ".join(sorted({log.site or log.actor.hex() for log in logs} - {site.name}))
        raise OperatorError(
            f"no site {name!r} takes part in this volume; there are: {names or 'none but this'}."
            " Nothing was changed."
        )
    wanted = [actor for actor in actors if actor not in state.suspected]
    suspect(site, wanted)
    return wanted


def suspect(site: Site, actors: Iterable[ActorId]) -> None:
    """Says that actors are lost; all others then stop reading their logs."""
    for actor in actors:
        _state(site, Suspect(actor))


def _state(site: Site, statement: Statement) -> None:
    dot = declare(site, Topic.MEMBERSHIP, encode_statement(statement))
    kind = type(statement).__name__.lower()
    counter = None if isinstance(statement, Suspect) else statement.counter
    log = _log.warning if isinstance(statement, Fence | Suspect) else _log.info
    log(f"membership_{kind}", actor=statement.actor.hex(), counter=counter, dot=str(dot))
