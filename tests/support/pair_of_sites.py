"""Two sites that know each other, and files that both write before either hears of the other's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.local_sites import LocalSite, local_sites, settle
from transport.directory_store import DirectoryStore
from transport.object_store import ObjectStore

Pair = tuple[LocalSite, LocalSite]


@contextmanager
def pair_of_sites(store: ObjectStore, **settings: Any) -> Iterator[Pair]:
    """Opens bari and cnaf, and removes them at the end; `settings` are as for `local_sites`."""
    with local_sites(store, "bari", "cnaf", **settings) as (bari, cnaf):
        settle(bari, cnaf)
        yield bari, cnaf


def store_in(directory: Path) -> DirectoryStore:
    """Makes a store in a directory, where processes and engines of this process can meet."""
    store = DirectoryStore(os.fsencode(directory))
    store.prepare()
    return store


def write_apart(pair: Pair, path: bytes, *contents: bytes, ancestor: bytes | None = None) -> None:
    """Lets both sites write a file, of which neither hears from the other.

    Args:
        pair: the sites.
        path: of the file.
        contents: what each of them writes; the last one is to have the name.
        ancestor: what both had before; None: no such file.
    """
    if ancestor is not None:
        pair[0].write(path, ancestor)
        settle(*pair)
    for site, content in zip(pair, contents, strict=True):
        site.write(path, content)
        site.cycle_alone()


def write_at_once(pair: Pair, path: bytes, *contents: bytes, ancestor: bytes | None = None) -> None:
    """As `write_apart`; then both hear of both, and come to rest."""
    write_apart(pair, path, *contents, ancestor=ancestor)
    settle(*pair)
