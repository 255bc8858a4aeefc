"""The private directory of a simulated disk: its parts, its stage, and the names in it."""

from __future__ import annotations

from conflict.content import Block, Zeros
from conflict.observation import Attributes, DiskKind
from geosync.disk.interface import PRIVATE_DIRECTORY, Staged
from tests.simulation.disk_dice import DiskDice
from tests.simulation.inode_file_system import FileSystem, Inode, OpenFile, RenameMode

STAGE = PRIVATE_DIRECTORY + b"/stage"
TRASH = PRIVATE_DIRECTORY + b"/trash"
PARKED = PRIVATE_DIRECTORY + b"/parked"
MARKER = PRIVATE_DIRECTORY + b"/marker"
GENERATION = PRIVATE_DIRECTORY + b"/generation"
PRIVATE_ATTRIBUTES = Attributes(0o700, b"root", b"root", 0)
UNFINISHED = b"unfinished"
DOWNLOAD = b"download-"
SYMLINK_MODE = 0o777  # whatever is asked for


def is_made_for(token: bytes, handle: bytes) -> bool:
    """Tells a staged inode under its own token from one that was displaced to it."""
    return token.endswith(_name_of(handle))


def _name_of(handle: bytes) -> bytes:
    return handle.hex().encode()


def parked_name(name: bytes) -> bytes:
    """Returns the path at which what is called so is parked."""
    return PARKED + b"/" + name


class SimulatedStagingFile:
    """A file in the stage; writes to it may find the disk full."""

    def __init__(self, stage: SimulatedStage, path: bytes, file: OpenFile) -> None:
        self._stage = stage
        self._path = path
        self._file = file

    def write(self, block: Block) -> None:
        """Appends. Raises OSError (ENOSPC; EBADF after a crash)."""
        self._stage.dice.require_space()
        self._file.write(bytes(block.size_bytes) if isinstance(block, Zeros) else block)

    def finish(self, attributes: Attributes) -> Staged:
        """Sets the attributes and closes. Raises OSError (EBADF) after a crash."""
        self._file.write(b"")
        return self._stage.finish_file(self._path, self._file, attributes)

    def abandon(self) -> None:
        """Removes the unfinished file. Never raises."""
        self._stage.abandon_file(self._path, self._file)


class SimulatedDownloadFile:
    """A download; it is kept when the process ends."""

    def __init__(self, stage: SimulatedStage, name: bytes, file: OpenFile, size_bytes: int) -> None:
        content = file.content()
        self.handle = stage.file_system.inodes[file.number].handle
        self.has_remains = bool(content)
        self._stage = stage
        self._name = name
        self._file = file
        if len(content) != size_bytes:
            file.rewrite(content[:size_bytes].ljust(size_bytes, b"\0"))

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Raises OSError (EBADF after a crash)."""
        return self._file.content()[offset_bytes : offset_bytes + size_bytes]

    def write_at(self, offset_bytes: int, data: bytes) -> None:
        """Raises OSError (ENOSPC; EBADF after a crash)."""
        self._stage.dice.require_space()
        content = self._file.content()
        end = offset_bytes + len(data)
        self._file.rewrite(content[:offset_bytes] + data + content[end:])

    def clear_at(self, offset_bytes: int, size_bytes: int) -> None:
        """Makes zeros of a part."""
        if self.has_remains:
            self.write_at(offset_bytes, bytes(size_bytes))

    def sync(self) -> None:
        """Makes everything durable. Raises OSError (EIO)."""
        self._stage.dice.require_synced()
        self._stage.file_system.sync_all()

    def finish(self, attributes: Attributes) -> Staged:
        """Sets the attributes and closes. Raises OSError (EBADF) after a crash."""
        self._file.content()
        return self._stage.finish_download(self._name, self._file, attributes)

    def close(self) -> None:
        """Closes it."""
        self._stage.close_file(self._file)


class SimulatedSourceFile:
    """A regular file that is read whatever is written to it."""

    def __init__(self, file_system: FileSystem, inode: Inode) -> None:
        self._file_system = file_system
        self._number = inode.number

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Returns what is there now; nothing once it is gone."""
        inode = self._file_system.inodes.get(self._number)
        return b"" if inode is None else inode.content[offset_bytes : offset_bytes + size_bytes]


