"""How long a new site takes to load a checkpoint, and for how long at a time it does nothing else.

`python -m benchmarks.checkpoint_load --files 20000`. The journals are in a directory of the file
system that --directory names.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

from conflict.author import Author
from conflict.content import ChunkReference, Content, ContentKind
from conflict.operations import ROOT
from geosync.engine.authoring import author_of, save_written
from geosync.engine.checkpoint_records import CheckpointLoading, logs_of, records_of
from tests.simulation.simulated_clock import SimulatedTime
from tests.support.local_sites import LocalSite
from transport.checkpoint import (
    CHECKPOINT_PART_SIZE_BYTES_TARGET,
    Manifest,
    PartsWriter,
    decode_part,
)
from transport.memory_store import MemoryStore
from transport.object_names import pack_name
from transport.pack import ChunkLocation

FILES_IN_A_DIRECTORY = 200
SIZE_BYTES = 100_000


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--directory", default=None, help="where the journals are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as base:
        store, clock = MemoryStore(), SimulatedTime()
        writer, reader = (
            LocalSite(os.fsencode(base), name, store, clock).open() for name in ("bari", "late")
        )
        _write_files(writer, options.files)
        manifest, parts = _checkpoint(writer)
        size_bytes = sum(map(len, parts))
        print(f"{options.files} files: {len(parts)} parts, {size_bytes / 2**20:.1f} MiB as stored")
        steps = _load(reader, manifest, parts)
        for what, seconds in steps:
            print(f"{what}: {seconds:.2f} s of the processor")
        print(f"all: {sum(seconds for _, seconds in steps):.2f} s of the processor")
        reader.close()
        writer.close()


def _write_files(site: LocalSite, count: int) -> None:
    """Writes operations as if so many files had been captured; there are no files."""
    for start in range(0, count, FILES_IN_A_DIRECTORY):
        numbers = range(start, min(start + FILES_IN_A_DIRECTORY, count))
        with site.journal.transaction():
            author = author_of(site.engine.site)
            _write_directory(author, start, numbers)
            locations = {}
            for number in numbers:
                name = pack_name(site.engine.site.actor, start)
                locations[_digest(number)] = ChunkLocation(name, number, SIZE_BYTES, SIZE_BYTES)
            site.journal.chunks.add_locations(locations, is_announced=True)
            save_written(site.engine.site, author)


def _write_directory(author: Author, start: int, numbers: range) -> None:
    directory = author.create_directory(ROOT, b"directory %d" % start, ((b"mode", 0o755),))
    for number in numbers:
        chunks = (ChunkReference(_digest(number), SIZE_BYTES),)
        content = Content(ContentKind.REGULAR, _digest(number), SIZE_BYTES, chunks)
        attributes = ((b"group", b"root"), (b"mode", 0o644), (b"mtime_ns", 1), (b"owner", b"root"))
        author.create_file(directory.node, b"file %d" % number, content, attributes)


def _digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _checkpoint(site: LocalSite) -> tuple[Manifest, list[bytes]]:
    inside = site.engine.site
    parts_writer = PartsWriter(inside.hasher, CHECKPOINT_PART_SIZE_BYTES_TARGET)
    parts = list(parts_writer.parts(records_of(inside.journal)))
    digests = tuple(map(inside.hasher.chain_digest, parts))
    logs = logs_of(inside.journal)
    manifest = Manifest(
        inside.volume, inside.name, inside.actor, 0, 0, logs, parts_writer.tree_digest, digests
    )
    return manifest, parts


def _load(site: LocalSite, manifest: Manifest, parts: list[bytes]) -> list[tuple[str, float]]:
    inside = site.engine.site
    steps = []
    began = time.process_time()

    def note(what: str) -> None:
        nonlocal began
        steps.append((what, time.process_time() - began))
        began = time.process_time()

    with inside.journal.transaction():
        loading = CheckpointLoading(inside, manifest)
        for index, part in enumerate(parts):
            records = decode_part(part, inside.hasher, manifest, index)
            note(f"part {index}: decoded, {len(records)} records")
            loading.take(records)
            note(f"part {index}: taken")
        loading.finish()
        note("checked")
    note("committed")
    return steps


if __name__ == "__main__":
    main()
