"""All hooks of one site: told what happened, they have their programs run, and say what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from conflict.report import Conflict
from geosync.configuration.hook_rules import HookRule, Occasion, Path
from geosync.configuration.volume_configuration import Configuration
from geosync.engine.brake_verdicts import KnownBrake
from geosync.hooks.happenings import ConflictChanges, NewBrakes, SilentSites
from geosync.hooks.hook_input import standard_input, variables
from geosync.hooks.hook_queue import HookQueue, HookRun, Occurrence
from geosync.hooks.hook_runner import HookRunner
from geosync.program_run import run_program
from geosync.reporting.status import OtherSite

Report = Callable[[bytes, str | None], None]  # a subject, and a problem; None: it is over


class Hooks:
    """Used by the control thread; programs run in threads of their own."""

    def __init__(self, configuration: Configuration) -> None:
        rules = configuration.hooks
        self._configuration = configuration
        self._rules = rules
        self._queue = HookQueue(rules)
        self._runner = HookRunner(rules, self._run_program)
        self._conflicts = ConflictChanges()
        self._brakes = NewBrakes()
        self._silences = [SilentSites(seconds) for seconds in _silences(rules)]

    @property
    def are_any(self) -> bool:
        """Tells whether there is anything to run at all."""
        return bool(self._rules)

    def note_arrived(self, paths: Iterable[Path], now_s: float) -> None:
        """Takes in which files other sites' changes were brought to."""
        self._queue.note((Occurrence(Occasion.ARRIVED, path) for path in paths), now_s)

    def note_conflicts(self, conflicts: Iterable[Conflict], now_s: float) -> None:
        """Takes in all conflicts that are open now."""
        self._queue.note(self._conflicts.since(conflicts), now_s)

    def note_brakes(self, brakes: Iterable[KnownBrake], now_s: float) -> None:
        """Takes in all brakes that hold something now."""
        self._queue.note(self._brakes.since(brakes), now_s)

    def note_sites(self, sites: tuple[OtherSite, ...], now_ms: int, now_s: float) -> None:
        """Takes in what is known of the other sites now."""
        for silence in self._silences:
            self._queue.note(silence.since(sites, now_ms), now_s)

    def tend(self, now_s: float, report: Report) -> None:
        """Starts what is due, and tells of programs that failed or work again."""
        for number, failure in self._runner.take_results().items():
            report(b"hook %d" % (number + 1), failure)
        for run in self._queue.due(now_s, self._runner.busy()):
            self._runner.start(run)

    def next_due_s(self) -> float | None:
        """Returns when there is something to tend, None while nothing is gathered."""
        return self._queue.next_due_s()

    def stop(self) -> None:
        """Starts nothing any more."""
        self._runner.stop()

    def _run_program(self, run: HookRun) -> None:
        configuration = self._configuration
        names = (configuration.volume, configuration.site)
        run_program(
            run.hook.command,
            standard_input(run, *names),
            variables(run, *names, configuration.root),
            run.hook.timeout_s,
        )


def _silences(rules: Iterable[HookRule]) -> set[int]:
    occasions = {Occasion.SILENT, Occasion.HEARD}
    return {rule.silent_after_s for rule in rules if occasions & set(rule.occasions)}
