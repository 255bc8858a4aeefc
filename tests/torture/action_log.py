"""A writer's log: one line before each action and one after it, in order, on its own file.

Who reads it can tell, whatever became of the disk, which contents may be there, which ones have to
be, and which ones a program did away with while it had them before it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(slots=True)
class Outcome:
    """What an action did so far; also of one that fails halfway."""

    stands: list[str] = field(default_factory=list)  # digests that are now on this disk
    displaced: list[str] = field(default_factory=list)  # digests that the action did away with
    is_unsure: bool = False  # it may have displaced something that it did not see


class ActionLog:
    """Appends to the log. A context manager."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    @contextmanager
    def action(
        self, kind: str, area: str, announces: Mapping[str, str], *paths: bytes
    ) -> Iterator[Outcome]:
        """Writes one line before the block and one after it, which also tells of an OSError.

        Args:
            kind: what is done, in words.
            area: where, as the checker knows it.
            announces: digests that the action may leave on the disk, with words for people.
            paths: the names that it is about, for people.
        """
        self._number += 1
        number = self._number
        names = [os.fsdecode(path) for path in paths]
        self._write(begins=number, kind=kind, area=area, announces=dict(announces), names=names)
        outcome = Outcome()
        failure = ""
        try:
            yield outcome
        except OSError as error:
            failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._write(
                ends=number,
                stands=outcome.stands,
                displaced=outcome.displaced,
                is_unsure=outcome.is_unsure,
                failure=failure,
            )

    def model(self, area: str, tree: Mapping[str, object]) -> None:
        """Writes what has to be in an area that nobody else writes to."""
        self._write(model=area, tree=dict(tree))

    def _write(self, **line: object) -> None:
        text = json.dumps({"at_ns": time.monotonic_ns(), **line}) + "\n"
        os.write(self._descriptor, text.encode())
