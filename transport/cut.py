"""Cuts: objects that tell where a log begins, once its older segments may be gone.

They are numbered without gaps, and stay: a journal that does not know of a cut of its own log was
restored, and must not write that log any more.
"""

from __future__ import annotations

from typing import Final

from conflict.version import ActorId
from transport.frame import FrameFormat, seal, unseal
from transport.hashing import VolumeHasher
from transport.msgpack_codec import array, ascii_text, byte_string, decode, encode, integer
from transport.object_names import CHECKPOINT_NUMBER_MAX, SEQUENCE_MAX, cut_name
from transport.wire_errors import MisplacedObjectError, Reading

CUT_SIZE_BYTES_MAX: Final = 4096
_FRAME: Final = FrameFormat("cut", b"GCUT", 1, CUT_SIZE_BYTES_MAX)
CUT_OBJECT_SIZE_BYTES_MAX: Final = _FRAME.sealed_size_bytes_max


def encode_cut(
    volume: str, actor: ActorId, number: int, sequence: int, hasher: VolumeHasher
) -> bytes:
    """Returns the object to store as `cut_name(actor, number)`."""
    body = encode((volume.encode("ascii"), actor, number, sequence))
    return seal(_FRAME, body, hasher.authenticator)


def decode_cut(
    stored: bytes, hasher: VolumeHasher, volume: str, actor: ActorId, number: int
) -> int:
    """Returns the sequence of the first segment that is certainly kept.

    Raises:
        WireFormatError: of the class that fits.
    """
    name = cut_name(actor, number)
    body = unseal(_FRAME, stored, name, hasher.authenticator)
    with Reading(name):
        of_volume, of_actor, of_number, sequence = array(decode(body, CUT_SIZE_BYTES_MAX), "cut", 4)
        found = (
            ascii_text(of_volume, "volume"),
            byte_string(of_actor, "actor"),
            integer(of_number, 0, CHECKPOINT_NUMBER_MAX, "number"),
        )
        if found != (volume, actor, number):
            raise MisplacedObjectError("it is the cut of another log: it was copied or renamed")
        return integer(sequence, 0, SEQUENCE_MAX, "sequence")
