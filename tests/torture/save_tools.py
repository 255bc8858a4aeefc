"""How real tools save files; those that this machine lacks are left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable

TOOL_TIMEOUT_S = 120.0

Tool = Callable[[bytes, bytes], None]  # the name, which is taken; a file with the new bytes


def run_tool(*words: str | bytes, directory: bytes | None = None) -> bytes:
    """Runs a program and returns what it printed. Raises OSError when it fails."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=directory,
        timeout=TOOL_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise OSError(f"{words!r} ended with {done.returncode}: {done.stderr[-300:]!r}")
    return done.stdout


def sed_in_place(path: bytes, new: bytes) -> None:
    """Writes beside the file and renames over it."""
    run_tool(b"sed", b"-i", b"-e", b"1{r " + new, b"-e", b"d}", b"-e", b"2,$d", path)


def copy_over(path: bytes, new: bytes) -> None:
    """Truncates and writes."""
    run_tool(b"cp", new, path)


def install_over(path: bytes, new: bytes) -> None:
    """Unlinks and creates."""
    run_tool(b"install", b"-m", b"0640", new, path)


def shell_redirection(path: bytes, new: bytes) -> None:
    """Truncates and writes, from another process."""
    run_tool(b"sh", b"-c", b'cat "$1" > "$2"', b"sh", new, path)


def block_copy(path: bytes, new: bytes) -> None:
    """Writes in place, then cuts."""
    run_tool(b"dd", b"if=" + new, b"of=" + path, b"bs=8k", b"conv=fsync", b"status=none")


def move_over(path: bytes, new: bytes) -> None:
    """Renames a file from outside of the tree over it."""
    run_tool(b"mv", b"-f", new, path)


def unpack_tar(path: bytes, new: bytes) -> None:
    """Unlinks and creates, then sets times and mode."""
    directory, name = os.path.split(path)
    archive = new + b".tar"
    prepared = os.path.join(os.path.dirname(new), name)
    os.rename(new, prepared)
    try:
        run_tool(b"tar", b"-cf", archive, b"-C", os.path.dirname(new), b"--", name)
        run_tool(b"tar", b"-xf", archive, b"-C", directory)
    finally:
        os.unlink(prepared)
        os.unlink(archive)


def unpack_zip(path: bytes, new: bytes) -> None:
    """Replaces what is there."""
    directory, name = os.path.split(path)
    archive = os.fsdecode(new) + ".zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(os.fsdecode(new), os.fsdecode(name))
    try:
        run_tool(b"unzip", b"-qq", b"-o", archive, b"-d", directory)
    finally:
        os.unlink(archive)


def rsync_over(path: bytes, new: bytes) -> None:
    """Writes beside the file and renames over it."""
    run_tool(b"rsync", b"--ignore-times", new, path)


def rsync_in_place(path: bytes, new: bytes) -> None:
    """Writes into the file."""
    run_tool(b"rsync", b"--ignore-times", b"--inplace", b"--no-whole-file", new, path)


def vim_write(path: bytes, new: bytes) -> None:
    """A person's editor: the buffer is replaced and written."""
    commands = (b"set nowritebackup", b"%d _", b"0r " + new, b"wq!")
    words = [word for command in commands for word in (b"-c", command)]
    run_tool(b"vim", b"-n", b"-u", b"NONE", b"-i", b"NONE", b"-es", *words, path)


_TOOLS: tuple[tuple[str, Tool], ...] = (
    ("sed", sed_in_place),
    ("cp", copy_over),
    ("install", install_over),
    ("sh", shell_redirection),
    ("dd", block_copy),
    ("mv", move_over),
    ("tar", unpack_tar),
    ("unzip", unpack_zip),
    ("rsync", rsync_over),
    ("rsync", rsync_in_place),
    ("vim", vim_write),
)


def installed_tools() -> tuple[Tool, ...]:
    """Returns the tools that this machine has."""
    return tuple(tool for program, tool in _TOOLS if shutil.which(program) is not None)


def can_name(tool: Tool, name: bytes) -> bool:
    """Tells whether a tool can say this name: unzip changes names that are no plain text."""
    return tool is not unpack_zip or (name.isascii() and name.decode().isprintable())
