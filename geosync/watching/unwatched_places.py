"""Directories that could not be watched, and why: a bounded list."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from geosync.watching.watched_directories import WatchedDirectory

_PLACES_MAX: Final = 1000

Place = tuple[WatchedDirectory, bytes]
"""A watched directory and a name in it."""


@dataclass(frozen=True, slots=True)
class UnwatchedDirectory:
    """A directory without a watch. Nothing below it is watched either."""

    directory: bytes
    """Relative to the root."""
    reason: str
    """For the operator: the error, and what helps."""


class UnwatchedPlaces:
    """Places whose changes no event tells. Beyond a thousand they are only counted."""

    def __init__(self) -> None:
        self._errors: dict[Place, int] = {}
        self.uncounted_count = 0

    def __len__(self) -> int:
        return len(self._errors) + self.uncounted_count

    @property
    def listed_count(self) -> int:
        """How many are known by place."""
        return len(self._errors)

    def __contains__(self, place: Place) -> bool:
        return place in self._errors

    def __iter__(self) -> Iterator[Place]:
        return iter(tuple(self._errors))

    def add(self, place: Place, error_number: int) -> bool:
        """Adds a place, or changes its error; returns whether it was added to the list."""
        is_listed = place in self._errors
        if is_listed or len(self._errors) < _PLACES_MAX:
            self._errors[place] = error_number
            return not is_listed
        self.uncounted_count += 1
        return False

    def discard(self, place: Place) -> None:
        """Removes a place that is watched now, or gone."""
        self._errors.pop(place, None)

    def clear(self) -> None:
        """Removes all."""
        self._errors.clear()
        self.uncounted_count = 0

    def items(self) -> Iterator[tuple[Place, str]]:
        """Yields the listed places with reasons for the operator."""
        for place, error_number in self._errors.items():
            yield place, _reason(error_number)


def _reason(error_number: int) -> str:
    text = os.strerror(error_number)
    if error_number == errno.ENOSPC:
        return (
            "the limit of inotify watches is reached; raise it with "
            "`sysctl -w fs.inotify.max_user_watches=N`, N above the number of directories "
            "(in a user namespace, user.max_inotify_watches as well)"
        )
    if error_number in {errno.EACCES, errno.EPERM}:
        return f"{text}: the daemon needs read and search permission for this directory"
    if error_number in {errno.EMFILE, errno.ENFILE}:
        return f"{text}: raise LimitNOFILE= of the service above the depth of the tree"
    return text
