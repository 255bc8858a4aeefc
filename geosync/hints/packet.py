"""A hint on the wire: who has stored which segment of its log, and proof that a site says so.

It holds no name, no content and no time. Whoever sees one may send it again: it then tells of a
segment that is read already, and at worst a site is believed to be quiet until the next poll.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from typing import Final

from conflict.version import ACTOR_SIZE_BYTES, ActorId, actor_id

SECRET_SIZE_BYTES_MIN: Final = 16
_MAGIC: Final = b"gsh1"
_BODY: Final = struct.Struct(f">4s{ACTOR_SIZE_BYTES}sQ")
_PROOF_SIZE_BYTES: Final = 32
PACKET_SIZE_BYTES: Final = _BODY.size + _PROOF_SIZE_BYTES


@dataclass(frozen=True, slots=True)
class Hint:
    """An actor has stored all segments of its log up to this one."""

    actor: ActorId
    sequence: int


def hint_key(secret: bytes, volume: str) -> bytes:
    """Returns the key of one volume, so that several volumes may share a secret."""
    return hmac.digest(secret, b"geosync hint 1 " + volume.encode(), "sha256")


def encode_hint(hint: Hint, key: bytes) -> bytes:
    """Returns a packet of PACKET_SIZE_BYTES."""
    body = _BODY.pack(_MAGIC, hint.actor, hint.sequence)
    return body + hmac.digest(key, body, "sha256")


def decode_hint(packet: bytes, key: bytes) -> Hint | None:
    """Reads a packet; None when it is no hint of this volume by somebody who knows the secret."""
    body, proof = packet[: _BODY.size], packet[_BODY.size :]
    if len(packet) != PACKET_SIZE_BYTES:
        return None
    if not hmac.compare_digest(proof, hmac.digest(key, body, "sha256")):
        return None
    magic, actor, sequence = _BODY.unpack(body)
    return Hint(actor_id(actor), sequence) if magic == _MAGIC else None
