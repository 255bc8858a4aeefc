"""Errors that end a command: their text is for the operator, their exit code for the shell."""

from collections.abc import Sequence
from dataclasses import dataclass

from conflict.errors import GeosyncError
from geosync.exit_codes import ExitCode


class OperatorError(GeosyncError):
    """A command or the daemon cannot go on, and the operator can do something about it.

    Attributes:
        exit_code: what the process returns to the shell when nothing catches the error.
    """

    def __init__(self, text: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class StateUnusable(OperatorError):
    """The state directory can't be read or written now: full, read-only, a failing disk.

    Nothing that was committed is lost, and all goes on once the disk is mended.
    """


@dataclass(frozen=True, slots=True)
class ConfigurationProblem:
    """One thing that is wrong in a configuration; all four texts are shown to the operator."""

    key: str
    found: str
    expected: str
    remedy: str


class ConfigurationError(OperatorError):
    """A configuration breaks one or more rules; it carries all of them, not just the first.

    Attributes:
        problems: every problem found, in the order in which they are listed in the text.
    """

    def __init__(self, source: str, problems: Sequence[ConfigurationProblem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        listed = "\n".join(
            _numbered(number, problem) for number, problem in enumerate(self.problems, start=1)
        )
        super().__init__(f"{source}: {count} in the configuration\n{listed}", ExitCode.BAD_USAGE)


def _numbered(number: int, problem: ConfigurationProblem) -> str:
    label = f"{number:>3}. "
    indent = " " * len(label)
    return "\n".join(
        (
            f"{label}{problem.key}",
            f"{indent}found:    {problem.found}",
            f"{indent}expected: {problem.expected}",
            f"{indent}to do:    {problem.remedy}",
        )
    )
