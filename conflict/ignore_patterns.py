"""Ignore patterns: names that a volume leaves alone on all sites, as attributes of its root.

Each pattern is an attribute of its own, so that two sites may add one each; its value is its place
in the list, as in a list of patterns a later one may take back what an earlier one says.
"""

from __future__ import annotations

from conflict.errors import MalformedValueError
from conflict.node import NodeState
from conflict.operations import ATTRIBUTE_KEY_SIZE_BYTES_MAX, IGNORE_PREFIX, AttributeChanges

PATTERN_SIZE_BYTES_MAX = ATTRIBUTE_KEY_SIZE_BYTES_MAX - len(IGNORE_PREFIX)


def ignore_patterns(root: NodeState | None) -> tuple[bytes, ...]:
    """Returns the patterns of a volume in their order; a malformed place counts as the first."""
    if root is None:
        return ()
    found = [
        (_place(register.value), key[len(IGNORE_PREFIX) :])
        for key, register in root.registers.items()
        if key.startswith(IGNORE_PREFIX) and isinstance(register.value, bytes)
    ]
    return tuple(pattern for _, pattern in sorted(found))


def add_pattern(root: NodeState | None, pattern: bytes) -> AttributeChanges:
    """Returns what is to be written of the root so that a pattern is the last one.

    Raises:
        MalformedValueError: it can't be a pattern.
    """
    if not 1 <= len(pattern) <= PATTERN_SIZE_BYTES_MAX or b"\n" in pattern or b"\0" in pattern:
        raise MalformedValueError(f"not a pattern: {pattern[:300]!r}")
    registers = root.registers if root is not None else {}
    places = [
        _place(register.value)
        for key, register in registers.items()
        if key.startswith(IGNORE_PREFIX) and isinstance(register.value, bytes)
    ]
    return ((IGNORE_PREFIX + pattern, b"%d" % (max(places, default=0) + 1)),)


def remove_pattern(pattern: bytes) -> AttributeChanges:
    """Returns what is to be written of the root so that a pattern is no more."""
    return ((IGNORE_PREFIX + pattern, None),)


def _place(value: object) -> int:
    is_number = isinstance(value, bytes) and value.isdigit() and len(value) <= 18
    return int(value) if is_number else 0  # type: ignore[call-overload]
