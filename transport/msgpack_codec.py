"""Msgpack, narrowed to integers, bytes, booleans, null and arrays, and strict about them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final, NoReturn

import msgpack  # noqa: TID251 - its home

from transport.wire_errors import MalformedContentsError, OversizeObjectError, WireFormatError

WireValue = int | bytes | bool | None | tuple["WireValue", ...]

DEPTH_MAX: Final = 16
VALUES_MAX: Final = 2**23  # as many one-byte values would take half a gigabyte of memory
_TYPES: Final = frozenset((int, bytes, bool, type(None), tuple))


def encode(value: WireValue) -> bytes:
    """Packs a value. Equal values give equal bytes.

    Raises:
        MalformedContentsError: an integer does not fit into 64 bits.
        OversizeObjectError: more than VALUES_MAX values.
    """
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (OverflowError, ValueError) as error:
        raise MalformedContentsError(f"a value can't be stored: {error}") from error
    if len(packed) > VALUES_MAX:  # otherwise there can't be so many
        budget = _Budget()
        for item in chain.from_iterable(_levels(value)):
            if type(item) is tuple:
                budget.spend(item)
    return packed


def decode(packed: bytes, size_bytes_max: int) -> WireValue:
    """Unpacks exactly one value; any bytes may be given.

    Arrays become tuples. Refused are maps, strings, floats, extension types, bytes after the
    value, and nesting deeper than DEPTH_MAX.

    Raises:
        OversizeObjectError: more than `size_bytes_max` bytes, or more than VALUES_MAX values.
        MalformedContentsError: the bytes are not such a value.
    """
    if len(packed) > size_bytes_max:
        raise OversizeObjectError(
            f"{len(packed)} bytes of msgpack, where geosync writes {size_bytes_max} at most"
        )
    try:
        value: WireValue = msgpack.unpackb(
            packed,
            use_list=False,
            raw=False,
            object_pairs_hook=_refuse_map,
            ext_hook=_refuse_extension,
            list_hook=_Budget().spend if len(packed) > VALUES_MAX else None,
        )
    except WireFormatError:
        raise
    except (ValueError, RecursionError, MemoryError, msgpack.UnpackException) as error:
        found = str(error) or type(error).__name__
        raise MalformedContentsError(f"not msgpack as geosync writes it: {found}") from error
    _check_types_and_depth(value)
    return value


def decode_own(packed: bytes) -> WireValue:
    """Unpacks what `encode` packed on this machine, such as a record of the journal.

    It is not checked, and so several times as fast. Raises MalformedContentsError.
    """
    try:
        value: WireValue = msgpack.unpackb(packed, use_list=False, raw=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedContentsError(f"a record of this machine is damaged: {error}") from error
    return value


def _refuse_map(pairs: list[tuple[object, object]]) -> NoReturn:
    raise MalformedContentsError(f"not msgpack as geosync writes it: a map of {len(pairs)} keys")


def _refuse_extension(code: int, content: bytes) -> NoReturn:
    raise MalformedContentsError(
        f"not msgpack as geosync writes it: extension type {code} of {len(content)} bytes"
    )


class _Budget:
    """Counts arrays and their elements, so that few bytes can't become gigabytes of objects."""

    def __init__(self) -> None:
        self._left = VALUES_MAX

    def spend(self, elements: tuple[WireValue, ...]) -> tuple[WireValue, ...]:
        self._left -= 1 + len(elements)
        if self._left < 0:
            raise OversizeObjectError(f"more than {VALUES_MAX} values in one msgpack document")
        return elements


def _levels(value: WireValue) -> Iterator[list[WireValue]]:
    """Yields the values by depth, the outermost alone first. Never recurses."""
    level = [value]
    while level:
        yield level
        level = list(chain.from_iterable(item for item in level if type(item) is tuple))


def _check_types_and_depth(value: WireValue) -> None:
    for depth, level in enumerate(_levels(value)):
        for foreign in set(map(type, level)) - _TYPES:
            raise MalformedContentsError(
                f"not msgpack as geosync writes it: a value of type {foreign.__name__}"
            )
        if depth > DEPTH_MAX:
            raise MalformedContentsError(
                f"not msgpack as geosync writes it: arrays nested deeper than {DEPTH_MAX}"
            )


def integer(value: WireValue, lowest: int, highest: int, subject: str) -> int:
    """Returns the value if it is an integer in the closed range; else MalformedContentsError."""
    if type(value) is not int or not lowest <= value <= highest:
        raise MalformedContentsError(
            f"{subject}: {shown(value)} is not an integer from {lowest} to {highest}"
        )
    return value


def byte_string(value: WireValue, subject: str) -> bytes:
    """Returns the value if it is bytes; else MalformedContentsError."""
    if type(value) is not bytes:
        raise MalformedContentsError(f"{subject}: {shown(value)} is not a string of bytes")
    return value


def ascii_text(value: WireValue, subject: str) -> str:
    """Returns the text if the value is bytes of ASCII; else MalformedContentsError."""
    try:
        return byte_string(value, subject).decode("ascii")
    except UnicodeDecodeError:
        raise MalformedContentsError(f"{subject}: {shown(value)} is not ASCII") from None


def boolean(value: WireValue, subject: str) -> bool:
    """Returns the value if it is true or false; else MalformedContentsError."""
    if type(value) is not bool:
        raise MalformedContentsError(f"{subject}: {shown(value)} is neither true nor false")
    return value


def array(value: WireValue, subject: str, length: int | None = None) -> tuple[WireValue, ...]:
    """Returns the value if it is an array, of this length if one is given.

    Raises:
        MalformedContentsError: it is not.
    """
    if type(value) is not tuple or (length is not None and len(value) != length):
        expected = "an array" if length is None else f"an array of {length}"
        raise MalformedContentsError(f"{subject}: {shown(value)} is not {expected}")
    return value


def pairs(value: WireValue, subject: str) -> list[tuple[WireValue, WireValue]]:
    """Returns the elements of an array two by two; else MalformedContentsError."""
    elements = array(value, subject)
    if len(elements) % 2:
        raise MalformedContentsError(f"{subject}: {len(elements)} elements do not make pairs")
    return list(zip(elements[::2], elements[1::2], strict=True))


def shown(value: WireValue) -> str:
    """Describes a value of any size in a few words, for an error."""
    if isinstance(value, tuple):
        return f"an array of {len(value)}"
    if isinstance(value, bytes):
        return f"{value[:40]!r} ({len(value)} bytes)"
    return repr(value)
