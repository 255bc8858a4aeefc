"""What the demonstration tells: numbered steps in plain words, and a table at the end."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from geosync.terminal import escape_unprintable, human_duration, human_size, plain_table

_INDENT = "   "
_WIDTH = 88


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one part of a step took, and what went over the lines of all sites meanwhile."""

    what: str
    took_s: float
    sent_bytes: int
    received_bytes: int


class Narrator:
    """Writes to a stream line by line, so that somebody can follow."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._steps = 0
        self.measurements: list[Measurement] = []

    def step(self, title: str) -> None:
        """Begins a numbered step."""
        self._steps += 1
        self._write(f"\n{self._steps}. {title}")

    def say(self, text: str) -> None:
        """Tells one thing, wrapped and indented below its step."""
        plain = escape_unprintable(text)
        self._write(textwrap.fill(plain, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT))

    def quote(self, command: str, output: str) -> None:
        """Shows a command and what it printed."""
        lines = [f"$ {command}", *output.rstrip("\n").split("\n")]
        self._write(
            "\n".join(f"{_INDENT}  | {escape_unprintable(line)}".rstrip() for line in lines)
        )

    def measured(self, measurement: Measurement) -> None:
        """Tells what something took, and keeps it for the table."""
        self.measurements.append(measurement)
        self.say(
            f"{measurement.what}: {human_duration(measurement.took_s)},"
            f" {human_size(measurement.sent_bytes)} sent,"
            f" {human_size(measurement.received_bytes)} received"
        )

    def table(self, title: str) -> None:
        """Shows all that was measured, below an empty line and a title."""
        self._write(f"\n{title}\n")
        rows: list[Sequence[str]] = [
            (
                each.what,
                human_duration(each.took_s),
                human_size(each.sent_bytes),
                human_size(each.received_bytes),
            )
            for each in self.measurements
        ]
        headers = ("what", "took", "sent", "received")
        self._write(plain_table(headers, rows, right_aligned=headers[1:]))

    def conclude(self, text: str) -> None:
        """Tells something at the left margin, after an empty line; lines stay as they are."""
        self._write(f"\n{text}")

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()
