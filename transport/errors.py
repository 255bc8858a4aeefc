"""What can go wrong between geosync and an object store, by what the caller does about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conflict.errors import GeosyncError

if TYPE_CHECKING:
    from collections.abc import Sequence


class StoreUnavailable(GeosyncError):
    """The store could not tell, or could not do it now: the same call may succeed later.

    After a `put_once` this means *unknown*: the object may or may not be stored, now or in a
    moment. Only the same bytes may ever be sent under that name again.

    Attributes:
        retry_after_s: how long the store asked to be left alone, when it said so.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PartlyUnavailable(StoreUnavailable):
    """Some of the servers that should have an object could not be asked, and no other shows it."""


class OperationUnderWay(StoreUnavailable):
    """The operation takes long and goes on: the same call, made again later, gets its result."""


class StoreRefused(GeosyncError):
    """The store understood and said no (credentials, permission, limits): an operator must act."""


class ObjectNotVisible(GeosyncError):
    """No object of that name is visible here now. Never evidence that it does not exist."""


class ObjectCollision(GeosyncError):
    """The name is taken by *other* bytes: two writers share one identity, or one lost its memory.

    Never retried, never overwritten: whoever asked must find out which of the two it is.
    """


class CorruptObject(GeosyncError):
    """What the store handed out is not what was stored: its length or its checksum is wrong."""


class InvalidCredentials(GeosyncError):
    """The configured credentials cannot be used as they stand; says everything that is wrong.

    Attributes:
        problems: one sentence each, without secrets.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("the Swift credentials cannot be used: " + "; ".join(self.problems))
