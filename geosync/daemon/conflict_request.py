"""What the daemon does for `geosync conflicts`: contents that are handed over, and undoing."""

from __future__ import annotations

from geosync.daemon.control_loop import ControlLoop
from geosync.engine.downloading import ContentUnavailable
from geosync.engine.handed_over import take_over
from geosync.errors import OperatorError
from geosync.reporting.conflict_text import conflict_json
from geosync.reporting.settlement_text import settlement_json

JsonObject = dict[str, object]


def resolution_with(loop: ControlLoop, identity: str, content: str, seen: str | None) -> JsonObject:
    """Settles a conflict by a content that was handed over; see Engine.resolve_with.

    Raises:
        OperatorError: there is no such conflict, it was changed meanwhile, or the content can't
            be taken.
    """
    site = loop.engine.site
    try:
        blocks = take_over(site.state_dir, content)
        conflict = loop.engine.decisions.resolve_with(identity, blocks, seen=seen)
    except OSError as error:
        raise OperatorError(f"the content can't be taken: {error}. Nothing was decided.") from error
    return conflict_json(conflict, site.journal)


def undoing(loop: ControlLoop, identity: str | None) -> JsonObject:
    """Undoes a settlement; `is_done` false: a version is still to come from the store.

    Raises:
        OperatorError: there is none that can be undone, or the spool can't be written.
    """
    try:
        settlement = loop.engine.decisions.undo(identity)
    except ContentUnavailable as error:
        return {"is_done": False, "why": str(error)}
    except OSError as error:
        raise OperatorError(f"the versions can't be kept: {error}. Nothing was changed.") from error
    return {"is_done": True, **settlement_json(settlement)}
