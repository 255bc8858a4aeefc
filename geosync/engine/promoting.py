"""Promoting: whether this site may become the primary, and what it would do without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from conflict.epochs import Tenure
from conflict.merged_tree import directories_at
from conflict.operations import ROOT
from conflict.policy import policy_of
from conflict.rendering import claimants_at, render
from conflict.synced import Path, entry_at_path
from geosync.engine.applying import Applier
from geosync.engine.failover import Failover, lacking, operations_before, require_failover
from geosync.engine.role import DEMOTING, PRIMARY, YIELDING
from geosync.engine.roles import succession_of
from geosync.engine.site import Site, split
from geosync.errors import OperatorError


class PromotionState(StrEnum):
    """How far a promotion is."""

    DONE = "done"
    HELD = "held"  # another site is the primary, and has not been demoted as far as we know
    LACKING = "lacking"  # what the primary before wrote is not all on this disk yet


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of an attempt, and what was not on this disk at that moment."""

    state: PromotionState
    number: int  # of the epoch that counts now; 0: none
    before: Tenure | None  # the epoch before that; None: there was none
    operations: int = 0  # that we know of and have not applied
    size_bytes: int = 0  # of the files that these are about, as far as we know them
    paths: tuple[Path, ...] = ()
    heard_ms_ago: int | None = None  # the last segment of the primary before; None: never
    drifted: tuple[Path, ...] = ()  # of the paths, those that programs changed on this disk


def promote(site: Site, failover: Failover, applier: Applier, *, is_forced: bool) -> Promotion:
    """Makes the site the primary if nothing is lost by that, or if it is forced to be.

    Raises:
        OperatorError: this site can't be the primary now.
    """
    require_failover(site.role)
    known = succession_of(site.journal)
    current = known.current
    if site.role is PRIMARY and current is not None:
        return Promotion(PromotionState.DONE, current.number, None)
    if site.role in (DEMOTING, YIELDING):
        raise OperatorError(
            f"this site is a {site.role.name}: it still writes down what programs did here."
            " Nothing was changed. Wait a moment, and try again."
        )
    state = PromotionState.DONE
    if current is not None and current.barrier is None:
        state = PromotionState.HELD
    elif current is not None and current.barrier is not None:
        is_there = not operations_before(site, current.barrier)
        state = PromotionState.DONE if is_there else PromotionState.LACKING
    lack = lacking(site, known)
    paths = tuple(applier.waiting())
    found = Promotion(
        state=state,
        number=current.number if current is not None else 0,
        before=current,
        operations=lack.operations,
        size_bytes=sum(_size_bytes(site, path) for path in paths),
        paths=paths,
        heard_ms_ago=lack.heard_ms_ago,
        drifted=_drifted(site, paths),
    )
    if state is not PromotionState.DONE and not is_forced:
        return found
    tenure = failover.claim()
    return replace(found, state=PromotionState.DONE, number=tenure.number)


def _drifted(site: Site, paths: Iterable[Path]) -> tuple[Path, ...]:
    """Returns which of these wait because of what programs did here."""
    known = {split(drift.path) for drift in site.journal.drift.all()}
    return tuple(path for path in paths if any(path[:end] in known for end in range(len(path) + 1)))


def _size_bytes(site: Site, path: Path) -> int:
    """Returns how much the volume has at a path that is not on this disk."""
    nodes = site.journal.nodes
    policy = policy_of(nodes.node(ROOT))
    claimants = claimants_at(nodes, directories_at(nodes, path[:-1]), path[-1])
    wanted = render(path[-1], claimants, policy, policy.rule_for(path)).content
    here = entry_at_path(site.journal.synced, path)
    if wanted is None or (here is not None and here.content == wanted):
        return 0
    return wanted.size_bytes
