"""Writing a checkpoint: all that this site knows at one moment, part by part, then the manifest.

It is read from a snapshot of the journal, so everything else goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from conflict.checkpointing import Checkpointing, Written
from conflict.operations import Topic
from conflict.version import ActorId
from geosync.engine.authoring import declare
from geosync.engine.checkpoint_records import logs_of, records_of
from geosync.engine.checkpoint_statements import confirmed_checkpoints
from geosync.engine.site import Site
from geosync.event_log import event_logger
from geosync.journal.journal import Journal
from transport.checkpoint import (
    CHECKPOINT_PART_SIZE_BYTES_TARGET,
    CheckpointedLog,
    Manifest,
    PartsWriter,
    encode_manifest,
)
from transport.checkpoint_statement import encode_checkpoint_statement
from transport.object_names import (
    CheckpointName,
    checkpoint_manifest_name,
    checkpoint_part_name,
    checkpoints_prefix,
    recognise,
)

NEXT_CHECKPOINT: Final = "next_checkpoint"  # a setting of the journal: no number is used twice
_log = event_logger(__name__)


class CheckpointWriting:
    """One checkpoint on its way to the store.

    CRASH: its number is used up, and whatever is stored of it is deleted after the next one.
    """

    def __init__(self, site: Site) -> None:
        """Takes the snapshot. All that this site wrote must be in the store already.

        Otherwise a checkpoint could tell of operations that never get there: a journal that turns
        out to be a copy throws them away, and the other copy uses their names.
        """
        log = site.journal.log
        assert not log.outbox_counts()[0]
        assert not log.segments_to_store()
        self._site = site
        self._number = site.journal.integer_setting(NEXT_CHECKPOINT)
        with site.journal.transaction():
            site.journal.set_setting(NEXT_CHECKPOINT, self._number + 1)
        self._journal = Journal(site.state_dir, is_read_only=True)
        self._journal.hold_snapshot()
        self._logs: tuple[CheckpointedLog, ...] = logs_of(self._journal)
        self._created_at_ms = max(0, site.now_ms())
        self._writer = PartsWriter(site.hasher, CHECKPOINT_PART_SIZE_BYTES_TARGET)
        self._parts: Iterator[bytes] = self._writer.parts(records_of(self._journal))
        self._digests: list[bytes] = []
        self._pending: bytes | None = next(self._parts, None)

    def close(self) -> None:
        """Lets the snapshot go."""
        self._journal.close()

    def step(self) -> bool:
        """Stores the next part, or at the end the manifest; returns whether that was all.

        Raises:
            StoreUnavailable, StoreRefused: the same part is stored when this is called again.
            OversizeObjectError: a file has too many versions of too many chunks.
        """
        site = self._site
        if self._pending is not None:
            name = checkpoint_part_name(site.actor, self._number, len(self._digests))
            site.store.put_once(name, self._pending)
            self._digests.append(site.hasher.chain_digest(self._pending))
            self._pending = next(self._parts, None)
            return False
        manifest = Manifest(
            site.volume,
            site.name,
            site.actor,
            self._number,
            self._created_at_ms,
            self._logs,
            self._writer.tree_digest,
            tuple(self._digests),
        )
        body = encode_manifest(manifest, site.hasher)
        name = checkpoint_manifest_name(site.actor, self._number)
        site.store.put_once(name, body)
        covered = {log.actor: log.next_sequence for log in self._logs if log.next_sequence}
        written = Written(self._number, site.hasher.chain_digest(body), covered)
        declare(site, Topic.CHECKPOINT, encode_checkpoint_statement(written))
        _log.info("checkpoint_written", name=name, parts=len(self._digests))
        return True


def numbers_to_keep(site: Site, known: Checkpointing, actor: ActorId) -> frozenset[int]:
    """Returns which checkpoints of an actor are still needed, or may yet come to count."""
    confirmed = confirmed_checkpoints(site, known)
    outdated = {each.dot for each in known.outdated(confirmed)}
    ours = [each for each in known.written if each.writer == actor]
    return frozenset(each.written.number for each in ours if each.dot not in outdated)


def delete_others(site: Site, kept: frozenset[int], actor: ActorId) -> None:
    """Deletes all checkpoints of an actor but these, also those that were never finished.

    Raises:
        StoreUnavailable, StoreRefused: see ObjectStore.
    """
    names = list(site.store.list_names(checkpoints_prefix(actor)))
    for name in sorted(names, reverse=True):  # manifests first: who finds one may rely on the parts
        found = recognise(name)
        if isinstance(found, CheckpointName) and found.number not in kept:
            site.store.delete(name)
            _log.debug("checkpoint_object_deleted", name=name)
