"""Names of objects: made here, taken apart here, and nowhere else.

Numbers have a fixed width, so that the order of a listing is the order of the numbers.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from conflict.errors import MalformedValueError
from conflict.version import ActorId
from transport.wire_errors import WireFormatError

VOLUME_RECORD: Final = "volume/record"
ACTORS_PREFIX: Final = "actors/"
PACKS_PREFIX: Final = "packs/"
LABEL_LENGTH_MAX: Final = 64
SEQUENCE_MAX: Final = 2**62
CHECKPOINTS_PREFIX: Final = "checkpoints/"
PACK_NUMBER_MAX: Final = 2**48 - 1
CHECKPOINT_NUMBER_MAX: Final = 2**48 - 1
CHECKPOINT_PART_MAX: Final = 2**32 - 1

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SEGMENT = re.compile(r"log/([0-9a-f]{32})/([0-9a-f]{16})")
_ACTOR = re.compile(rf"actors/({_LABEL.pattern})/([0-9a-f]{{32}})")
_PACK = re.compile(r"packs/([0-9a-f]{32})/([0-9a-f]{12})")
_CHECKPOINT = re.compile(r"checkpoints/([0-9a-f]{32})/([0-9a-f]{12})/(manifest|[0-9a-f]{8})")
_CUT = re.compile(r"checkpoints/([0-9a-f]{32})/cut/([0-9a-f]{12})")


def container_name(volume: str, area: str) -> str:
    """Returns what the container of an area of a volume is called in Swift."""
    return f"geosync-{volume}-{area}"


class SegmentName(NamedTuple):
    """What the name of a segment says."""

    actor: ActorId
    sequence: int


class ActorName(NamedTuple):
    """What the name of an actor's announcement says."""

    site: str
    actor: ActorId


class PackName(NamedTuple):
    """What the name of a pack says."""

    actor: ActorId
    number: int


class CheckpointName(NamedTuple):
    """What the name of a checkpoint's manifest, or of a part of it, says."""

    actor: ActorId
    number: int
    part: int | None  # None: the manifest


class CutName(NamedTuple):
    """What the name of a cut says: the actor's log was cut short so often before."""

    actor: ActorId
    number: int


def check_label(label: str, subject: str) -> None:
    """Raises MalformedValueError for what can't be the name of a volume or site."""
    if len(label) > LABEL_LENGTH_MAX or not _LABEL.fullmatch(label):
        raise MalformedValueError(
            f"{subject} is called {label[:100]!r}: choose a name of 1 to {LABEL_LENGTH_MAX} ASCII"
            " letters, digits, dots, dashes and underscores that begins with a letter or digit"
        )


def log_prefix(actor: ActorId) -> str:
    """Returns what the names of all segments of one actor begin with."""
    return f"log/{actor.hex()}/"


def packs_prefix(actor: ActorId) -> str:
    """Returns what the names of all packs of one actor begin with."""
    return f"{PACKS_PREFIX}{actor.hex()}/"


def segment_name(actor: ActorId, sequence: int) -> str:
    """Returns the name of the segment with this sequence number, counted from 0."""
    assert 0 <= sequence <= SEQUENCE_MAX
    return f"log/{actor.hex()}/{sequence:016x}"


def actor_name(site: str, actor: ActorId) -> str:
    """Returns the name under which a site announces an actor. Raises MalformedValueError."""
    check_label(site, "a site")
    return f"{ACTORS_PREFIX}{site}/{actor.hex()}"


def pack_name(actor: ActorId, number: int) -> str:
    """Returns the name of an actor's pack with this number."""
    assert 0 <= number <= PACK_NUMBER_MAX
    return f"{PACKS_PREFIX}{actor.hex()}/{number:012x}"


def checkpoints_prefix(actor: ActorId) -> str:
    """Returns what the names of all checkpoints of one actor begin with."""
    return f"{CHECKPOINTS_PREFIX}{actor.hex()}/"


def checkpoint_manifest_name(actor: ActorId, number: int) -> str:
    """Returns the name of the manifest of an actor's checkpoint with this number."""
    assert 0 <= number <= CHECKPOINT_NUMBER_MAX
    return f"{CHECKPOINTS_PREFIX}{actor.hex()}/{number:012x}/manifest"


def checkpoint_part_name(actor: ActorId, number: int, part: int) -> str:
    """Returns the name of a part, counted from 0, of an actor's checkpoint."""
    assert 0 <= number <= CHECKPOINT_NUMBER_MAX
    assert 0 <= part <= CHECKPOINT_PART_MAX
    return f"{CHECKPOINTS_PREFIX}{actor.hex()}/{number:012x}/{part:08x}"


def cut_name(actor: ActorId, number: int) -> str:
    """Returns the name of the object that tells where a log begins after its n-th cut."""
    assert 0 <= number <= CHECKPOINT_NUMBER_MAX
    return f"{CHECKPOINTS_PREFIX}{actor.hex()}/cut/{number:012x}"


def parse_segment_name(name: str) -> SegmentName:
    """Takes the name of a segment apart. Raises WireFormatError for any other name."""
    found = recognise(name)
    if not isinstance(found, SegmentName):
        raise _foreign(name, "segment")
    return found


def parse_actor_name(name: str) -> ActorName:
    """Takes the name of an announcement apart. Raises WireFormatError for any other name."""
    found = recognise(name)
    if not isinstance(found, ActorName):
        raise _foreign(name, "site's announcement")
    return found


def parse_pack_name(name: str) -> PackName:
    """Takes the name of a pack apart. Raises WireFormatError for any other name."""
    found = recognise(name)
    if not isinstance(found, PackName):
        raise _foreign(name, "pack")
    return found


def recognise(
    name: str,
) -> SegmentName | ActorName | PackName | CheckpointName | CutName | None:
    """Tells what a listed name stands for; None for a stranger's. Never raises."""
    if match := _SEGMENT.fullmatch(name):
        sequence = int(match[2], 16)
        return SegmentName(_actor(match[1]), sequence) if sequence <= SEQUENCE_MAX else None
    if match := _ACTOR.fullmatch(name):
        site = match[1]
        return ActorName(site, _actor(match[2])) if len(site) <= LABEL_LENGTH_MAX else None
    if match := _PACK.fullmatch(name):
        return PackName(_actor(match[1]), int(match[2], 16))
    if match := _CHECKPOINT.fullmatch(name):
        part = None if match[3] == "manifest" else int(match[3], 16)
        return CheckpointName(_actor(match[1]), int(match[2], 16), part)
    if match := _CUT.fullmatch(name):
        return CutName(_actor(match[1]), int(match[2], 16))
    return None


def _actor(text: str) -> ActorId:
    return ActorId(bytes.fromhex(text))


def _foreign(name: str, subject: str) -> WireFormatError:
    return WireFormatError(
        f"{name[:200]!r} is not the name of a {subject}: geosync did not make this object;"
        " leave it alone, or move it out of the containers of this volume"
    )
