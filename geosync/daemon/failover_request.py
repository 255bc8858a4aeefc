"""What `geosync promote` and `geosync demote` are told by the daemon, as JSON."""

from __future__ import annotations

from typing import Final

from geosync.daemon.control_loop import ControlLoop
from geosync.engine.promoting import Promotion, PromotionState
from geosync.engine.role import DEMOTING, PRIMARY
from geosync.engine.site import joined
from geosync.reporting.failover_text import failover_json
from geosync.reporting.status import waiting_paths
from geosync.terminal import display_name
from transport.errors import OperationUnderWay

PATHS_MAX: Final = 1000

JsonObject = dict[str, object]


def demotion(loop: ControlLoop, *, begins: bool) -> JsonObject:
    """Begins to demote this site, or tells how far that is. Raises OperatorError."""
    engine = loop.engine
    if begins:
        engine.demote()
    is_released = engine.site.role not in (PRIMARY, DEMOTING)
    waiting = {} if is_released else engine.waiting()
    error = loop.last_cycle.store_error
    return {
        "is_released": is_released,
        "is_done": is_released and not engine.has_to_publish(),
        "waiting_count": len(waiting),
        "waiting": [{"path": each.path, "reason": each.reason} for each in waiting_paths(waiting)],
        "store_error": None if error is None or _is_under_way(error) else str(error),
    }


def promotion(loop: ControlLoop, *, is_forced: bool) -> JsonObject:
    """Promotes this site if it may be, and tells what it lacks. Raises OperatorError."""
    return promotion_json(loop.engine.promote(is_forced=is_forced), loop.engine.site.name)


def promotion_json(found: Promotion, site: str) -> JsonObject:
    """Returns what became of an attempt; docs/commands.md tells what the keys mean."""
    before = found.before
    return {
        "site": site,
        "is_done": found.state is PromotionState.DONE,
        "state": found.state.value,
        "number": found.number,
        "before": None if before is None else before.site,
        "is_before_released": before is None or before.barrier is not None,
        "operations": found.operations,
        "size_bytes": found.size_bytes,
        "path_count": len(found.paths),
        "paths": [display_name(joined(path)) for path in found.paths[:PATHS_MAX]],
        "drifted_count": len(found.drifted),
        "drifted": [display_name(joined(path)) for path in found.drifted[:PATHS_MAX]],
        "heard_s_ago": None if found.heard_ms_ago is None else found.heard_ms_ago / 1000,
    }


def failover_report(loop: ControlLoop) -> JsonObject:
    """Returns who is the primary, and what was written late."""
    return failover_json(loop.engine.site.journal, loop.engine.conflicts())


def _is_under_way(error: Exception) -> bool:
    return isinstance(error, OperationUnderWay)