class SimulatedStage:
    """Entries that have not got their name yet."""

    def __init__(self, file_system: FileSystem, dice: DiskDice) -> None:
        self.dice = dice
        self.file_system = file_system
        self._open: list[OpenFile] = []
        self._tokens = 0

    def begin_file(self) -> SimulatedStagingFile:
        """Begins a regular file. Raises OSError (ENOSPC)."""
        path, inode = self._begin(DiskKind.REGULAR, b"")
        file = OpenFile(self.file_system, inode.number)
        self._open.append(file)
        return SimulatedStagingFile(self, path, file)

    def finish_file(self, path: bytes, file: OpenFile, attributes: Attributes) -> Staged:
        """Closes a staging file."""
        self._open.remove(file)
        file.close()
        return self._finish(path, self.file_system.inodes[file.number], attributes)

    def abandon_file(self, path: bytes, file: OpenFile) -> None:
        """Removes a staging file, unless a crash came first, or it was finished."""
        if file in self._open:
            self._open.remove(file)
            file.close()
            self.file_system.unlink(path)

    def make(self, kind: DiskKind, attributes: Attributes, target: bytes = b"") -> Staged:
        """Makes an entry that is no regular file. Raises OSError (ENOSPC)."""
        path, inode = self._begin(kind, target)
        return self._finish(path, inode, attributes)

    def link(self, source: bytes, inode: Inode) -> Staged | None:
        """Makes another name of a file, None when another inode is at the source now."""
        staged = Staged(self.free_token(_name_of(inode.handle)), inode.handle)
        path = STAGE + b"/" + staged.token
        self.file_system.link(source, path)
        if self.file_system.lookup(path).handle == inode.handle:
            return staged
        self.file_system.unlink(path)
        return None

    def open_download(self, name: bytes, size_bytes: int) -> SimulatedDownloadFile:
        """Opens a download, or begins it. Raises OSError (ENOSPC)."""
        self.dice.require_space()
        path = STAGE + b"/" + DOWNLOAD + name
        inode = self.file_system.find(path)
        if inode is None:
            inode = self.file_system.make(path, DiskKind.REGULAR, PRIVATE_ATTRIBUTES)
        file = OpenFile(self.file_system, inode.number)
        self._open.append(file)
        return SimulatedDownloadFile(self, name, file, size_bytes)

    def finish_download(self, name: bytes, file: OpenFile, attributes: Attributes) -> Staged:
        """Makes a staged entry of a download."""
        self.close_file(file)
        path, inode = STAGE + b"/" + DOWNLOAD + name, self.file_system.inodes[file.number]
        return self._finish(path, inode, attributes, DOWNLOAD + name + b".")

    def close_file(self, file: OpenFile) -> None:
        """Closes a file that was opened here."""
        if file in self._open:
            self._open.remove(file)
        file.close()

    def discard_download(self, name: bytes) -> None:
        """Removes a download, if it is there."""
        path = STAGE + b"/" + DOWNLOAD + name
        inode = self.file_system.find(path)
        if inode is not None:
            self._remove(path, inode)

    def discard_downloads(self, keep: frozenset[bytes]) -> None:
        """Removes the downloads with other names."""
        for name, number in sorted(self.file_system.lookup(STAGE).names.items()):
            is_download = name.startswith(DOWNLOAD) and b"." not in name
            if is_download and name.removeprefix(DOWNLOAD) not in keep:
                self._remove(STAGE + b"/" + name, self.file_system.inodes[number])

    def discard(self, staged: Staged) -> None:
        """Takes out a staged entry, if it is still there; a download is one again."""
        path = STAGE + b"/" + staged.token
        inode = self.file_system.find(path)
        if inode is not None:
            self._take_out(path, inode)

    def _take_out(self, path: bytes, inode: Inode) -> None:
        if path.startswith(STAGE + b"/" + DOWNLOAD):
            download = STAGE + b"/" + path.removeprefix(STAGE + b"/").partition(b".")[0]
            if path != download:
                self.file_system.rename(path, download, RenameMode.OVERWRITE)
        else:
            self._remove(path, inode)

    def clear(self) -> None:
        """Takes out what was never named, in the stage or on its way through the trash."""
        for directory in (STAGE, TRASH):
            for token, number in sorted(self.file_system.lookup(directory).names.items()):
                inode = self.file_system.inodes[number]
                if directory == STAGE or is_made_for(token, inode.handle):
                    self._take_out(directory + b"/" + token, inode)

    def close_all(self) -> None:
        """Closes what is open, as the end of the process does."""
        for file in self._open:
            file.close()
        self._open.clear()

    def free_token(self, purpose: bytes) -> bytes:
        """Returns a name that is free in stage and trash and ends with what it is for."""
        while True:
            self._tokens += 1
            token = b"%08d-" % self._tokens + purpose
            if not any(self.file_system.find(d + b"/" + token) for d in (STAGE, TRASH)):
                return token

    def apply_attributes(self, inode: Inode, attributes: Attributes) -> None:
        """Sets what this kind of inode can have."""
        if inode.kind is DiskKind.SYMLINK:
            attributes = Attributes(
                SYMLINK_MODE, attributes.owner, attributes.group, attributes.mtime_ns
            )
        self.file_system.set_attributes(inode.number, attributes)

    def _begin(self, kind: DiskKind, target: bytes) -> tuple[bytes, Inode]:
        self.dice.require_space()
        path = STAGE + b"/" + self.free_token(UNFINISHED)
        return path, self.file_system.make(path, kind, PRIVATE_ATTRIBUTES, target)

    def _finish(
        self, path: bytes, inode: Inode, attributes: Attributes, prefix: bytes = b""
    ) -> Staged:
        """Gives a staged entry its attributes, and a name that tells which inode it is."""
        self.apply_attributes(inode, attributes)
        staged = Staged(prefix + self.free_token(_name_of(inode.handle)), inode.handle)
        self.file_system.rename(path, STAGE + b"/" + staged.token, RenameMode.NO_REPLACE)
        return staged

    def _remove(self, path: bytes, inode: Inode) -> None:
        if inode.kind is DiskKind.DIRECTORY:
            self.file_system.remove_directory(path)
        else:
            self.file_system.unlink(path)
