"""A real file system of a wanted kind: made in an image file, mounted through a loop device."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

KINDS = ("ext4", "xfs", "btrfs")
SIZE_BYTES = 512 * 2**20  # mkfs.xfs wants 300 MiB; the image is sparse, and so costs little
_QUIET_AND_FORCED = {"ext4": ("-q", "-F"), "xfs": ("-q", "-f"), "btrfs": ("-q", "-f")}
_PACKAGES = {"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}
_TIMEOUT_S = 60


class LoopFileSystemFailed(Exception):
    """A file system that this machine should have could not be made, mounted or unmounted."""


@dataclass(frozen=True, slots=True)
class LoopFileSystem:
    """A file system that is mounted.

    Attributes:
        kind: one of `KINDS`.
        image: the file that holds it, which may be copied for what a power cut would leave.
        root: where it is mounted.
    """

    kind: str
    image: Path
    root: Path


def missing_requirement(kind: str) -> str | None:
    """Returns why this process can't make and mount such a file system, None when it can."""
    if os.geteuid() != 0:
        return "only root can mount a file system"
    for program in (f"mkfs.{kind}", "mount", "umount"):
        if shutil.which(program) is None:
            return f"{program} is missing (Debian: {_PACKAGES[kind]}, mount)"
    if not os.path.exists("/dev/loop-control"):
        return "this machine has no loop devices"
    return None


@contextmanager
def loop_file_system(
    directory: Path,
    kind: str,
    *,
    size_bytes: int = SIZE_BYTES,
    mkfs_options: Sequence[str] = (),
    mount_options: Sequence[str] = (),
) -> Iterator[LoopFileSystem]:
    """Makes a fresh file system below `directory` and mounts it; skips the test where it can't.

    Args:
        directory: gets the image and the mount point; a `tmp_path`.
        kind: one of `KINDS`.
        size_bytes: of the image, which has holes at first.
        mkfs_options: more arguments of mkfs, for instance ("-I", "128").
        mount_options: as after `mount -o`, for instance ("noacl",).

    Raises:
        LoopFileSystemFailed: mkfs or mount refused these options.
    """
    image = make_image(directory, kind, size_bytes=size_bytes, mkfs_options=mkfs_options)
    with mounted(image, kind, mount_options=mount_options) as file_system:
        yield file_system


def make_image(
    directory: Path,
    kind: str,
    *,
    size_bytes: int = SIZE_BYTES,
    mkfs_options: Sequence[str] = (),
) -> Path:
    """Makes a file system in a new image file and returns its path; see `loop_file_system`."""
    reason = missing_requirement(kind)
    if reason is not None:
        pytest.skip(f"needs {kind} on a loop device: {reason}")
    directory.mkdir(parents=True, exist_ok=True)
    image = directory / f"{kind}.image"
    with image.open("xb") as file:
        file.truncate(size_bytes)
    _run(f"mkfs.{kind}", *_QUIET_AND_FORCED[kind], *mkfs_options, str(image))
    return image


@contextmanager
def mounted(
    image: Path, kind: str, *, mount_options: Sequence[str] = ()
) -> Iterator[LoopFileSystem]:
    """Mounts an image beside itself until the block ends, however it ends.

    The copy of an image that is mounted needs another id: mount xfs with "nouuid", and give a
    copied btrfs a new one (`btrfstune -u`).

    Raises:
        LoopFileSystemFailed: it could not be mounted, though this kernel has such file systems.
    """
    root = image.with_suffix(".mount")
    root.mkdir(exist_ok=True)
    options = ",".join(("loop", *mount_options))
    try:
        _run("mount", "-t", kind, "-o", options, str(image), str(root))
    except LoopFileSystemFailed as error:
        reason = _unmountable_here(kind)
        if reason is not None:
            pytest.skip(f"needs {kind} on a loop device: {reason} ({error})")
        raise
    try:
        yield LoopFileSystem(kind, image, root)
    finally:
        _unmount(root)
        root.rmdir()


def _unmountable_here(kind: str) -> str | None:
    """Returns why no file system of a kind can be mounted, whatever the options; None if one can.

    Asked after a refusal only, since mounting is what loads the module of a file system.
    """
    with open("/proc/filesystems") as file:
        known = {line.split()[-1] for line in file}
    if kind not in known:
        return f"this kernel has no {kind}"
    found = subprocess.run(
        ("losetup", "--find"), capture_output=True, check=False, timeout=_TIMEOUT_S
    )
    return None if found.returncode == 0 else "this process gets no loop device"


def _unmount(root: Path) -> None:
    """Unmounts; from a test that failed with files still open there, once these are closed."""
    try:
        _run("umount", str(root))
    except LoopFileSystemFailed:
        _run("umount", "--lazy", str(root))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        raise LoopFileSystemFailed(f"{' '.join(command)}: {done.stderr.strip()}")
