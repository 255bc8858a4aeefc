"""What the operator says of programs that are run when something has happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from conflict.policy import is_match

Path = tuple[bytes, ...]

WAIT_S: Final = 2
TIMEOUT_S: Final = 30
ATTEMPTS: Final = 3
SILENT_AFTER_S: Final = 300


class Occasion(StrEnum):
    """What a program can be run for."""

    ARRIVED = "arrived"  # changes of other sites are on this disk
    CONFLICT = "conflict"  # a conflict appeared
    SETTLED = "settled"  # a conflict is over
    BRAKE = "brake"  # a mass change waits for a person
    SILENT = "silent"  # nothing was heard of a site for long
    HEARD = "heard"  # a site that was silent is heard again


PATH_OCCASIONS: Final = frozenset({Occasion.ARRIVED, Occasion.CONFLICT, Occasion.SETTLED})


class HookInput(StrEnum):
    """What the program reads on its standard input."""

    PATHS = "paths"  # below the root, each ended by a NUL
    JSON = "json"  # one object, see docs/hooks.md


@dataclass(frozen=True, slots=True)
class HookRule:
    """One program, and when it is run.

    Attributes:
        occasions: what it is run for; one run is about one kind of occasion.
        command: the program and its arguments; never given to a shell.
        globs: which paths count, as in CaptureRule; empty for all.
        input: what it reads.
        wait_s: how long a run waits for more of the same, after the last one.
        timeout_s: how long it may take; then it is ended, and has failed.
        attempts: how often a run that fails is tried in all.
        silent_after_s: after how long a site counts as silent.
    """

    occasions: tuple[Occasion, ...]
    command: tuple[str, ...]
    globs: tuple[bytes, ...] = ()
    input: HookInput = HookInput.PATHS
    wait_s: int = WAIT_S
    timeout_s: int = TIMEOUT_S
    attempts: int = ATTEMPTS
    silent_after_s: int = SILENT_AFTER_S

    def concerns(self, occasion: Occasion, path: Path | None) -> bool:
        """Tells whether the program is to hear of it."""
        if occasion not in self.occasions:
            return False
        if path is None or not self.globs:
            return True
        return any(is_match(glob, path) for glob in self.globs)
