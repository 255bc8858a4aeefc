"""Joining from a checkpoint: takes the newest one that is intact, in place of all older operations.

Its parts are collected in the state directory first, so that an interrupted joining goes on where
it was; the journal takes all of them at once, or none.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Final

from conflict.errors import MalformedValueError
from conflict.version import ActorId
from geosync.engine.checkpoint_records import CheckpointLoading
from geosync.engine.checkpoint_source import listed, read_manifest, stored_part
from geosync.engine.cuts import CutWatch
from geosync.engine.site import Site
from geosync.event_log import event_logger
from transport.checkpoint import Manifest, decode_part
from transport.errors import CorruptObject, ObjectNotVisible

PARTS_AT_ONCE: Final = 4
_DIRECTORY: Final = b"checkpoint"
_log = event_logger(__name__)


class CheckpointJoining:
    """Brings a journal that has not joined yet as far as some checkpoint does.

    Attributes:
        is_looked: nothing better was in the store when it was last looked at.
        manifest: of the checkpoint that is being read.
        parts_read: of that one.
    """

    def __init__(self, site: Site, cuts: CutWatch) -> None:
        self._site = site
        self._cuts = cuts
        self._directory = os.path.join(site.state_dir, _DIRECTORY)
        self._refused: set[tuple[bytes, int]] = set()
        self._intact: set[bytes] = set()  # paths of parts that were looked at by this process
        self.is_looked = False
        self.manifest: Manifest | None = None
        self.parts_read = 0

    def look_again(self, *, at_all: bool = False) -> None:
        """Asks for another look: a log may have been cut off below where it was read.

        Args:
            at_all: also at what was refused: it may have been damaged on its way to us only.
        """
        self.is_looked = False
        if at_all:
            self._refused.clear()

    def step(self) -> bool:
        """Does a part of the work; all is done when `is_looked`.

        Returns:
            Whether the journal holds what a checkpoint told now.

        Raises:
            StoreUnavailable, StoreRefused: see ObjectStore.
            OSError: the state directory can't be written.
        """
        if self.manifest is None:
            self.manifest = self._better()
            self.parts_read = 0
            self.is_looked = self.manifest is None
            if self.is_looked:
                self._forget_parts()
            return False
        is_loaded = False
        try:
            if not self._fetch(self.manifest):
                return False
            self._load(self.manifest)
            is_loaded = True
        except ObjectNotVisible as error:
            self._refuse(self.manifest, str(error))  # it may have been deleted meanwhile
        except (CorruptObject, MalformedValueError) as error:
            self._refuse(self.manifest, str(error))
        self.manifest = None
        return is_loaded

    def _better(self) -> Manifest | None:
        """Returns the checkpoint that goes farthest, if it goes farther than we have read."""
        best: Manifest | None = None
        begins_at = self._cuts.begins_at()
        for actor, number, _ in listed(self._site):
            if (actor, number) in self._refused:
                continue
            try:
                found = read_manifest(self._site, actor, number)
            except (ObjectNotVisible, CorruptObject) as error:
                _log.warning("checkpoint_passed_over", actor=actor.hex(), reason=str(error))
                continue
            is_useful = self._goes_farther(found) and _leads_to(found, begins_at)
            if is_useful and (best is None or _reach(found) > _reach(best)):
                best = found
        return best

    def _goes_farther(self, manifest: Manifest) -> bool:
        """Tells whether it has all that was read here, and more."""
        known = {log.actor: log.next_sequence for log in self._site.journal.log.actors()}
        known.pop(self._site.actor, None)
        told = {log.actor: log.next_sequence for log in manifest.logs}
        own = self._site.journal.log.received().counter_of(self._site.actor)
        received = manifest.received.join({self._site.actor: own} if own else {})
        return (
            any(told[actor] > known.get(actor, 0) for actor in told)
            and all(told.get(actor, 0) >= sequence for actor, sequence in known.items())
            and received.covers(self._site.journal.log.received())
        )

    def _fetch(self, manifest: Manifest) -> bool:
        """Brings some parts; returns whether all are there."""
        os.makedirs(self._directory, exist_ok=True)
        missing = [i for i in range(len(manifest.parts)) if not self._has(manifest, i)]
        self.parts_read = len(manifest.parts) - len(missing)
        wanted = missing[:PARTS_AT_ONCE]
        site = self._site
        for index, body in zip(
            wanted, site.pool.map(lambda i: stored_part(site, manifest, i), wanted), strict=True
        ):
            if site.hasher.chain_digest(body) != manifest.parts[index]:
                decode_part(body, site.hasher, manifest, index)  # raises, and says what it is
            _write(self._path(manifest, index), body)
            self._intact.add(self._path(manifest, index))
        return len(missing) <= PARTS_AT_ONCE

    def _load(self, manifest: Manifest) -> None:
        site = self._site
        with site.journal.transaction():
            loading = CheckpointLoading(site, manifest)
            for index in range(len(manifest.parts)):
                with open(self._path(manifest, index), "rb") as file:
                    loading.take(decode_part(file.read(), site.hasher, manifest, index))
            loading.finish()
        operations = sum(manifest.received.values())
        _log.info(
            "checkpoint_loaded",
            actor=manifest.actor.hex(),
            number=manifest.number,
            operations=operations,
        )
        self._forget_parts()

    def _refuse(self, manifest: Manifest, reason: str) -> None:
        """Passes over a checkpoint for as long as this process runs."""
        self._refused.add((manifest.actor, manifest.number))
        self._forget_parts()
        _log.warning(
            "checkpoint_refused",
            actor=manifest.actor.hex(),
            number=manifest.number,
            reason=reason,
        )

    def _has(self, manifest: Manifest, index: int) -> bool:
        """CRASH: a part that was not written whole is not the one that the manifest names."""
        path = self._path(manifest, index)
        if path in self._intact:
            return True
        try:
            with open(path, "rb") as file:
                is_intact = self._site.hasher.chain_digest(file.read()) == manifest.parts[index]
        except FileNotFoundError:
            return False
        if is_intact:
            self._intact.add(path)
        return is_intact

    def _forget_parts(self) -> None:
        self._intact.clear()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _path(self, manifest: Manifest, index: int) -> bytes:
        name = f"{manifest.actor.hex()}-{manifest.number:012x}-{index:08x}"
        return os.path.join(self._directory, name.encode())


def _leads_to(manifest: Manifest, begins_at: Mapping[ActorId, int]) -> bool:
    """Tells whether the logs can be read on from there: they may be cut short by now."""
    told = {log.actor: log.next_sequence for log in manifest.logs}
    return all(told.get(actor, 0) >= sequence for actor, sequence in begins_at.items())


def _reach(manifest: Manifest) -> tuple[int, int]:
    return sum(manifest.received.values()), sum(log.next_sequence for log in manifest.logs)


def _write(path: bytes, body: bytes) -> None:
    with open(path, "wb") as file:
        file.write(body)
