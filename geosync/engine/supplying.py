"""Supplying: stores again, under new names, what the store has lost and this site still has."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from conflict.content import Content
from conflict.operations import Topic
from conflict.supply import Supplied
from conflict.synced import ROOT_ENTRY, EntryId, SyncedEntry
from geosync.disk.interface import DiskError, RelativePath
from geosync.engine.authoring import author_of, save_written
from geosync.engine.intake import BLOCK_SIZE_BYTES
from geosync.engine.places import path_on_disk
from geosync.engine.site import Site
from geosync.engine.spool import Spool
from geosync.event_log import event_logger
from transport.object_names import pack_name
from transport.pack import Pack, PackWriter, store_chunk
from transport.sparse_chunker import cut_sparse
from transport.supply_record import encode_supply

SUPPLIED_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024  # at once; the rest follows in later cycles
_log = event_logger(__name__)


def supply(site: Site, spool: Spool, wanted: Collection[bytes]) -> set[bytes]:
    """Packs the chunks that are found here, and announces them; returns which these are.

    They are looked for in the journal, in the files of the volume and in conflict copies. Each is
    proven by its digest: it does not matter whether a file is being written, or is damaged.

    Returns:
        Digests; some may be left for another call.

    Raises:
        OSError: the spool can't be written.
    """
    number = site.journal.integer_setting("next_pack")
    packs: list[Pack] = []
    writer: PackWriter | None = None
    size_bytes = 0
    for digest, chunk in _found(site, wanted):
        if writer is None:
            writer = PackWriter(pack_name(site.actor, number + len(packs)))
        writer.add(digest, store_chunk(chunk))
        size_bytes += len(chunk)
        if writer.is_full:
            packs.append(_finished(spool, writer))
            writer = None
        if size_bytes >= SUPPLIED_SIZE_BYTES_MAX:
            break
    if writer is not None:
        packs.append(_finished(spool, writer))
    if not packs:
        return set()
    _announce(site, packs, number + len(packs))
    digests = {digest for pack in packs for digest in pack.locations}
    _log.warning("supplied_again", chunks=len(digests), size_bytes=size_bytes)
    return digests


def _finished(spool: Spool, writer: PackWriter) -> Pack:
    pack = writer.finish()
    # CRASH: a file that no journal names; it is removed at the next start.
    spool.write(pack.name, pack.body)
    return pack


def _announce(site: Site, packs: list[Pack], next_pack: int) -> None:
    with site.journal.transaction():
        author = author_of(site)
        author.declare(Topic.SUPPLY, encode_supply(Supplied(tuple(pack.name for pack in packs))))
        for pack in packs:
            site.journal.chunks.add_pack(pack.name)
            site.journal.chunks.add_locations(pack.locations, is_announced=False)
        site.journal.set_setting("next_pack", next_pack)
        save_written(site, author)


def _found(site: Site, wanted: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yields the chunks that are somewhere on this site, each once: digest and bytes."""
    left = set(wanted)
    for digest in sorted(left):
        chunk = site.journal.chunks.inline_chunk(digest)
        if chunk is not None:
            left.discard(digest)
            yield digest, chunk
    for path, handle, content in _files(site):
        if left.isdisjoint(chunk.digest for chunk in content.chunks):
            continue
        for digest, chunk in _read(site, path, handle):
            if digest in left:
                left.discard(digest)
                yield digest, chunk
        if not left:
            return


def _files(site: Site) -> Iterator[tuple[RelativePath, bytes, Content]]:
    """Yields the regular files that should have a content: path, handle of the inode, content."""
    for entry in _synced_files(site):
        path = path_on_disk(site, entry)
        if path is not None and entry.content is not None:
            yield path, entry.handle, entry.content
    copies = site.journal.mirrored()
    if not copies:
        return
    contents = {
        version.content.digest: version.content
        for node in site.journal.nodes.contested_nodes()
        if (state := site.journal.nodes.node(node)) is not None
        for version in state.versions.values()
    }
    for copy, digest in sorted(copies.items()):
        try:
            there = site.disk.observe(RelativePath(copy))
        except DiskError:
            continue
        if there is not None and digest in contents:
            yield RelativePath(copy), there.handle, contents[digest]


def _synced_files(site: Site) -> Iterator[SyncedEntry]:
    directories: list[EntryId] = [ROOT_ENTRY]
    while directories:
        for entry in site.journal.synced.entries_in(directories.pop()):
            if entry.is_directory:
                directories.append(entry.entry)
            else:
                yield entry


def _read(site: Site, path: RelativePath, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the chunks of which a file consists now, as far as it can be read."""
    try:
        with site.disk.open_stable(path, handle, despite_writers=True) as reader:
            for chunk in cut_sparse(reader.sparse_blocks(BLOCK_SIZE_BYTES)):
                if isinstance(chunk, bytes):
                    yield site.hasher.chunk_digest(chunk), chunk
    except DiskError:
        return
