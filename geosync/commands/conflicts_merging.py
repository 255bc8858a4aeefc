"""Merging the versions of a conflict for a person, who decides what is between marks."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Final

from conflict.content import ContentKind
from conflict.line_merge import Lines, Piece, join_lines, split_lines, three_way
from geosync.commands.conflict_versions import ANCESTOR, LOSER, WINNER, conflict_versions
from geosync.configuration.volume_configuration import Configuration
from geosync.errors import OperatorError

SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
_MARKS: Final = (b"<<<<<<< ", b"||||||| ", b"======= ", b">>>>>>> ")


@dataclass(frozen=True, slots=True)
class Draft:
    """A merge as far as it goes.

    Attributes:
        text: disputed lines are between marks.
        disputes: how many places there are where both sides changed the same lines.
    """

    text: bytes
    disputes: int


def merge_draft(configuration: Configuration, identity: str) -> Draft:
    """Merges the two versions of a conflict with what they come from.

    Raises:
        OperatorError: there is no such conflict, a version can't be read now, or is no text.
        StoreUnavailable, StoreRefused, InvalidCredentials: the store was needed.
    """
    with conflict_versions(configuration, identity) as versions:
        found = [versions.required(WINNER), versions.required(LOSER)]
        ancestor = versions.version(ANCESTOR)
        contents = [content for _, content in found]
        if any(
            content.kind is not ContentKind.REGULAR or content.size_bytes > SIZE_BYTES_MAX
            for content in contents
        ):
            raise _no_text(identity)
        texts = [versions.data(content) for content in contents]
        base = b"" if ancestor is None else versions.data(ancestor[1])
    if any(b"\0" in text for text in (base, *texts)):
        raise _no_text(identity)
    pieces = three_way(*map(split_lines, (base, *texts)))
    names = (found[0][0], "nothing" if ancestor is None else ancestor[0], found[1][0])
    lines = [line for piece in pieces for line in _shown(piece, names)]
    return Draft(join_lines(lines), sum(piece.agreed is None for piece in pieces))


def _no_text(identity: str) -> OperatorError:
    return OperatorError(
        f"the versions of {identity} can't be merged: one of them is no text, or larger than"
        f" {SIZE_BYTES_MAX >> 20} MiB. Take one with --take, or give another with --file."
    )


def _shown(piece: Piece, names: tuple[str, str, str]) -> Lines:
    if piece.agreed is not None:
        return piece.agreed
    winner, ancestor, loser = (name.encode(errors="replace") + b"\n" for name in names)
    return [
        _MARKS[0] + winner,
        *piece.first,
        _MARKS[1] + ancestor,
        *piece.base,
        _MARKS[2] + b"\n",
        *piece.second,
        _MARKS[3] + loser,
    ]


def edited(draft: bytes, path: str) -> bytes:
    """Lets a person edit a draft at the terminal, and returns what became of it.

    Raises:
        OperatorError: the editor failed, or marks are left.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="geosync-") as directory:
        name = os.path.join(directory, os.path.basename(path) or "merged")
        with open(name, "wb") as file:
            file.write(draft)
        try:
            code = subprocess.run([*shlex.split(editor), name], check=False).returncode
        except (OSError, ValueError) as error:
            raise OperatorError(
                f"the editor {editor!r} can't be started: {error}. Set EDITOR. Nothing was settled."
            ) from error
        if code:
            raise OperatorError(f"the editor ended with code {code}. Nothing was settled.")
        with open(name, "rb") as file:
            text = file.read()
    if any(line.startswith(_MARKS) for line in split_lines(text)):
        raise OperatorError(
            "there are lines left that begin with <<<<<<<, |||||||, ======= or >>>>>>>: keep of"
            " each such place what is right, and remove these. Nothing was settled."
        )
    return text
