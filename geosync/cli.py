"""The command line: finds the command, runs it, and turns every error into text and exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from conflict.errors import GeosyncError
from geosync.commands.command_parser import command_parser
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode

UNKNOWN_STATE: Final = 3  # of `geosync check`; see geosync.reporting.check_text.CheckState


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Raises:
        SystemExit: with code 2 for a wrong command line (3 for `check`), with 0 after --help.
    """
    arguments = _parsed(sys.argv[1:] if argv is None else argv)
    try:
        # Imported now: most commands need a few modules only.
        command = importlib.import_module(f"geosync.commands.{arguments.command}_command")
        return int(command.run(arguments))
    except GeosyncError as error:
        print(f"geosync: {error}", file=sys.stderr)
        return int(_exit_code(error))
    except KeyboardInterrupt:
        print("geosync: interrupted", file=sys.stderr)
        return int(ExitCode.FAILED)
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.FAILED)


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser()
    try:
        arguments, rest = parser.parse_known_args(argv)
        if arguments.command == "demo":
            arguments.rest = rest
        elif rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
    except SystemExit as ending:
        if ending.code == ExitCode.BAD_USAGE and argv[:1] == ["check"]:
            raise SystemExit(UNKNOWN_STATE) from ending  # 2 would be CRITICAL
        raise
    return arguments


def _exit_code(error: GeosyncError) -> ExitCode:
    if isinstance(error, OperatorError):
        return error.exit_code
    from transport.errors import InvalidCredentials  # noqa: PLC0415 - needed here only

    is_configuration = isinstance(error, InvalidCredentials)
    return ExitCode.BAD_USAGE if is_configuration else ExitCode.FAILED
