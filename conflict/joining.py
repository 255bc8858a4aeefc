"""Joining: what a directory that was there before stands for, in a volume that was there before.

A site without a journal can't tell what happened on its disk. So nothing is inferred: what lies
at a name is what the volume has there, or what it once had there, or a version that nobody knows,
which is kept beside the volume's own. Nothing is taken for deleted, and no old file wins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from conflict.checkpoint import PastVersion
from conflict.content import Content
from conflict.merged_tree import NodeStore, directories_at, path_of
from conflict.node import NodeState
from conflict.operations import NOTHING, ROOT, Context, LinkId, NodeId
from conflict.policy import policy_of
from conflict.rendering import Claim, Rendered, claimants_at, render
from conflict.synced import Path


@dataclass(frozen=True, slots=True)
class Known:
    """The volume has, or had, just this: it is no news."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """The volume has another file there, and never had this content."""

    claim: Claim


class Recognition:
    """Compares what lies on a disk with a volume and its history."""

    def __init__(
        self, nodes: NodeStore, states: Iterable[NodeState], past: Iterable[PastVersion]
    ) -> None:
        """Reads the history.

        Args:
            nodes: the merged tree.
            states: of all its nodes, also of those that are gone, sorted by identity.
            past: contents that files had before they were replaced.
        """
        self._nodes = nodes
        versions: dict[tuple[NodeId, bytes], Context] = defaultdict(lambda: NOTHING)
        self._gone: dict[Path, list[Claim]] = defaultdict(list)
        for version in past:
            versions[version.node, version.digest] |= {version.dot}
        for state in states:
            for current in state.versions.values():
                versions[state.node, current.content.digest] |= {current.dot}
            for link in sorted(state.links.keys() - state.presence().keys()):
                self._note_gone(state, link)
        self._versions = dict(versions)
        self._digests = {digest for _, digest in versions}

    def _note_gone(self, state: NodeState, link: LinkId) -> None:
        location = state.location if state.is_directory else state.links[link].location
        if location is not None:
            self._gone[path_of(self._nodes, location)].append(Claim(state.node, link, NOTHING))

    def knows(self, content: Content) -> bool:
        """Tells whether any file of the volume ever had this content."""
        return content.digest in self._digests

    def directory(self, path: Path) -> Known | None:
        """Recognises a directory; one that the volume has no more lives on if it holds news."""
        wanted = self._wanted(path)
        if wanted.is_directory:
            return Known(wanted.claims)
        gone = [claim for claim in self._gone.get(path, ()) if self._is_directory(claim)]
        return Known((gone[-1],)) if gone and not wanted.claims else None

    def file(self, path: Path, content: Content) -> Known | Beside | None:
        """Recognises a file; None: the volume knows nothing of the kind."""
        wanted = self._wanted(path)
        if wanted.content is not None and wanted.content.digest == content.digest:
            return Known(wanted.claims)
        copies = (claim for copy in wanted.copies for claim in copy.claims)
        gone = (claim for claim in self._gone.get(path, ()) if not self._is_directory(claim))
        for claim in (*wanted.claims, *copies, *gone):
            versions = self._versions.get((claim.node, content.digest))
            if versions:
                return Known((replace(claim, content_dots=versions, is_sibling=False),))
        if wanted.content is not None:
            return Beside(replace(wanted.claims[0], content_dots=NOTHING))
        return None

    def _wanted(self, path: Path) -> Rendered:
        together = directories_at(self._nodes, path[:-1])
        claimants = claimants_at(self._nodes, together, path[-1])
        policy = policy_of(self._nodes.node(ROOT))
        return render(path[-1], claimants, policy, policy.rule_for(path))

    def _is_directory(self, claim: Claim) -> bool:
        state = self._nodes.node(claim.node)
        return state is not None and state.is_directory


class PartialRecognition(Recognition):
    """Recognises what is at some names; what else is new on the disk is new."""

    def __init__(self, recognition: Recognition, is_meant: Callable[[Path], bool]) -> None:
        """Takes what the whole disk could be recognised by, and what tells which names."""
        self._all = recognition
        self._is_meant = is_meant

    def directory(self, path: Path) -> Known | None:
        """See Recognition."""
        return self._all.directory(path) if self._is_meant(path) else None

    def file(self, path: Path, content: Content) -> Known | Beside | None:
        """See Recognition."""
        return self._all.file(path, content) if self._is_meant(path) else None


class LateRecognition(PartialRecognition):
    """Recognises files that could not be read while everything else was recognised.

    Attributes:
        files: where they are.
    """

    def __init__(self, recognition: Recognition, files: Iterable[Path]) -> None:
        """Takes what the whole disk was recognised by, and where that was not possible."""
        self.files = frozenset(files)
        super().__init__(recognition, self.files.__contains__)

    def directory(self, path: Path) -> Known | None:  # noqa: ARG002 - see Recognition
        """See Recognition: all directories were seen."""
        return None

    def among(self, files: Iterable[Path]) -> LateRecognition | None:
        """Returns what is left of it for these files; None: nothing."""
        left = self.files.intersection(files)
        return LateRecognition(self._all, left) if left else None
