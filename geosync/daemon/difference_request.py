"""What the daemon answers to whoever wants to see how the versions of a conflict differ.

A program of its own compares them: two long texts may take a while and much memory, and neither the
control thread nor the journal is to wait for that.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Final

from geosync.configuration.volume_configuration import Configuration
from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode

COMPARING_S_MAX: Final = 30.0
LINES_MAX: Final = 2000
VERSIONS: Final = ("ancestor", "winner", "loser")

_IDENTITY: Final = re.compile(r"[0-9a-f]+-[0-9]+")


def difference_of(
    configuration: Configuration, identity: str, before: str, after: str
) -> dict[str, object]:
    """Returns `lines`, as `geosync conflicts diff` prints them, and how many were left out.

    Args:
        configuration: of the site.
        identity: of the conflict.
        before: one of VERSIONS.
        after: the same.

    Raises:
        OperatorError: there is no such conflict or version, or it can't be read now.
    """
    if not _IDENTITY.fullmatch(identity) or not {before, after} <= set(VERSIONS):
        raise OperatorError(
            f"no conflict and versions are called so; versions are {', '.join(VERSIONS)}",
            ExitCode.BAD_USAGE,
        )
    words = ["conflicts", "diff", identity, "--from", before, "--to", after]
    source = os.path.abspath(configuration.source)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "geosync", *words, "--config", source],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=COMPARING_S_MAX,
        )
    except subprocess.TimeoutExpired as error:
        text = f"comparing took longer than {COMPARING_S_MAX:.0f} s; type: geosync conflicts diff"
        raise OperatorError(f"{text} {identity}", ExitCode.TIMED_OUT) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="backslashreplace").strip().removeprefix("geosync: ")
        raise OperatorError(said or "the versions could not be compared")
    lines = done.stdout.decode(errors="backslashreplace").splitlines()
    return {"lines": lines[:LINES_MAX], "left_out": max(0, len(lines) - LINES_MAX)}
