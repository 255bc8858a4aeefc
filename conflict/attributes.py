"""Attributes of files, between what a disk shows and what operations carry."""

from __future__ import annotations

from collections.abc import Iterable

from conflict.observation import Attributes
from conflict.operations import (
    EXTENDED_PREFIX,
    GROUP,
    MODE,
    MTIME_NS,
    OWNER,
    AttributeChanges,
    AttributeValue,
)

UNKNOWN = Attributes(mode=0o600, owner=b"", group=b"", mtime_ns=0)
UNKNOWN_DIRECTORY = Attributes(mode=0o700, owner=b"", group=b"", mtime_ns=0)


def changes(before: Attributes | None, after: Attributes) -> AttributeChanges:
    """Returns what is to be written for `after`; all of it when there was nothing before."""
    new = _values(after)
    old = _values(before) if before is not None else {}
    changed: dict[bytes, AttributeValue] = {k: v for k, v in new.items() if old.get(k) != v}
    changed.update((key, None) for key in old if key not in new)
    return tuple(sorted(changed.items(), key=lambda item: item[0]))


def attributes_of(
    values: Iterable[tuple[bytes, AttributeValue]], *, is_directory: bool
) -> Attributes:
    """Returns the attributes that the values of a node's registers stand for.

    What was never set is kept private to the owner; an empty owner or group means: leave it.
    """
    known = dict(values)
    fallback = UNKNOWN_DIRECTORY if is_directory else UNKNOWN
    mode, mtime_ns = known.get(MODE), known.get(MTIME_NS)
    owner, group = known.get(OWNER), known.get(GROUP)
    extended = tuple(
        (key[len(EXTENDED_PREFIX) :], value)
        for key, value in sorted(known.items(), key=lambda item: item[0])
        if key.startswith(EXTENDED_PREFIX) and isinstance(value, bytes)
    )
    return Attributes(
        mode=mode if isinstance(mode, int) else fallback.mode,
        owner=owner if isinstance(owner, bytes) else fallback.owner,
        group=group if isinstance(group, bytes) else fallback.group,
        mtime_ns=mtime_ns if isinstance(mtime_ns, int) else fallback.mtime_ns,
        extended=extended,
    )


def amended(attributes: Attributes, changed: AttributeChanges) -> Attributes:
    """Returns the attributes with some of them changed."""
    values = _values(attributes) | dict(changed)
    return attributes_of(values.items(), is_directory=False)


def _values(attributes: Attributes) -> dict[bytes, AttributeValue]:
    values: dict[bytes, AttributeValue] = {
        MODE: attributes.mode,
        OWNER: attributes.owner,
        GROUP: attributes.group,
        MTIME_NS: attributes.mtime_ns,
    }
    values.update((EXTENDED_PREFIX + name, value) for name, value in attributes.extended)
    return values
