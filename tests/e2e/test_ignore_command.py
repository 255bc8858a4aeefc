"""`geosync ignore` with real daemons, and without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.await_condition import await_condition
from tests.support.real_site import RealSite, await_same, directory_store

Pair = tuple[RealSite, RealSite]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    store = directory_store(tmp_path / "store")
    bari, cnaf = (RealSite(tmp_path / name, name, store) for name in ("bari", "cnaf"))
    yield bari, cnaf
    for site in (bari, cnaf):
        site.kill()


def test_what_is_ignored_stays_at_each_site_until_the_pattern_goes(pair: Pair) -> None:
    bari, cnaf = pair
    (bari.root / "a.tmp").write_bytes(b"from the start")
    bari.must("sync")
    assert "nothing is ignored" in bari.must("ignore", "list")
    bari.must("ignore", "add", "*.tmp")  # without a daemon
    for site in pair:
        site.start()
    cnaf.must("ignore", "add", "/cache/")  # with one
    await_condition(lambda: patterns(bari) == ["*.tmp", "/cache/"], "the other pattern")
    (bari.root / "cache").mkdir()
    (bari.root / "cache" / "page").write_bytes(b"of bari only")
    (bari.root / "page").write_bytes(b"of all")
    bari.wait()
    assert cnaf.tree() == {"page": b"of all"}
    assert "is ignored: /cache/" in bari.must("ignore", "check", "cache/page")
    assert bari.run("ignore", "check", "page").returncode == 1
    assert "ignored on all sites, by the pattern *.tmp" in cnaf.must("why", "a.tmp")
    (bari.root / "a.tmp").unlink()
    cnaf.must("ignore", "remove", "*.tmp")
    cnaf.must("ignore", "remove", "/cache/")
    await_condition((cnaf.root / "cache" / "page").exists, "what bari has comes")
    await_same(pair)
    assert (bari.root / "a.tmp").read_bytes() == b"from the start"  # nothing was deleted
    assert bari.conflicts() == cnaf.conflicts() == []
    refused = bari.run("ignore", "add", "*")
    assert (refused.returncode, "is no pattern that can be used" in refused.stderr) == (2, True)


def patterns(site: RealSite) -> list[str]:
    found: list[str] = json.loads(site.must("ignore", "list", "--json"))
    return found
