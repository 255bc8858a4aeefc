"""What `geosync verify --repair` asks of a daemon, as JSON, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from geosync.engine.mending import Mending, MendingProgress
from geosync.engine.site import joined, split

CHUNKS_MAX: Final = 2000
FILES_MAX: Final = 100
SEGMENTS_MAX: Final = 10_000
"""Of one request, which then is short enough for the control socket."""

JsonObject = dict[str, Any]


def mending_requests(mending: Mending) -> Iterator[JsonObject]:
    """Yields the requests that together ask for all of it."""
    chunks, segments, files = (
        iter(mending.chunks.items()),
        iter(mending.segments),
        iter(mending.files),
    )
    while True:
        some = list(islice(chunks, CHUNKS_MAX))
        request = {
            "chunks": [[digest.hex(), sorted(packs)] for digest, packs in some],
            "segments": list(islice(segments, SEGMENTS_MAX)),
            "files": [joined(path).hex() for path in islice(files, FILES_MAX)],
        }
        if not any(request.values()):
            return
        yield request


def mending_of(request: JsonObject) -> Mending:
    """Reads a request. Raises ValueError, TypeError, KeyError: it is none."""
    return Mending(
        chunks={
            bytes.fromhex(digest): frozenset(map(str, packs)) for digest, packs in request["chunks"]
        },
        segments=[int(sequence) for sequence in request["segments"]],
        files=[split(bytes.fromhex(path)) for path in request["files"]],
    )


def progress_json(progress: MendingProgress) -> JsonObject:
    """Returns what is told of the progress; docs/commands.md tells what the keys mean."""
    return {
        "left": progress.left,
        "supplied_chunks": progress.supplied,
        "wanted_chunks": progress.wanted,
        "segments": progress.segments,
        "files": progress.files,
        "failed": [{"subject": name, "reason": reason} for name, reason in progress.failed],
    }
