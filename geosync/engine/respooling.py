"""Respooling: makes a pack again whose file somebody removed, from the files it was made of."""

from __future__ import annotations

from collections.abc import Iterator

from conflict.observation import DiskKind
from conflict.synced import ROOT_ENTRY, EntryId, SyncedEntry
from geosync.disk.interface import EntryVanished
from geosync.engine.intake import BLOCK_SIZE_BYTES
from geosync.engine.places import path_on_disk
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from geosync.event_log import event_logger
from transport.object_names import pack_name
from transport.pack import ChunkLocation, PackWriter, store_chunk
from transport.sparse_chunker import cut_sparse

_log = event_logger(__name__)


def respool(site: Site, spool: Spool, name: str, *, is_ahead: bool = False) -> None:
    """Makes a pack again, as far as the files still hold its chunks.

    If all are there, it is the same pack. Else what is left goes into another one, and the rest
    counts as never sent: other sites go on waiting for those versions until newer ones come, and
    a file that holds such a chunk again brings it along.

    Args:
        site: whose pack it is.
        spool: in which it is missing.
        name: of the pack.
        is_ahead: it is of a large file that is not captured yet, which is read again then.

    Raises:
        EntryBusy, EntryUnreadable: a file that may hold a chunk can't be read now; try later.
        OSError: the spool can't be written.
    """
    locations = site.journal.chunks.locations_in(name)
    found = _found(site, set(locations))
    body = _same_body(locations, found)
    if body is not None:
        spool.write(name, body)
        _log.warning("pack_made_again", name=name, size_bytes=len(body))
        return
    _salvage(site, spool, name, found)
    if is_ahead:
        return
    text = (
        f"the pack {name} is gone from the spool and {len(locations) - len(found)} of its"
        f" {len(locations)} chunks are in no file any more: other sites will not see the versions"
        " that they belong to. Nothing may delete files in the state directory."
    )
    site.report(b"spool, " + name.encode(), text)
    _log.error("pack_lost", name=name, chunks=len(locations), found=len(found))


def _found(site: Site, wanted: set[bytes]) -> dict[bytes, bytes]:
    """Returns the chunks that files on the disk hold: digest -> bytes."""
    found: dict[bytes, bytes] = {}
    for entry in _files(site):
        digests = {chunk.digest for chunk in entry.content.chunks} if entry.content else set()
        if (digests & wanted) - found.keys():
            for chunk in _chunks(site, entry):
                digest = site.hasher.chunk_digest(chunk)
                if digest in wanted:
                    found[digest] = chunk
    return found


def _files(site: Site) -> Iterator[SyncedEntry]:
    directories: list[EntryId] = [ROOT_ENTRY]
    while directories:
        for entry in site.journal.synced.entries_in(directories.pop()):
            if entry.is_directory:
                directories.append(entry.entry)
            elif entry.kind is DiskKind.REGULAR:
                yield entry


def _chunks(site: Site, entry: SyncedEntry) -> Iterator[bytes]:
    path = path_on_disk(site, entry)
    if path is None:
        return
    try:
        with site.disk.open_stable(path, entry.handle) as reader:
            for chunk in cut_sparse(reader.sparse_blocks(BLOCK_SIZE_BYTES)):
                if isinstance(chunk, bytes):
                    yield chunk
    except EntryVanished:
        return


def _same_body(locations: dict[bytes, ChunkLocation], found: dict[bytes, bytes]) -> bytes | None:
    """Returns the pack as it was, None when that can't be told for certain."""
    parts: list[bytes] = []
    end = 0
    for digest, location in sorted(locations.items(), key=lambda item: item[1].offset):
        stored = store_chunk(found[digest]) if digest in found else b""
        if (location.offset, location.stored_size_bytes) != (end, len(stored)):
            return None
        parts.append(stored)
        end += len(stored)
    return b"".join(parts)


def _salvage(site: Site, spool: Spool, name: str, found: dict[bytes, bytes]) -> None:
    number = site.journal.integer_setting("next_pack")
    writer = PackWriter(pack_name(site.actor, number))
    for digest, chunk in sorted(found.items()):
        writer.add(digest, store_chunk(chunk))
    pack = writer.finish()
    if found:
        spool.write(pack.name, pack.body)
    with site.journal.transaction():
        site.journal.chunks.forget_pack(name)
        if found:
            site.journal.chunks.add_pack(pack.name)
            site.journal.chunks.add_locations(pack.locations, is_announced=False)
            site.journal.set_setting("next_pack", number + 1)
