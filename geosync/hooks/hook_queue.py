"""Which program is due when: occurrences are gathered until no more of the same come."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from geosync.configuration.hook_rules import HookRule, Occasion, Path

GATHERED_FOR_AT_MOST: Final = 10  # times `wait_s`: a stream of changes does not put a run off
OCCURRENCES_MAX: Final = 100_000  # of one run; beyond, its paths are left out, and it says so


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened.

    Attributes:
        occasion: of which kind.
        path: of the file concerned; None where it is about none.
        facts: more of it, for programs that read JSON.
    """

    occasion: Occasion
    path: Path | None = None
    facts: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HookRun:
    """One run of a program.

    Attributes:
        number: of the hook, in the order of the configuration, from 0.
        hook: what is run.
        occasion: the kind of all its occurrences.
        occurrences: in the order in which they happened; each once.
        is_cut: whether there were too many to name them all.
    """

    number: int
    hook: HookRule
    occasion: Occasion
    occurrences: tuple[Occurrence, ...]
    is_cut: bool = False


@dataclass(slots=True)
class _Gathering:
    first_s: float
    last_s: float
    occurrences: dict[object, Occurrence] = field(default_factory=dict)
    is_cut: bool = False

    def due_s(self, wait_s: int) -> float:
        return min(self.last_s + wait_s, self.first_s + GATHERED_FOR_AT_MOST * wait_s)


class HookQueue:
    """Gathers occurrences for each program. Times are of one monotonic clock, in seconds."""

    def __init__(self, hooks: Iterable[HookRule]) -> None:
        self._hooks = tuple(hooks)
        self._gathered: dict[tuple[int, Occasion], _Gathering] = {}

    def note(self, occurrences: Iterable[Occurrence], now_s: float) -> None:
        """Takes in what happened."""
        for occurrence in occurrences:
            for number, hook in enumerate(self._hooks):
                if hook.concerns(occurrence.occasion, occurrence.path):
                    self._gather((number, occurrence.occasion), occurrence, now_s)

    def due(self, now_s: float, busy: Collection[int] = ()) -> list[HookRun]:
        """Takes out the runs for which nothing more is waited, one for each program.

        Args:
            now_s: the time.
            busy: numbers of the hooks whose programs run still; theirs go on being gathered.
        """
        runs: dict[int, HookRun] = {}
        for (number, occasion), gathering in list(self._gathered.items()):
            hook = self._hooks[number]
            is_free = number not in busy and number not in runs
            if is_free and now_s >= gathering.due_s(hook.wait_s):
                del self._gathered[number, occasion]
                gathered = tuple(gathering.occurrences.values())
                runs[number] = HookRun(number, hook, occasion, gathered, gathering.is_cut)
        return list(runs.values())

    def next_due_s(self) -> float | None:
        """Returns when the next run is due; None while nothing is gathered."""
        return min(
            (
                gathering.due_s(self._hooks[number].wait_s)
                for (number, _), gathering in self._gathered.items()
            ),
            default=None,
        )

    def _gather(self, key: tuple[int, Occasion], occurrence: Occurrence, now_s: float) -> None:
        gathering = self._gathered.setdefault(key, _Gathering(now_s, now_s))
        gathering.last_s = now_s
        identity = (occurrence.path, *sorted(occurrence.facts.items()))
        gathering.occurrences.pop(identity, None)
        if len(gathering.occurrences) < OCCURRENCES_MAX:
            gathering.occurrences[identity] = occurrence
        else:
            gathering.is_cut = True
