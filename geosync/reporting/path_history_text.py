"""The history of a path as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from conflict.operations import MODE, AttributeChanges
from conflict.path_history import Event, Path, What
from conflict.version import ActorId, Dot
from geosync.engine.site import joined
from geosync.terminal import display_moment, display_name, human_size, plain_table

JsonObject = dict[str, object]


def events_json(events: Iterable[Event], sites: Mapping[ActorId, bytes]) -> list[JsonObject]:
    """Returns events as JSON knows them; docs/commands.md tells what the keys mean."""
    return [_event_json(event, sites) for event in events]


def _event_json(event: Event, sites: Mapping[ActorId, bytes]) -> JsonObject:
    content = event.content
    return {
        "what": event.what.value,
        "version": event.dot.label,
        "site": display_name(sites.get(event.dot.actor, b"")),
        "at_ms": event.stamp.time_ms,
        "epoch": event.stamp.epoch,
        "file": event.node.hex(),
        "path": _shown(event.path),
        "path_before": _shown(event.path_before),
        "kind": None if content is None else content.kind.name.lower(),
        "size_bytes": None if content is None else content.size_bytes,
        "content": None if content is None else content.digest.hex(),
        "attributes": [display_name(key) for key, _ in event.attributes],
        "replaced": sorted(dot.label for dot in event.replaced),
        "concurrent": sorted(dot.label for dot in event.concurrent),
    }


def events_table(events: list[Event], sites: Mapping[ActorId, bytes]) -> str:
    """Returns events as a table, oldest first; files are told apart by numbers if there are two."""
    files = list(dict.fromkeys(event.node for event in events))
    rows = []
    for event in events:
        which = f"file {files.index(event.node) + 1}: " if len(files) > 1 else ""
        site = display_name(sites.get(event.dot.actor, b"")) or "unknown site"
        rows.append(
            (display_moment(event.stamp.time_ms), site, event.dot.label, which + _said(event))
        )
    return plain_table(("when", "site", "version", "what happened"), rows)


def _said(event: Event) -> str:
    match event.what:
        case What.CREATED:
            return f"created as {_shown(event.path)}"
        case What.LINKED:
            return f"got one more name, {_shown(event.path)}"
        case What.RENAMED:
            return f"renamed from {_shown(event.path_before)} to {_shown(event.path)}"
        case What.WRITTEN:
            return _written(event)
        case What.ATTRIBUTES:
            return f"set {_attributes(event.attributes)}"
        case What.DELETED:
            return f"name {_shown(event.path)} deleted"
        case What.SETTLED:
            return f"conflict settled: {_names(event.replaced)} no longer wanted"


def _written(event: Event) -> str:
    assert event.content is not None
    size = human_size(event.content.size_bytes)
    said = f"written, {size}" if event.content.target == b"" else "symlink made"
    if event.replaced:
        said += f", in place of {_names(event.replaced)}"
    if event.concurrent:
        said += f"; beside {_names(event.concurrent)}: a conflict"
    return said


def _attributes(attributes: AttributeChanges) -> str:
    said = []
    for key, value in attributes:
        if key == MODE and isinstance(value, int):
            said.append(f"mode {value:04o}")
        else:
            said.append(display_name(key))
    return ", ".join(said)


def _names(dots: Iterable[Dot]) -> str:
    return ", ".join(sorted(dot.label for dot in dots))


def _shown(path: Path | None) -> str:
    return "a name that is not known any more" if path is None else display_name(joined(path))
