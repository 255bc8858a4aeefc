"""Link times: our change of one name of a file changes the time that its other names show, too.

What is known of those names must follow, or they would look as if a program had changed them.
"""

from __future__ import annotations

from dataclasses import replace

from conflict.observation import Fingerprint
from geosync.journal.journal import Journal


class LinkTimes:
    """Changes of several names, for a journal that is told of all of them at once.

    Else each of a thousand names that go would save all those that stay.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Fingerprint, Fingerprint]] = {}  # handle -> first, last

    def note(self, handle: bytes, before: Fingerprint, after: Fingerprint) -> None:
        """Is told what a change of ours did to an inode, if nobody else has changed it.

        Args:
            handle: of the inode.
            before: what it showed right before; `now` of what the journal has.
            after: what it shows since.
        """
        first, last = self._known.get(handle, (before, before))
        if last == before:
            self._known[handle] = (first, after)

    def now(self, handle: bytes, seen: Fingerprint) -> Fingerprint:
        """Returns what an inode shows now that showed this before our changes."""
        first, last = self._known.get(handle, (seen, seen))
        return last if seen == first else seen

    def forget(self, handle: bytes) -> None:
        """Is told that all names of an inode are saved anew."""
        self._known.pop(handle, None)

    def settle(self, journal: Journal) -> None:
        """Saves what the names that stay show now. Inside a transaction."""
        for handle, (first, last) in self._known.items():
            for entry in journal.synced.entries_of_handle(handle):
                if entry.fingerprint == first:
                    journal.synced.save_entry(replace(entry, fingerprint=last))
        self._known.clear()
