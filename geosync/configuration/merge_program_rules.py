"""What the operator says of programs that merge concurrent versions of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class MergeProgram:
    """One program.

    Attributes:
        command: the program and its arguments; never given to a shell.
        timeout_s: how long it may take; then it is ended, and has failed.
    """

    command: tuple[str, ...]
    timeout_s: int = TIMEOUT_S
