"""Verdicts: which brakes hold, here and elsewhere, and what follows from a person's decision.

A brake is named by a dot, so that all sites call it the same. A decision about another site's
brake travels there as a declaration; nothing but that site's own journal says what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from conflict.author import Author
from conflict.brakes import Amount, BrakeKind
from conflict.operations import Topic
from conflict.synced import EntryId, path_of_entry
from conflict.version import ActorId, Dot
from geosync.engine.authoring import author_of, declare, save_written
from geosync.engine.braking import tell_released
from geosync.engine.foreign_brakes import foreign_amount, foreign_plan
from geosync.engine.site import Site, joined
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.journal.brakes import Brake
from geosync.journal.journal import Journal
from transport.brake_record import (
    BRAKE_PATHS_MAX,
    BrakeRecord,
    Decided,
    Engaged,
    Grown,
    Released,
    Verdict,
    decode_brake_record,
    encode_brake_record,
)
from transport.wire_errors import WireFormatError

_log = event_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownBrake:
    """A brake as this site knows of it.

    Attributes:
        site: whose disk it is about.
        is_here: whether that is this one; of others only what they told last is known.
        is_capture: whether it holds back what happened on that disk; else, what others did.
        paths: the first few.
        verdict: what was decided, and is not done yet.
    """

    dot: Dot
    site: str
    is_here: bool
    is_capture: bool
    kind: BrakeKind
    reason: str
    since_ms: int
    amount: Amount
    paths: tuple[bytes, ...]
    verdict: Verdict | None = None

    @property
    def name(self) -> str:
        """What operators call it."""
        return self.dot.label


def known_brakes(journal: Journal, own_site: str) -> list[KnownBrake]:
    """Returns all brakes that are not over, those of this site first, the oldest first."""
    own = journal.setting("actor")
    here = [_here(journal, own_site, brake) for brake in journal.brakes.brakes()]
    there = [brake for brake in _told(journal) if brake.dot.actor != own]
    newest = _newest_actors(journal)
    return here + [brake for brake in there if newest.get(brake.site) == brake.dot.actor]


def brake_plan(journal: Journal, brake: Brake, count_max: int = -1) -> list[tuple[bytes, int]]:
    """Returns the paths that a brake holds here, sorted, and how large their contents are."""
    if not brake.is_ours:
        return foreign_plan(journal, brake)
    found: list[tuple[bytes, int]] = []
    for held in journal.brakes.held_by(brake.dot.counter, count_max):
        entry = journal.synced.entry(held.entry)
        path = path_of_entry(journal.synced, entry) if entry is not None else None
        if path:
            found.append((joined(path), held.size_bytes))
    return sorted(found)


def plan_of(journal: Journal, known: KnownBrake) -> list[tuple[bytes, int]]:
    """As `brake_plan`; of other sites' brakes the first paths, whose sizes nobody told."""
    brake = own_brake(journal, known.dot) if known.is_here else None
    return brake_plan(journal, brake) if brake is not None else [(path, 0) for path in known.paths]


def find_brake(journal: Journal, own_site: str, name: str) -> KnownBrake:
    """Returns the brake that is called so. Raises OperatorError."""
    for brake in known_brakes(journal, own_site):
        if brake.name == name:
            return brake
    raise OperatorError(
        f"no brake is called {name!r}: `geosync brake list` shows those there are. It may be over:"
        " decided here or on another site, or all that it held is as it was."
    )


def own_brake(journal: Journal, dot: Dot) -> Brake | None:
    """Returns the brake of this site that has this dot."""
    return next((each for each in journal.brakes.brakes() if each.dot == dot), None)


def decide(site: Site, brake: KnownBrake, verdict: Verdict) -> None:
    """Writes a person's decision; `heed` does what follows at the site that it is about.

    Raises:
        OperatorError: it was decided before.
    """
    if brake.verdict is not None:
        raise OperatorError(
            f"brake {brake.name} was {brake.verdict.name.lower()} already; what follows from that"
            f" is being done at {brake.site}"
        )
    declare(site, Topic.BRAKE, encode_brake_record(Decided(brake.dot, verdict)))
    _log.warning("brake_decided", brake=brake.name, verdict=verdict.name.lower(), at=brake.site)


