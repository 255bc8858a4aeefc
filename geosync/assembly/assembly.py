"""Assembly: builds a site's engine, and all that it works on, from the configuration."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Final

from geosync.assembly.journal_of_root import open_journal
from geosync.assembly.paced_line import bandwidths
from geosync.assembly.read_only_store import ReadOnlyStore
from geosync.assembly.transfer_pool import TransferPool
from geosync.clock import Clock, SystemClock
from geosync.configuration.volume_configuration import Configuration, Mode, StoreKind
from geosync.disk.owner_names import OwnerNames
from geosync.disk.posix_disk import PosixDisk
from geosync.engine.engine import Engine
from geosync.engine.membership import Identity, Randomness, identify
from geosync.engine.site import Site
from geosync.event_log import event_logger
from geosync.journal.journal import Journal
from transport.directory_store import DirectoryStore
from transport.failover_store import FailoverStore
from transport.hashing import KEY_SIZE_BYTES, VolumeHasher
from transport.object_store import ObjectStore
from transport.retrying_store import RetryingStore

_log = event_logger(__name__)

STORE_TIMEOUT_S: Final = 20.0
"""How long Swift may be silent. A Swift that has a dead node of its own needs up to 15 s."""


def open_store(configuration: Configuration, environment: Mapping[str, str]) -> ObjectStore:
    """Returns the configured store, which a replica only reads; nothing is asked of it yet.

    Raises:
        InvalidCredentials: nothing, or something contradictory, says how to log in.
    """
    store = _open_writable(configuration, environment)
    return ReadOnlyStore(store) if configuration.mode is Mode.REPLICA else store


def _open_writable(configuration: Configuration, environment: Mapping[str, str]) -> ObjectStore:
    if configuration.store is StoreKind.DIRECTORY:
        assert configuration.directory_path is not None
        return DirectoryStore(configuration.directory_path)
    opened = open_swift_endpoints(configuration, environment)
    if len(opened) == 1:
        return opened[0][1]
    clock = SystemClock()
    return FailoverStore(
        opened,
        monotonic=clock.monotonic_s,
        in_background=lambda work: threading.Thread(target=work, name="probe", daemon=True).start(),
        on_change=_log_endpoint,
    )


def open_swift_endpoints(
    configuration: Configuration, environment: Mapping[str, str]
) -> list[tuple[str, ObjectStore]]:
    """Returns a store for each endpoint of the configured Swift, the nearest first, with names.

    Raises:
        InvalidCredentials: nothing, or something contradictory, says how to log in.
    """
    # Imported here: Swift's client costs more than most commands take as a whole.
    from transport.swift_credentials import resolve_credentials  # noqa: PLC0415 - see above
    from transport.swift_store import open_swift_store  # noqa: PLC0415 - see above

    opened: list[tuple[str, ObjectStore]] = []
    limits = bandwidths(configuration.bandwidth, SystemClock())
    for endpoint in configuration.swift_endpoints or ({"name": ""},):
        changes = {key: value for key, value in endpoint.items() if key != "name"}
        credentials = resolve_credentials(configuration.swift | changes, environment)
        store = open_swift_store(
            credentials, configuration.volume, timeout_s=STORE_TIMEOUT_S, bandwidths=limits
        )
        opened.append((endpoint["name"], store))
    return opened


def _log_endpoint(name: str, problem: str) -> None:
    if problem:
        _log.warning("endpoint_failed", endpoint=name, reason=problem)
    else:
        _log.info("endpoint_is_back", endpoint=name)


def retrying(store: ObjectStore, clock: Clock, budget_s: float) -> RetryingStore:
    """Returns a store that asks again for so long."""
    return RetryingStore(
        store,
        budget_s=budget_s,
        sleep=lambda pause_s: clock.wait(Event(), pause_s),
        monotonic=clock.monotonic_s,
        random=random.Random(),  # noqa: S311 - jitter is no secret
    )


def join_volume(
    configuration: Configuration, journal: Journal, store: ObjectStore, clock: Clock
) -> Identity:
    """Returns who this site is; creates or joins the volume when the journal is fresh.

    Raises:
        OperatorError: the journal belongs to another site, or the volume's record is damaged.
        StoreUnavailable, StoreRefused: a fresh journal can't join without the store.
    """
    names = (configuration.volume, configuration.site)
    randomness = Randomness(os.urandom(16), os.urandom(KEY_SIZE_BYTES))
    may_write = configuration.mode is not Mode.REPLICA
    return identify(journal, store, clock, names, randomness, may_write=may_write)


@contextmanager
def assembled(
    configuration: Configuration, clock: Clock, joining: ObjectStore, store: ObjectStore
) -> Iterator[Engine]:
    """Builds the engine, and takes everything apart again when the block ends.

    The caller holds the locks of geosync.single_instance.

    Args:
        configuration: of the site.
        clock: of this machine.
        joining: the store for joining the volume, which is worth some waiting.
        store: the store for the engine.

    Raises:
        RootLost: the root is not the directory that this journal knows.
        OperatorError, StoreUnavailable, StoreRefused: see `join_volume`.
    """
    with ExitStack() as stack:
        disk = PosixDisk(
            configuration.root,
            accepts_setuid=configuration.allow_setuid,
            names=OwnerNames(configuration.owners, configuration.groups),
        )
        stack.callback(disk.close)
        names = (configuration.volume, configuration.site)
        journal = open_journal(configuration.state_dir, disk, names, clock)
        stack.callback(journal.close)
        identity = join_volume(configuration, journal, joining, clock)
        pool = TransferPool(
            configuration.tuning.transfer_workers,
            memory_mib=configuration.tuning.transfer_memory_mib,
        )
        stack.callback(pool.close)
        engine = Engine(
            Site(
                volume=configuration.volume,
                name=configuration.site,
                actor=identity.actor,
                disk=disk,
                journal=journal,
                store=store,
                clock=clock,
                hasher=VolumeHasher(identity.volume_key),
                state_dir=configuration.state_dir,
                pool=pool,
                syncs_fifos=configuration.fifos,
                capture_rules=configuration.capture,
                checkpoint_pace=configuration.tuning.checkpoint_pace,
                collection_pace=configuration.tuning.collection_pace,
                mode=configuration.mode,
                drift=configuration.drift,
                brake_limits=configuration.brakes,
                merge_programs=configuration.merge_programs,
            )
        )
        stack.callback(engine.close)
        yield engine
