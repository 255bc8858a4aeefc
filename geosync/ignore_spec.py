"""Which paths a list of patterns ignores, by the rules of gitignore(5). The home of pathspec."""

from __future__ import annotations

import os
from functools import lru_cache

from pathspec import GitIgnoreSpec  # noqa: TID251 - its home

from geosync.errors import OperatorError
from geosync.exit_codes import ExitCode

Path = tuple[bytes, ...]


class IgnoreSpec:
    """A list of patterns. What is below a directory that is ignored is ignored, too."""

    def __init__(self, patterns: tuple[bytes, ...]) -> None:
        """Takes patterns in their order; one that is none ignores nothing."""
        self.patterns = patterns
        self._spec = GitIgnoreSpec.from_lines(_readable(patterns))
        self._deciding = lru_cache(maxsize=10_000)(self._find)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def is_ignored(self, path: Path, *, is_directory: bool) -> bool:
        """Tells whether a path below the root is ignored."""
        return self.deciding(path, is_directory=is_directory) is not None

    def deciding(self, path: Path, *, is_directory: bool) -> bytes | None:
        """Returns the pattern by which a path is ignored; None when it is not."""
        if not self.patterns:
            return None
        for depth in range(1, len(path)):
            found = self._deciding(path[:depth], is_directory=True)
            if found is not None:
                return found
        return self._deciding(path, is_directory=is_directory) if path else None

    def _find(self, path: Path, *, is_directory: bool) -> bytes | None:
        text = os.fsdecode(b"/".join(path)) + ("/" if is_directory else "")
        found = self._spec.check_file(text)
        if not found.include or found.index is None:
            return None
        return self.patterns[found.index]


def _readable(patterns: tuple[bytes, ...]) -> list[str]:
    """Returns patterns as pathspec takes them; a comment stands for one that it refuses."""
    lines = []
    for pattern in patterns:
        text = os.fsdecode(pattern)
        try:
            GitIgnoreSpec.from_lines([text])
            lines.append(text)
        except ValueError:
            lines.append("#")
    return lines


def check_pattern(pattern: bytes) -> None:
    """Raises OperatorError for what is no pattern, or one that could only be a mistake."""
    text = os.fsdecode(pattern)
    try:
        (found,) = GitIgnoreSpec.from_lines([text]).patterns
        is_pattern = found.include is not None and text.strip("/*! ") != ""
    except ValueError:
        is_pattern = False
    if not is_pattern:
        raise OperatorError(
            f"{text!r} is no pattern that can be used: write one as in a .gitignore file, such as"
            " '*.tmp', '/cache/' or '!keep.tmp'; not a comment, and not one for everything."
            " Nothing was changed.",
            ExitCode.BAD_USAGE,
        )
