"""Creating a volume or joining it: who this site is, and the key that all sites share."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import Final

from conflict.policy import SITE_KEY_PREFIX
from conflict.version import ACTOR_SIZE_BYTES, ActorId, actor_id
from geosync.clock import Clock
from geosync.engine.authoring import author_of
from geosync.engine.history import begin_history
from geosync.engine.joining import JOINING
from geosync.engine.site import Site
from geosync.errors import OperatorError
from geosync.event_log import event_logger
from geosync.journal.journal import Journal
from geosync.journal.log import ActorLog
from transport.errors import CorruptObject, ObjectCollision, ObjectNotVisible
from transport.hashing import KEY_SIZE_BYTES
from transport.object_names import VOLUME_RECORD, actor_name
from transport.object_store import ObjectStore
from transport.volume_record import (
    VOLUME_RECORD_SIZE_BYTES_MAX,
    VolumeRecord,
    decode_volume_record,
    encode_volume_record,
)

CREATION_SETTLES_S: Final = 2.0
_log = event_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this journal is, and the volume's key."""

    actor: ActorId
    volume_key: bytes


@dataclass(frozen=True, slots=True)
class Randomness:
    """The random bytes that one journal needs once: an argument, so that simulation can choose."""

    actor: bytes  # 16 bytes
    volume_key: bytes  # 32 bytes, used only by the site that creates the volume

    def __post_init__(self) -> None:
        assert len(self.actor) == ACTOR_SIZE_BYTES
        assert len(self.volume_key) == KEY_SIZE_BYTES


def identify(
    journal: Journal,
    store: ObjectStore,
    clock: Clock,
    names: tuple[str, str],
    randomness: Randomness,
    *,
    may_write: bool = True,
) -> Identity:
    """Returns who this site is; joins the volume, or creates it, when the journal is fresh.

    Args:
        journal: of this site.
        store: of the volume.
        clock: for the record of a new volume.
        names: of the volume and of the site, as configured.
        randomness: for a fresh journal.
        may_write: False: the volume must be there, nothing is written to the store.

    Raises:
        OperatorError: the journal belongs to another volume or site, or the volume's record is
            damaged, or not there where nothing may be written.
        StoreUnavailable, StoreRefused: a fresh journal can't join without the store.
    """
    volume, site = names
    known = journal.setting("actor")
    if known is not None:
        check_names(journal, names)
        key = journal.setting("volume_key")
        assert key is not None
        return Identity(actor_id(known), key)
    if may_write:
        store.prepare()
        key = _read_or_create(store, clock, volume, site, randomness)
    else:
        key = _read_existing(store, volume)
    with journal.transaction():
        journal.set_setting("volume", volume.encode())
        journal.set_setting("site", site.encode())
        journal.set_setting("actor", randomness.actor)
        journal.set_setting("volume_key", key)
        journal.set_setting(JOINING, b"1")
        begin_history(journal)
    _log.info("joined_volume", volume=volume, site=site, actor=randomness.actor.hex())
    return Identity(actor_id(randomness.actor), key)


def check_names(journal: Journal, names: tuple[str, str]) -> None:
    """Raises OperatorError when a journal belongs to another volume or site than these."""
    if journal.setting("actor") is None:
        return
    for key, wanted in zip(("volume", "site"), names, strict=True):
        found = (journal.setting(key) or b"").decode()
        if found != wanted:
            raise OperatorError(
                f"the state directory belongs to the {key} {found!r}, but the configuration says"
                f" {wanted!r}. Give this {key} a state_dir of its own, or correct the {key}."
            )


def _read_or_create(
    store: ObjectStore, clock: Clock, volume: str, site: str, randomness: Randomness
) -> bytes:
    """Returns the volume's key.

    RACE: two sites that create one volume at the same moment may both be told that they did, as
    the store has no compare-and-swap. Whoever created waits and reads again, so both take the
    record that the store settled on. Were they still to differ, the other's segments would not
    authenticate: they are reported and nothing is merged wrongly.
    """
    try:
        return _read(store, volume)
    except ObjectNotVisible:
        pass
    record = VolumeRecord(volume, randomness.volume_key, site, clock.wall_ns() // 1_000_000)
    try:
        store.put_once(VOLUME_RECORD, encode_volume_record(record))
        _log.info("created_volume", volume=volume, site=site)
        clock.wait(Event(), CREATION_SETTLES_S)
    except ObjectCollision:
        _log.info("volume_created_elsewhere", volume=volume)
    try:
        return _read(store, volume)
    except ObjectNotVisible as error:
        raise OperatorError(
            f"the record of volume {volume!r} was written, but the store does not show it yet."
            " Nothing was changed here; start again in a minute."
        ) from error


def _read_existing(store: ObjectStore, volume: str) -> bytes:
    try:
        return _read(store, volume)
    except ObjectNotVisible as error:
        raise OperatorError(
            f"there is no volume {volume!r} in this store, and a replica creates none. Nothing was"
            " changed. Start a site that writes to it first, and check the volume's name and the"
            " store here."
        ) from error


def _read(store: ObjectStore, volume: str) -> bytes:
    try:
        stored = store.get(VOLUME_RECORD, size_bytes_max=VOLUME_RECORD_SIZE_BYTES_MAX)
        return decode_volume_record(stored, volume).key
    except CorruptObject as error:
        raise OperatorError(
            f"cannot join the volume {volume!r}: {error} Nothing was changed here."
        ) from error


def introduce(site: Site) -> None:
    """Tells the other sites of this actor: an announcement to be listed, and its site's name."""
    if site.journal.integer_setting("is_introduced"):
        return
    site.store.put_once(actor_name(site.name, site.actor), site.name.encode())
    with site.journal.transaction():
        site.journal.set_setting("is_introduced", 1)


def write_first_operation(site: Site) -> None:
    """Makes the actor's own log, whose first operation tells which site it belongs to."""
    if site.journal.log.actor(site.actor) is not None:
        return
    with site.journal.transaction():
        journal = site.journal
        author = author_of(site)
        author.set_root_attributes(((SITE_KEY_PREFIX + site.actor, site.name.encode()),))
        transaction = author.transaction()
        assert transaction is not None
        journal.log.save_actor(
            ActorLog(site.actor, site=site.name, received=transaction.last_counter)
        )
        journal.log.add_to_outbox(transaction)
        site.save_hybrid_clock(author.clock)
