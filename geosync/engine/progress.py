"""Progress: how far a site is with work that takes long, such as bringing or sending files.

The control thread notes it; other threads may look at any time, since `now` is replaced whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

_MEASURED_S_MIN: Final = 0.5  # a rate of less time says nothing


class Stage(Enum):
    """What takes long."""

    READING = "reading the history"
    COMPARING = "comparing the disk"
    BRINGING = "bringing files"
    SENDING = "sending large files"


@dataclass(frozen=True, slots=True)
class Advance:
    """How far one stage is.

    Attributes:
        done: operations read, names looked at, or files brought or sent.
        total: as far as it is known now; None: it is not known.
        bytes_done: of contents brought or sent.
        bytes_total: of contents to be brought or sent.
        lasts_s: since the stage began.
        done_before: what was done before it began.
    """

    stage: Stage
    done: int = 0
    total: int | None = None
    bytes_done: int = 0
    bytes_total: int = 0
    lasts_s: float = 0.0
    done_before: int = 0

    @property
    def rate(self) -> float | None:
        """How many are done in a second; None: it can't be told yet."""
        return self._rate(self.done - self.done_before)

    @property
    def bytes_rate(self) -> float | None:
        """How many bytes are brought in a second; None as above."""
        return self._rate(self.bytes_done)

    @property
    def share(self) -> float | None:
        """Which part of it is done, 0 to 1; None: that is not known."""
        done, total = self.done, self.total
        if self.bytes_total:
            done, total = self.bytes_done, self.bytes_total
        return None if not total else min(1.0, done / total)

    @property
    def left_s(self) -> float | None:
        """How long it still takes if it goes on like this; None: that can't be told.

        What is slower decides: many small files, or much to transfer.
        """
        if self.total is None:
            return None
        left = [_left_s(self.total - self.done, self.rate)]
        if self.bytes_total:
            left.append(_left_s(self.bytes_total - self.bytes_done, self.bytes_rate))
        known = [each for each in left if each is not None]
        # Of large files the bytes tell enough, before the first one is done.
        is_enough = len(known) == len(left) or (self.bytes_total and left[-1] is not None)
        return max(known) if is_enough else None

    def _rate(self, done: int) -> float | None:
        return done / self.lasts_s if done and self.lasts_s >= _MEASURED_S_MIN else None


def _left_s(count: int, rate: float | None) -> float | None:
    if count <= 0:
        return 0.0
    return None if rate is None else count / rate


class Progress:
    """Notes how far everything is.

    Attributes:
        now: what is under way; None: nothing that takes long.
        listener: is called in the control thread after each step.
    """

    def __init__(self) -> None:
        self.now: Advance | None = None
        self.listener: Callable[[Advance], None] = _nobody
        self._began_s = 0.0
        self._began_at = 0

    def note_reading(self, done: int, total: int, now_s: float) -> None:
        """Notes how many operations of the volume are read, of those that are known."""
        self._note(Advance(Stage.READING, done, max(done, total)), now_s, done)

    def note_comparing(self, looked_at: int, expected: Callable[[], int], now_s: float) -> None:
        """Notes at how many more names of the disk was looked.

        Args:
            looked_at: so many.
            expected: tells how many names the volume has; the disk may have fewer, or more: then
                nobody knows how many are left.
            now_s: monotonic.
        """
        found = self.now if self.now is not None and self.now.stage is Stage.COMPARING else None
        advance = found or Advance(Stage.COMPARING, total=expected() or None)
        done = advance.done + looked_at
        total = advance.total if advance.total is not None and advance.total >= done else None
        self._note(replace(advance, done=done, total=total), now_s, 0)

    def note_planned(self, files: int, size_bytes: int, now_s: float) -> None:
        """Notes that so much is left to be brought."""
        found = self.now if self.now is not None and self.now.stage is Stage.BRINGING else None
        if found is None and not files:
            return
        advance = found or Advance(Stage.BRINGING)
        planned = replace(
            advance, total=advance.done + files, bytes_total=advance.bytes_done + size_bytes
        )
        self._note(planned, now_s, 0)

    def note_brought(self, files: int, size_bytes: int, now_s: float) -> None:
        """Notes that files, or parts of one, were brought; nothing unless that is under way."""
        found = self.now
        if found is not None and found.stage is Stage.BRINGING:
            brought = replace(
                found, done=found.done + files, bytes_done=found.bytes_done + size_bytes
            )
            self._note(brought, now_s, 0)

    def note_sending(self, files_left: int, bytes_left: int, now_s: float) -> None:
        """Notes how many large files are left to be sent; nothing if another stage is under way."""
        found = self.now
        if found is None:
            found = Advance(Stage.SENDING, total=files_left, bytes_total=bytes_left)
        if found.stage is not Stage.SENDING:
            return
        total = max(found.total or 0, found.done + files_left)
        bytes_total = max(found.bytes_total, found.bytes_done + bytes_left)
        sending = Advance(
            Stage.SENDING, total - files_left, total, bytes_total - bytes_left, bytes_total
        )
        self._note(sending, now_s, 0)

    def end(self, stage: Stage) -> None:
        """Notes that a stage is over; nothing if another one is under way."""
        if self.now is not None and self.now.stage is stage:
            self.now = None

    def _note(self, advance: Advance, now_s: float, began_at: int) -> None:
        if self.now is None or self.now.stage is not advance.stage:
            self._began_s, self._began_at = now_s, began_at
        lasts_s = max(0.0, now_s - self._began_s)
        self.now = replace(advance, lasts_s=lasts_s, done_before=self._began_at)
        self.listener(self.now)


def _nobody(_advance: Advance) -> None:
    """Nobody listens."""
