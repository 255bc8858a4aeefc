"""The root: whether it is there, is the right one, and what its file system offers."""

from __future__ import annotations

import os
from collections.abc import Iterator

from geosync.disk.capabilities import DiskCapabilities, probe
from geosync.disk.interface import PRIVATE_DIRECTORY, RootLost
from geosync.disk.private_directory import read_marker
from geosync.disk.process_capabilities import (
    CAP_CHOWN,
    CAP_DAC_OVERRIDE,
    CAP_LEASE,
    CAPABILITY_NAMES,
)
from geosync.examination.file_attributes import examine_attributes
from geosync.examination.finding import Finding, Level, Subject
from geosync.examination.mounts import Mount, mount_of
from geosync.examination.process import Worker
from geosync.examination.scratch_directory import OPEN_DIRECTORY, scratch_directory
from geosync.examination.shell_commands import quoted, service_setting
from geosync.examination.space import examine_space
from geosync.terminal import display_name

TESTED_KINDS = frozenset({"ext4", "xfs", "btrfs", "tmpfs"})


def examine_root(
    root: bytes,
    volume: str,
    marker: bytes | None,
    worker: Worker,
    used: DiskCapabilities | None,
) -> Iterator[Finding]:
    """Looks at the root.

    Args:
        root: as configured.
        volume: its name, which the unit of systemd has, too.
        marker: the token that the journal knows; None for a site that has not joined yet.
        worker: the process that reads and writes below the root.
        used: the protocol that a running daemon uses; None to find out by trying.
    """
    shown = display_name(root)
    try:
        descriptor = os.open(root, OPEN_DIRECTORY)
    except OSError as error:
        remedy = "mount it, create it, or correct `root` in the configuration"
        text = f"can't open {shown}: {error.strerror}"
        # Where a site has joined, an empty directory would hide that something is not mounted.
        commands = (f"mount {quoted(root)}" if marker else f"mkdir -p {quoted(root)}",)
        yield Finding(Subject.ROOT, Level.FAILURE, text, remedy, commands=commands)
        return
    try:
        yield _access(root, worker)
        yield _file_system(mount_of(root))
        yield _marker(descriptor, marker)
        yield from _protocol(descriptor, worker, used)
        yield _owners(root, worker)
        yield _capabilities(root, volume, worker)
        yield examine_space(Subject.ROOT_SPACE, root)
    finally:
        os.close(descriptor)


def _access(root: bytes, worker: Worker) -> Finding:
    shown = display_name(root)
    is_own_access = os.access(root, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)
    if worker.is_daemon or is_own_access:
        return Finding(Subject.ROOT, Level.OK, f"{shown} is there")
    return Finding(
        Subject.ROOT,
        Level.FAILURE,
        f"user {worker.user} may not read and write {shown}",
        "run geosync as a user who may, or give it the capabilities of systemd/geosync@.service",
    )


def _file_system(mount: Mount | None) -> Finding:
    if mount is None:
        return Finding(Subject.FILE_SYSTEM, Level.NOTE, "/proc does not tell the file system")
    facts = {"kind": mount.kind, "mount_point": display_name(mount.point)}
    text = f"{mount.kind}, mounted at {display_name(mount.point)}"
    if "ro" in mount.options:
        remedy = "mount it read-write: nothing that comes from other sites can be written"
        commands = (f"mount -o remount,rw {quoted(mount.point)}",)
        text += ", read-only"
        return Finding(Subject.FILE_SYSTEM, Level.FAILURE, text, remedy, facts, commands)
    if mount.is_network:
        remedy = (
            "run geosync on the machine that has the disk: what other machines write here raises"
            " no event and is found by scans only"
        )
        return Finding(Subject.FILE_SYSTEM, Level.WARNING, text, remedy, facts)
    if mount.kind not in TESTED_KINDS:
        found = f"{text}; geosync is tested on {', '.join(sorted(TESTED_KINDS))}"
        return Finding(Subject.FILE_SYSTEM, Level.NOTE, found, facts=facts)
    return Finding(Subject.FILE_SYSTEM, Level.OK, text, facts=facts)