def heed(site: Site) -> set[Verdict]:
    """Does what follows from decisions about this site's brakes; returns what was decided anew."""
    brakes = (brake for brake in site.journal.brakes.brakes() if brake.is_ours)
    undecided = {brake.dot: brake for brake in brakes if brake.verdict is None}
    verdicts: set[Verdict] = set()
    for _, record in _records(site.journal) if undecided else ():
        brake = undecided.pop(record.brake, None) if isinstance(record, Decided) else None
        if brake is None or not isinstance(record, Decided):
            continue
        with site.journal.transaction():
            site.journal.brakes.save(replace(brake, verdict=record.verdict))
            if record.verdict is Verdict.REJECTED:
                _forget_held(site.journal, brake)
        verdicts.add(record.verdict)
    return verdicts


def has_rejected(journal: Journal) -> bool:
    """Tells whether files are to be brought back to this site's disk."""
    return any(b.is_ours and b.verdict is Verdict.REJECTED for b in journal.brakes.brakes())


def finish_rejected(site: Site) -> None:
    """Says that the whole disk was looked at, and the volume's files are being brought back."""
    rejected = [b for b in site.journal.brakes.brakes() if b.verdict is Verdict.REJECTED]
    with site.journal.transaction():
        author = author_of(site)
        for brake in rejected:
            _release(site, author, brake)
        save_written(site, author)
    for brake in rejected:
        tell_released(site, brake)


def _release(site: Site, author: Author, brake: Brake) -> None:
    site.journal.brakes.remove(brake.dot)
    author.declare(Topic.BRAKE, encode_brake_record(Released(brake.dot.counter)))


def _forget_held(journal: Journal, brake: Brake) -> None:
    """Forgets what the disk was known to hold, so that nothing of it is missing or changed.

    What lies there is then looked at as when a site joins: it is what the volume has, or had, or
    a version of its own beside it, and what is not there is fetched.

    CRASH: the brake stays in the journal until that is done; the next start begins it again.
    """
    own = [held.entry for held in journal.brakes.held_by(brake.dot.counter)]
    for entry in own:
        _forget_with_all_below(journal, entry)
    journal.brakes.let_go(own)


def _forget_with_all_below(journal: Journal, entry: EntryId) -> None:
    for child in list(journal.synced.entries_in(entry)):
        _forget_with_all_below(journal, child.entry)
    journal.synced.remove_entry(entry)


# What is known


def _here(journal: Journal, own_site: str, brake: Brake) -> KnownBrake:
    plan = brake_plan(journal, brake, BRAKE_PATHS_MAX)
    holding = journal.brakes.holding()
    amount = holding.get(brake.dot.counter, Amount())
    return KnownBrake(
        dot=brake.dot,
        site=own_site,
        is_here=True,
        is_capture=brake.is_ours,
        kind=brake.kind,
        reason=brake.reason,
        since_ms=brake.since_ms,
        amount=amount if brake.is_ours else foreign_amount(journal, brake),
        paths=tuple(path for path, _ in plan[:BRAKE_PATHS_MAX]),
        verdict=brake.verdict,
    )


def _told(journal: Journal) -> list[KnownBrake]:
    """Returns what was declared of brakes that are not over."""
    told: dict[Dot, KnownBrake] = {}
    verdicts: dict[Dot, Verdict] = {}
    for dot, record in _records(journal):
        match record:
            case Engaged():
                log = journal.log.actor(dot.actor)
                told[dot] = KnownBrake(
                    dot=dot,
                    site=log.site if log is not None else "",
                    is_here=False,
                    is_capture=True,
                    kind=record.kind,
                    reason=record.reason,
                    since_ms=record.since_ms,
                    amount=record.amount,
                    paths=record.paths,
                )
            case Decided(brake=brake, verdict=verdict):
                verdicts.setdefault(brake, verdict)
            case Grown(counter=counter, amount=amount):
                brake_dot = Dot(dot.actor, counter)
                if brake_dot in told:
                    told[brake_dot] = replace(told[brake_dot], amount=amount)
            case Released(counter=counter):
                told.pop(Dot(dot.actor, counter), None)
            case _:
                pass
    return [replace(brake, verdict=verdicts.get(dot)) for dot, brake in told.items()]


def _newest_actors(journal: Journal) -> dict[str, ActorId]:
    """Returns each site's newest incarnation: what an older one held is no concern any more."""
    logs = sorted(journal.log.actors(), key=lambda log: (log.segment_at_ms, log.actor))
    return {log.site: log.actor for log in logs}


def _records(journal: Journal) -> Iterator[tuple[Dot, BrakeRecord]]:
    """Yields what can be read; what only a later version could read decides nothing here."""
    for declaration in journal.declarations.of_topic(Topic.BRAKE):
        with suppress(WireFormatError):
            operation = declaration.operation
            yield operation.dot, decode_brake_record(operation.body)
