"""Large files: from which size on files are read and sent bit by bit, beside everything else."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LargeFiles:
    """How large files are read and sent.

    Attributes:
        size_bytes_min: a file of this size, or larger, is read before it is captured, in slices.
        slice_size_bytes: so much of it is read in one cycle at most.
        slice_s: so long a slice takes at most, but for one chunk.
        unsent_size_bytes_max: while so much of what was read is not sent, no more is read.
        announced_size_bytes_min: the others hear of what is sent each time it is so much, so that
            they can bring it while the rest is being sent.
    """

    size_bytes_min: int = 64 * MIB
    slice_size_bytes: int = 16 * MIB
    slice_s: float = 0.1
    unsent_size_bytes_max: int = 1024 * MIB
    announced_size_bytes_min: int = 32 * MIB
