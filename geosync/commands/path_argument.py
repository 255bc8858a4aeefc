"""A path that somebody gave to a command, as the volume knows it."""

from __future__ import annotations

import os

from conflict.errors import MalformedValueError
from conflict.operations import check_name
from conflict.synced import Path
from geosync.configuration.volume_configuration import Configuration
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode


def volume_path(configuration: Configuration, text: str) -> Path:
    """Takes a path below the root apart; it may have the root before it, as shells complete it.

    Raises:
        OperatorError: it is the root itself, or outside of it.
    """
    given = os.fsencode(text)
    if given.startswith(b"/"):
        given = os.path.normpath(given)
        if not given.startswith(configuration.root.rstrip(b"/") + b"/"):
            raise _refused(text, f"it is not below the root, {os.fsdecode(configuration.root)}")
        given = given[len(configuration.root.rstrip(b"/")) + 1 :]
    names = tuple(name for name in given.split(b"/") if name not in (b"", b"."))
    if not names:
        raise _refused(text, "it is the root itself")
    for name in names:
        try:
            check_name(name)
        except MalformedValueError as error:
            raise _refused(text, str(error)) from error
    return names


def _refused(text: str, found: str) -> OperatorError:
    return OperatorError(
        f"{text!r} is no path of the volume: {found}. Give a path below the root.",
        ExitCode.BAD_USAGE,
    )
