"""What a file holds: a value that names bytes by their hash and never holds them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from conflict.errors import MalformedValueError

DIGEST_SIZE_BYTES = 32
SYMLINK_TARGET_SIZE_BYTES_MAX = 4095
FILE_SIZE_BYTES_MAX = 2**63 - 1
HOLE_DIGEST = bytes(DIGEST_SIZE_BYTES)  # no hash of anything that anybody will ever find


class ContentKind(Enum):
    """The kinds of file that have content; directories have none. Values are wire format."""

    REGULAR = 0
    SYMLINK = 1
    FIFO = 2


@dataclass(frozen=True, slots=True)
class Zeros:
    """So many zero bytes in a row, in place of the bytes: a hole may be of any size."""

    size_bytes: int


Block = bytes | Zeros  # a piece of a regular file


@dataclass(frozen=True, slots=True)
class ChunkReference:
    """A piece of a regular file; with HOLE_DIGEST, zeros that are stored nowhere.

    Raises:
        MalformedValueError: the digest or the size is not one that a chunk can have.
    """

    digest: bytes  # keyed hash of the plain bytes, 32 bytes
    size_bytes: int

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_SIZE_BYTES or self.size_bytes < 1:
            raise MalformedValueError(
                f"not a chunk: digest of {len(self.digest)} bytes, size {self.size_bytes}"
            )

    @property
    def is_hole(self) -> bool:
        """Tells whether the piece is zeros that need not be fetched."""
        return self.digest == HOLE_DIGEST


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one version of a file. Equal digests mean equal content, of equal kind.

    Raises:
        MalformedValueError: the parts contradict each other.
    """

    kind: ContentKind
    digest: bytes  # of kind and bytes, 32 bytes; compared in place of the bytes
    size_bytes: int  # length of a regular file, or of a symlink's target; 0 for a FIFO
    chunks: tuple[ChunkReference, ...] = ()  # of a regular file, in order, without gaps
    target: bytes = b""  # of a symlink

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_SIZE_BYTES:
            raise MalformedValueError(f"not a content digest: {len(self.digest)} bytes")
        if not 0 <= self.size_bytes <= FILE_SIZE_BYTES_MAX:
            raise MalformedValueError(f"not a file size: {self.size_bytes}")
        if self.size_bytes != self._expected_size_bytes():
            raise MalformedValueError(
                f"a {self.kind.name.lower()} of {self.size_bytes} bytes"
                f" has parts of {self._expected_size_bytes()} bytes"
            )
        if bool(self.target) != (self.kind is ContentKind.SYMLINK) or b"\0" in self.target:
            raise MalformedValueError(f"not a symlink target: {self.target[:80]!r}")
        if len(self.target) > SYMLINK_TARGET_SIZE_BYTES_MAX:
            raise MalformedValueError(f"a symlink target of {len(self.target)} bytes is too long")

    @property
    def data_size_bytes(self) -> int:
        """Returns the length of a regular file without its large holes: what must be stored."""
        return sum(chunk.size_bytes for chunk in self.chunks if not chunk.is_hole)

    def _expected_size_bytes(self) -> int:
        if self.kind is ContentKind.SYMLINK:
            return len(self.target)
        return sum(chunk.size_bytes for chunk in self.chunks)
