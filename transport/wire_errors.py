"""Errors of stored bytes that can't be understood, one class for each thing to do about it."""

from __future__ import annotations

from conflict.errors import MalformedValueError
from transport.errors import CorruptObject


class WireFormatError(CorruptObject, MalformedValueError):
    """Bytes from a store or a journal are not what was written, or not for us."""


class WrongMagicError(WireFormatError):
    """The object is of another kind, or none of geosync's."""


class NewerFormatError(WireFormatError):
    """A later version of geosync wrote this: nothing of it may be skipped, so update first."""


class UnknownOperationError(NewerFormatError):
    """An operation of a kind that this version can't apply: the actor's log ends here for now."""


class WrongVolumeError(WireFormatError):
    """The object is intact, but belongs to another volume or is a forgery."""


class MisplacedObjectError(WireFormatError):
    """The object is intact, but its name says that it is another one."""


class DamagedObjectError(WireFormatError):
    """Bytes changed after they were written."""


class TruncatedObjectError(DamagedObjectError):
    """The end is missing: an interrupted transfer, or an interrupted write of the store."""


class OversizeObjectError(WireFormatError):
    """The object is, or says that it is, larger than any that geosync makes."""


class MalformedContentsError(WireFormatError):
    """The frame is intact, but what is inside breaks a rule of the format."""


class Reading:
    """A block that reads one thing: its errors say which, and are all WireFormatErrors.

    Args:
        noun: what is read.
        which: which one; turned into text only when there is an error.
    """

    __slots__ = ("_noun", "_which")

    def __init__(self, noun: str, which: object = "") -> None:
        self._noun = noun
        self._which = which

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MalformedValueError):
            known = type(error) if isinstance(error, WireFormatError) else MalformedContentsError
            raise known(f"{self._noun} {self._which}".rstrip() + f": {error}") from error
