"""Tokens for read-your-writes: what was written at a site up to a moment, as one word of text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode

TOKEN_LENGTH_MAX: Final = 8192

_PART: Final = re.compile(r"([0-9a-f]{32})-([0-9]{1,19})")


def token_of(barrier: Mapping[str, int]) -> str:
    """Returns the token of a barrier: actors, in hexadecimal, with their last operation.

    Applications keep it, and hand it on, as it is: it has no characters but 0-9, a-z, - and dots.
    """
    return ".".join(["1", *(f"{actor}-{counter}" for actor, counter in sorted(barrier.items()))])


def barrier_of(token: str) -> dict[str, int]:
    """Returns the barrier that a token names. Raises OperatorError: it is none."""
    kind, *parts = token.strip().split(".") if len(token) <= TOKEN_LENGTH_MAX else [""]
    found = [_PART.fullmatch(part) for part in parts]
    if kind != "1" or not all(found):
        raise OperatorError(
            "that is no token of this version: give it as it came, all of it", ExitCode.BAD_USAGE
        )
    return {match[1]: int(match[2]) for match in found if match is not None}
