"""Old files: what lay on a machine that was set back, and must not come back over newer ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from conflict.observation import DiskKind
from conflict.operations import NodeId, Put
from conflict.projection import Projection, project
from conflict.version import Dot
from tests.simulation.inode_file_system import Inode
from tests.simulation.ledger import Written, content_of, is_unique
from tests.simulation.published import Log, digest_of
from transport.hashing import VolumeHasher


class OldFiles:
    """Remembers which paths held an older content than the volume had there by then."""

    def __init__(self) -> None:
        self._at: dict[bytes, set[Written]] = defaultdict(set)

    def note(self, tree: Mapping[bytes, Inode], log: Log, hasher: VolumeHasher) -> None:
        """Looks at a disk that was set back, or that was copied from another machine.

        Args:
            tree: all that programs see on it.
            log: what was published by then.
            hasher: of the volume.
        """
        shown = project(log.operations)
        written: dict[tuple[NodeId, bytes], set[Dot]] = defaultdict(set)
        for operation in log.operations:
            if isinstance(operation, Put):
                written[operation.node, operation.content.digest].add(operation.dot)
        for path, inode in tree.items():
            rendered = shown.entries.get(tuple(path.split(b"/")))
            if inode.kind is DiskKind.DIRECTORY or rendered is None or rendered.is_directory:
                continue
            content = (inode.kind, content_of(inode))
            node = rendered.claims[0].node
            dots = written.get((node, digest_of(hasher, *content)), set())
            is_replaced = dots.isdisjoint(shown.states[node].versions)
            if dots and is_replaced and is_unique(content):
                self._at[path].add(content)

    def forget(self, path: bytes) -> None:
        """Notes that a program did something at a path: what comes of that is its own doing."""
        for known in [p for p in self._at if p == path or p.startswith(path + b"/")]:
            del self._at[known]

    def check(self, projection: Projection, hasher: VolumeHasher) -> None:
        """Raises AssertionError where an old content is what the volume has now."""
        for path, contents in self._at.items():
            rendered = projection.entries.get(tuple(path.split(b"/")))
            if rendered is not None and rendered.content is not None:
                digests = {digest_of(hasher, *content): content for content in contents}
                old = digests.get(rendered.content.digest)
                assert old is None, f"the old {old!r} came back at {path!r}"
