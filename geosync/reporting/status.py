"""The status of a site at one moment, as a value: what an operator asks first."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conflict.ignore_patterns import ignore_patterns
from conflict.node import NodeState
from conflict.operations import ROOT
from conflict.policy import policy_of
from conflict.synced import Path
from conflict.version import ActorId, VersionVector
from geosync.configuration.volume_configuration import Configuration
from geosync.disk.capabilities import DiskCapabilities
from geosync.engine.brake_verdicts import KnownBrake, known_brakes
from geosync.engine.progress import Advance
from geosync.engine.roles import role_of, succession_of
from geosync.engine.site import joined
from geosync.errors import OperatorError
from geosync.journal.journal import Journal
from geosync.journal.log import ActorLog
from geosync.reporting.recent_operations import RecentChange, RecentOperations
from geosync.reporting.written_times import WrittenTimes
from geosync.terminal import display_name
from geosync.watching.tree_watcher import WatcherHealth
from transport.hashing import VolumeHasher
from transport.object_store import StoreCounters
from transport.operation_codec import decode_vector
from transport.segment import ExpectedSegment, decode_segment

CONFLICTS_SHOWN_MAX: Final = 100
WAITING_SHOWN_MAX: Final = 20
PROBLEMS_SHOWN_MAX: Final = 50

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class ToPublish:
    """What was captured here and the store does not have yet."""

    operations: int
    segments: int  # already built, of these operations
    packs: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class WaitingPath:
    """A path that is not as it is to be, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class OtherSite:
    """Another site, by what its log told last."""

    site: str  # '' until its log told it
    actor: str
    last_heard_at_ms: int  # when we read its last segment, by our clock; 0 for never
    operations_it_lacks: int  # of ours, on its disk
    operations_we_lack: int  # of its, on our disk
    problem: str
    behind_since_ms: int = 0  # when the first of ours that it lacks was written; 0: it lacks none
    size_bytes_it_lacks: int | None = 0  # of contents in these; None: not known, so much it is
    size_bytes_we_lack: int | None = 0
    oldest_it_lacks: str = ""  # path of the first of these changes; '' for none, or not known
    oldest_we_lack: str = ""


@dataclass(frozen=True, slots=True)
class StatusProblem:
    """Something that an operator should know of."""

    subject: str
    since_ms: int
    text: str


