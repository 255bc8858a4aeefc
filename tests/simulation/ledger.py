"""The ledger: what applications wrote, and what they themselves did away with.

It knows nothing of the daemon. Whatever was written and never overwritten or removed by anybody
must be visible in the end: in the tree, or as a conflict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from conflict.observation import DiskKind
from tests.simulation.inode_file_system import Inode

Written = tuple[DiskKind, bytes]  # bytes of a file, or target of a symlink
Tree = Mapping[bytes, Inode]
_SIGNATURE = b" by "


class Ledger:
    """Compares what an application sees before and after each of its own actions.

    Attributes:
        written: every content that ever was on a disk by an application's hand, and who wrote it.
        ended: contents of which an application took a name away, or that a disaster took.
    """

    def __init__(self) -> None:
        self.written: dict[Written, str] = {}
        self.ended: set[Written] = set()
        self._number = 0

    def fresh(self, site: str) -> bytes:
        """Returns a content that nobody has written before."""
        self._number += 1
        return b"%d%s%s." % (self._number, _SIGNATURE, site.encode())

    def note(self, site: str, before: Tree, after: Tree) -> None:
        """Notes what an application did to a tree."""
        for content in _names_of_contents(after):
            self.written.setdefault(content, site)
        self.ended.update(taken(before, after))

    def note_lost(self, contents: Iterable[Written]) -> None:
        """Notes what a power cut or another disaster took that nobody had captured."""
        self.ended.update(contents)

    def note_unseen(self, site: str, overwritten: Written, inode: Inode) -> None:
        """Notes a write to a file without a name in the tree; it counts while it has one elsewhere.

        What the program overwrote there, it did away with itself.
        """
        written = (inode.kind, inode.content)
        self.ended.add(overwritten)
        self.written.setdefault(written, site)
        if inode.link_count == 0:
            self.ended.add(written)

    def standing(self) -> dict[Written, str]:
        """Returns the contents that must be visible: unique ones that nobody did away with."""
        return {
            content: site
            for content, site in self.written.items()
            if content not in self.ended and is_unique(content)
        }


def taken(before: Tree, after: Tree) -> set[Written]:
    """Returns the contents that have fewer names than before."""
    had, has = _names_of_contents(before), _names_of_contents(after)
    return {content for content, count in had.items() if has[content] < count}


def is_unique(content: Written) -> bool:
    """Tells whether nobody else ever wrote the same."""
    return _SIGNATURE in content[1]


def content_of(inode: Inode) -> bytes:
    """Returns what a file holds, or where a symlink leads."""
    return inode.target if inode.kind is DiskKind.SYMLINK else inode.content


def _names_of_contents(tree: Tree) -> Counter[Written]:
    return Counter(
        (inode.kind, content_of(inode))
        for inode in tree.values()
        if inode.kind in (DiskKind.REGULAR, DiskKind.SYMLINK)
    )