def _marker(root: int, known: bytes | None) -> Finding:
    try:
        private = os.open(PRIVATE_DIRECTORY, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
    except FileNotFoundError:
        found = None
    except OSError as error:
        return Finding(
            Subject.MARKER,
            Level.FAILURE,
            f"can't open .geosync in the root: {error.strerror}",
            "run this as the user of the daemon; what is no directory there must go",
        )
    else:
        try:
            found = read_marker(private)
        except (OSError, RootLost) as error:
            return Finding(Subject.MARKER, Level.FAILURE, str(error), "restore .geosync/marker")
        finally:
            os.close(private)
    if known is None:
        return Finding(Subject.MARKER, Level.OK, "this site has not joined its volume yet")
    if found == known:
        return Finding(Subject.MARKER, Level.OK, "the root is the directory that the journal knows")
    return Finding(
        Subject.MARKER,
        Level.FAILURE,
        f"the root has {'another' if found else 'no'} marker than the journal knows: nothing is"
        " captured or applied, and nothing is taken for deleted",
        "mount the right file system, or restore .geosync/marker; if this is meant to be another"
        " directory, start with an empty state directory",
    )


def _protocol(root: int, worker: Worker, used: DiskCapabilities | None) -> Iterator[Finding]:
    try:
        with scratch_directory(root) as directory:
            used = used or probe(directory)
            attributes = list(examine_attributes(directory, used.timestamp_granularity_ns))
    except OSError as error:
        text = f"can't try out the file system: {error.strerror}"
        if used is None:
            yield Finding(Subject.EXCHANGE, Level.FAILURE, text, "make the root writable")
            return
        # The daemon may, so it is only this process that may not.
        remedy = "run this as the user of the daemon, or as root"
        attributes = [Finding(Subject.EXTENDED_ATTRIBUTES, Level.NOTE, text, remedy)]
    yield _exchange(used)
    yield _leases(used, worker)
    yield _plain(
        Subject.HANDLES,
        used.handles,
        "inodes have handles with a generation",
        "inodes are told apart by number and time of birth",
    )
    yield _plain(
        Subject.REFLINK,
        used.reflink,
        "large files are copied in no time before they are read",
        "no reflink: a program that opens a large file for writing may wait while it is read",
    )
    yield _plain(
        Subject.OPENAT2,
        used.openat2,
        "openat2: paths are resolved in one step",
        "no openat2 (it needs Linux 5.6): paths are resolved step by step, as safe and slower",
    )
    yield from attributes


def _plain(subject: Subject, has: bool, present: str, missing: str) -> Finding:  # noqa: FBT001
    level = Level.OK if has else Level.NOTE
    return Finding(subject, level, present if has else missing, facts={"is_available": has})


def _exchange(used: DiskCapabilities) -> Finding:
    facts = {"is_available": used.exchange}
    if used.exchange:
        return Finding(Subject.EXCHANGE, Level.OK, "files are replaced in one step", facts=facts)
    return Finding(
        Subject.EXCHANGE,
        Level.WARNING,
        "no exchange of names (renameat2): a file that is replaced is missing for a moment",
        "put the root on ext4, xfs, btrfs or tmpfs",
        facts,
    )


def _leases(used: DiskCapabilities, worker: Worker) -> Finding:
    has_all = worker.has(CAP_LEASE)
    facts = {"is_available": used.leases, "is_for_all_users": has_all}
    if not used.leases:
        return Finding(
            Subject.LEASES,
            Level.WARNING,
            "no leases: writers are not seen, so files are read twice and compared",
            "put the root on a local file system",
            facts,
        )
    if has_all:
        return Finding(Subject.LEASES, Level.OK, "writers of all files are seen", facts=facts)
    return Finding(
        Subject.LEASES,
        Level.NOTE,
        f"writers are seen for files of user {worker.user} only; others are read twice",
        "if others own files in the root, give the daemon CAP_LEASE",
        facts,
    )


def _owners(root: bytes, worker: Worker) -> Finding:
    may_give = worker.has(CAP_CHOWN)
    may_read = worker.has(CAP_DAC_OVERRIDE)
    facts = {"user": worker.user, "may_set_owners": may_give, "may_read_all": may_read}
    who = "the daemon" if worker.is_daemon else "this process"
    text = f"{who} may read all files and set owners"
    if may_give and may_read:
        return Finding(Subject.OWNERS, Level.OK, text, facts=facts)
    owner = os.stat(root).st_uid
    is_own = owner == worker.user
    return Finding(
        Subject.OWNERS,
        Level.NOTE if is_own else Level.WARNING,
        f"{who} is user {worker.user}, the root belongs to user {owner}; owners of files are"
        " kept only as far as this user may set them",
        "" if is_own else "run it as the owner of the files, as root, or as the unit in systemd/",
        facts,
    )


def _capabilities(root: bytes, volume: str, worker: Worker) -> Finding:
    """Compares with what the unit in systemd/ gives; a user's own files need none of it."""
    held = {name: worker.has(number) for number, name in CAPABILITY_NAMES.items()}
    missing = [name for name, is_held in held.items() if not is_held]
    facts = {name.lower(): is_held for name, is_held in held.items()}
    if not missing:
        text = "files of all users can be kept as they are"
        return Finding(Subject.CAPABILITIES, Level.OK, text, facts=facts)
    is_own = os.stat(root).st_uid == worker.user
    everything = " ".join(CAPABILITY_NAMES.values())
    lines = (f"AmbientCapabilities={everything}", f"CapabilityBoundingSet={everything}")
    return Finding(
        Subject.CAPABILITIES,
        Level.NOTE if is_own else Level.WARNING,
        f"without {', '.join(missing)}: files of other users than {worker.user} are kept as far"
        " as their modes allow",
        "" if is_own else "give the service these capabilities",
        facts,
        () if is_own else service_setting(volume, "capabilities", *lines),
    )