@dataclass(slots=True)
class HintState:
    """What was sent and heard of hints since the daemon began.

    Attributes:
        address: where they are heard; '' for nowhere.
        peers: to whom they are sent, as the configuration names them.
        sent: packets with news that this machine took; those that say them again don't count.
        heard: hints that told something new.
        old: hints that told nothing new: doubled, late, or sent again by somebody.
        refused: packets that are no hints of this volume, or by nobody who knows the secret.
        limited: seconds in which more came than is listened to.
        not_heard: names of the sites that are read, and of which no hint came of late.
        problem: peers whose names have no address, and why; '' for none.
    """

    address: str = ""
    peers: tuple[str, ...] = ()
    sent: int = 0
    heard: int = 0
    old: int = 0
    refused: int = 0
    limited: int = 0
    not_heard: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered from one look at the status to the next.

    Attributes:
        written: when own operations were written; None where no daemon saw it.
        recent: the last changes of all logs.
    """

    written: WrittenTimes | None
    recent: RecentOperations


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """What only a running daemon knows."""

    process_id: int
    is_settled: bool
    waiting: tuple[WaitingPath, ...]
    waiting_count: int
    watcher: WatcherHealth
    store: StoreCounters
    protocol: DiskCapabilities | None = None  # how the disk is changed; None: not a real disk
    excluded: tuple[str, ...] = ()  # the first files that are never captured here
    excluded_count: int = 0
    takes_writes: bool = True  # programs may write here, as far as this site has heard
    lag_s: float | None = None  # since all that the others had stored was on this disk; None: never
    store_failures: int = 0  # cycles since the daemon began in which the store failed
    http_address: str = ""  # where the HTTP server listens; '' for nowhere
    conflicts_shown: tuple[JsonObject, ...] = ()  # the first ones, as conflict_json tells them
    progress: Advance | None = None  # of what takes long; None: nothing does
    upload_bytes_per_s: float = 0.0  # at present; 0 also while that can't be told
    download_bytes_per_s: float = 0.0
    recent: tuple[RecentChange, ...] = ()  # the last changes of all sites, the newest first
    hints: HintState | None = None  # None: without hints


@dataclass(frozen=True, slots=True)
class Status:
    """One site at one moment. Names are written as geosync.terminal.display_name does."""

    volume: str
    site: str
    mode: str
    root: str
    actor: str
    taken_at_ms: int
    entries: int
    conflicts: int
    to_publish: ToPublish
    sites: tuple[OtherSite, ...]
    problems: tuple[StatusProblem, ...]
    problem_count: int
    daemon: DaemonStatus | None  # None: read from the journal, while no daemon runs
    brakes: tuple[KnownBrake, ...] = ()  # that hold something, here or at other sites
    role: str = "multi-master"  # what the site does now
    writes_to_store: bool = True
    primary: str | None = None  # who is the primary, or was the last; None: nobody ever was
    drift: tuple[WaitingPath, ...] = ()  # the first paths, each with how it differs
    drift_count: int = 0
    late_write_count: int = 0
    policies: tuple[str, ...] = ()  # what becomes of conflicts, but for the default
    ignored: tuple[str, ...] = ()  # patterns of what the volume leaves alone


def observe_status(
    configuration: Configuration,
    journal: Journal,
    *,
    now_ms: int,
    conflict_count: int,
    daemon: DaemonStatus | None,
    seen: Seen | None = None,
) -> Status:
    """Reads a site's status from its journal.

    Args:
        configuration: of the site.
        journal: of the site.
        now_ms: by this site's clock.
        conflict_count: how many conflicts are open.
        daemon: what only a daemon knows, None without one.
        seen: what a daemon saw; None without one.

    Raises:
        OperatorError: the site has not joined its volume yet.
    """
    actor = journal.setting("actor")
    if actor is None:
        raise OperatorError(
            f"site {configuration.site} has not joined the volume {configuration.volume} yet:"
            " start it with geosync run, and read there what hinders it"
        )
    if seen is None:
        seen = Seen(None, RecentOperations(configuration.volume))
        seen.recent.look(journal)
    problems, root = journal.problems(), journal.nodes.node(ROOT)
    role = role_of(configuration.mode, journal, ActorId(actor))
    current = succession_of(journal).current
    return Status(
        volume=configuration.volume,
        site=configuration.site,
        mode=configuration.mode.value,
        root=display_name(configuration.root),
        actor=actor.hex(),
        taken_at_ms=now_ms,
        entries=journal.synced.count(),
        conflicts=conflict_count,
        to_publish=_to_publish(configuration, journal, ActorId(actor)),
        sites=_other_sites(configuration.site, journal, ActorId(actor), seen),
        problems=tuple(
            StatusProblem(display_name(each.subject), each.since_ms, each.text)
            for each in problems[:PROBLEMS_SHOWN_MAX]
        ),
        problem_count=len(problems),
        daemon=daemon,
        brakes=tuple(known_brakes(journal, configuration.site)),
        role=role.name,
        writes_to_store=role.may_publish,
        primary=None if current is None else current.site,
        drift=_drift(journal),
        drift_count=journal.drift.count(),
        late_write_count=len(journal.drift.late_writes()),
        policies=_policies(root),
        ignored=tuple(display_name(each) for each in ignore_patterns(root)),
    )


def waiting_paths(waiting: Mapping[Path, str]) -> tuple[WaitingPath, ...]:
    """Returns the first paths that wait, as they are shown."""
    return tuple(
        WaitingPath(display_name(joined(path)), reason)
        for path, reason in sorted(waiting.items())[:WAITING_SHOWN_MAX]
    )


def _policies(root: NodeState | None) -> tuple[str, ...]:
    return tuple(f"{each.text} for {display_name(each.glob)}" for each in policy_of(root).rules)


def _drift(journal: Journal) -> tuple[WaitingPath, ...]:
    first = journal.drift.all()[:WAITING_SHOWN_MAX]
    return tuple(WaitingPath(display_name(each.path), each.kind) for each in first)


def excluded_paths(excluded: Sequence[Path]) -> tuple[str, ...]:
    """Returns the first paths that are never captured, as they are shown."""
    return tuple(display_name(joined(path)) for path in excluded[:WAITING_SHOWN_MAX])


def _to_publish(configuration: Configuration, journal: Journal, actor: ActorId) -> ToPublish:
    _, operations = journal.log.outbox_counts()
    segments = journal.log.segments_to_store()
    key = journal.setting("volume_key")
    assert key is not None
    for stored in segments:
        expected = ExpectedSegment(configuration.volume, actor, stored.sequence)
        segment = decode_segment(stored.body, VolumeHasher(key), expected)
        operations += sum(len(each.operations) for each in segment.transactions)
    size_bytes = sum(len(each.body) for each in segments)
    return ToPublish(
        operations,
        len(segments),
        packs=len(journal.chunks.packs_to_store()),
        size_bytes=size_bytes + _spool_size_bytes(configuration.state_dir),
    )


def _spool_size_bytes(state_dir: bytes) -> int:
    """Returns how much lies in the spool. RACE: a pack that is stored meanwhile counts or not."""
    try:
        return sum(entry.stat().st_size for entry in os.scandir(os.path.join(state_dir, b"spool")))
    except FileNotFoundError:
        return 0


def latest_logs(journal: Journal, own_site: str) -> dict[str, ActorLog]:
    """Returns the log of each other site's newest incarnation, by name.

    An actor whose log was not read yet has no name: it goes by the first digits of its id.
    """
    logs: dict[str, list[ActorLog]] = defaultdict(list)
    for log in journal.log.actors():
        if log.site != own_site:
            logs[log.site or log.actor.hex()[:8]].append(log)
    return {
        site: max(of_site, key=lambda log: (log.segment_at_ms, log.actor))
        for site, of_site in sorted(logs.items())
    }


def _other_sites(
    own_site: str, journal: Journal, own: ActorId, seen: Seen
) -> tuple[OtherSite, ...]:
    logs = journal.log.actors()
    stored = journal.setting("applied")
    applied = VersionVector() if stored is None else decode_vector(stored)
    known = journal.log.received()
    for log in logs:
        known = known.join(log.knows)
    written = journal.log.received().counter_of(own)
    found, times, recent = [], seen.written, seen.recent
    for log in latest_logs(journal, own_site).values():
        has_of_ours, we_have = log.applied.counter_of(own), applied.counter_of(log.actor)
        it_lacks = recent.backlog(journal, own, has_of_ours)
        we_lack = recent.backlog(journal, log.actor, we_have)
        found.append(
            OtherSite(
                site=log.site,
                actor=log.actor.hex(),
                last_heard_at_ms=log.heard_at_ms,
                operations_it_lacks=max(0, written - has_of_ours),
                operations_we_lack=max(0, known.counter_of(log.actor) - we_have),
                problem=log.problem,
                behind_since_ms=0 if times is None else times.first_after(has_of_ours),
                size_bytes_it_lacks=None if it_lacks is None else it_lacks.size_bytes,
                size_bytes_we_lack=None if we_lack is None else we_lack.size_bytes,
                oldest_it_lacks="" if it_lacks is None else it_lacks.oldest,
                oldest_we_lack="" if we_lack is None else we_lack.oldest,
            )
        )
    return tuple(found)
