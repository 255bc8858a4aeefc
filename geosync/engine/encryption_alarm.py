"""The encryption alarm: many files whose contents compressed are replaced by some that don't.

That is what a program does that encrypts a disk for ransom, whether it overwrites the files or
writes new ones beside them, with a suffix of its own, and deletes the old ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from conflict.brakes import BrakeKind, looks_encrypted, reason_of_encryption
from conflict.content import Content
from conflict.prospect import Prospect
from conflict.synced import EntryId, Path, SyncedEntry, entry_at_path
from geosync.engine.intake import Intake
from geosync.engine.site import Site
from geosync.event_log import event_logger
from geosync.terminal import display_name

TOLD_FOR_S: Final = 86_400
_COMPRESSORS: Final = frozenset(b"gz bz2 xz zst lz4 br zip 7z tgz Z".split())
_SUBJECT: Final = b"encryption"
_log = event_logger(__name__)
Suspects = dict[EntryId, bytes]


class EncryptionAlarm:
    """Looks at contents as they are captured; counts within the window of the brakes."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._told_s: float | None = None
        if any(problem.subject == _SUBJECT for problem in site.journal.problems()):
            self._told_s = site.clock.monotonic_s()

    def suspects(self, found: Prospect, fresh: Collection[EntryId], intake: Intake) -> Suspects:
        """Returns the files that look encrypted, and the suffix that their names got.

        Args:
            found: what is about to be captured.
            fresh: of what was replaced: what was not looked at before.
            intake: which has the new contents.
        """
        pairs: list[tuple[SyncedEntry, Path, Content]] = [
            (known, now_at, content)
            for entry, (known, now_at, content) in found.replaced.items()
            if entry in fresh
        ]
        pairs += self._beside(found)
        return {
            known.entry: _suffix(known.name, now_at[-1])
            for known, now_at, content in pairs
            if known.content is not None
            and looks_encrypted(intake.stored_share(known.content), intake.stored_share(content))
        }

    def _beside(self, found: Prospect) -> Iterator[tuple[SyncedEntry, Path, Content]]:
        """Yields files beside which a new one has appeared that has a further suffix."""
        for path, content in found.created.items():
            name, _, suffix = path[-1].rpartition(b".")
            if not name or suffix in _COMPRESSORS:
                continue
            known = entry_at_path(self._site.journal.synced, (*path[:-1], name))
            if known is not None and known.content is not None:
                yield known, path, content

    def reason(self, suspects: Suspects) -> str | None:
        """Returns why to raise the alarm, with what was seen within the window; None: no need."""
        limits = self._site.brake_limits
        if not suspects:
            return None
        since_ms = self._site.now_ms() - limits.window_s * 1000
        before = self._site.journal.brakes.passed(BrakeKind.ENCRYPTION, since_ms, suspects)
        suffixes = set(suspects.values())
        suffix = suffixes.pop() if len(suffixes) == 1 else b""
        shown = display_name(suffix) if suffix else ""
        return reason_of_encryption(limits, before.count + len(suspects), shown)

    def tell(self, reason: str) -> None:
        """Raises the alarm, once until it is over."""
        is_new = self._told_s is None
        self._told_s = self._site.clock.monotonic_s()
        if is_new:
            _log.error("encryption_suspected", reason=reason)
            self._site.report(
                _SUBJECT,
                f"{reason}. If nobody meant that: disconnect this machine and look at its"
                " processes. The contents as they were before are in the volume's store. This"
                " stays told for a day.",
            )

    def tend(self) -> None:
        """Takes the alarm back a day after the last file."""
        now_s = self._site.clock.monotonic_s()
        if self._told_s is not None and now_s - self._told_s >= TOLD_FOR_S:
            self._told_s = None
            self._site.report(_SUBJECT, None)


def _suffix(before: bytes, now: bytes) -> bytes:
    return now[len(before) :] if now.startswith(before) else b""
