"""DokuWiki, whose pages are files, edited on two sites: `python -m recipes.applications.dokuwiki`.

What the recipe says: pages, their history and media are synced; caches, index, locks and temporary
files lie beside, at each site its own. Changelogs are appended to on both sides, so they get the
lines of both (policy `union`). What DokuWiki writes again whenever somebody looks at a page
may lose (policy `newest`). And a hook touches the configuration when pages arrive, since a page
that was looked at between its change elsewhere and its arrival would stay in the cache for a day.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from recipes.applications.two_sites import (
    REPOSITORY,
    ApplicationSite,
    await_same,
    await_that,
    tree,
    two_sites,
)
from recipes.redmine.propositions import run_propositions

RESULTS = "/var/tmp/geosync-dokuwiki.json"
URL = "http://127.0.0.1:8000/doku.php"
OPTION = "--data-urlencode"
CODE = "/usr/share/dokuwiki"
PAGES = 6
SYNCED = {
    "datadir": "pages", "olddir": "attic", "metadir": "meta",
    "mediadir": "media", "mediaolddir": "media_attic", "mediametadir": "media_meta",
}  # fmt: skip
LOCAL = {"cachedir": "cache", "indexdir": "index", "lockdir": "locks", "tmpdir": "tmp"}
POLICIES = {"meta/**": "newest", "meta/**/*.changes": "union", "meta/*.changes": "union"}
HOOK = f"""
[[hook]]
on = ["arrived"]
command = ["{REPOSITORY}/recipes/hooks/touch-cache", "$PLACE/conf/local.php"]
paths = ["pages/**"]
wait_s = 0
"""
CAPTURE = """
[[capture]]
paths = ["*.indexed"]
open_files = "exclude"
"""


def a_page_is_the_same_elsewhere() -> str:
    """A page of bari is at cnaf with its time and its history, and nobody edited it there."""
    with _world() as (bari, cnaf):
        for number in range(3):
            _edit(bari, "start", f"text {number} of bari")
            _next_second()
        await_same(bari, cnaf)
        page = f"{cnaf.root}/pages/start.txt"
        last = _changelog(cnaf, "start")[-1].split("\t")[0]
        assert int(os.stat(page).st_mtime) == int(last), "the page is not as old as its last change"
        assert "text 2 of bari" in _show(cnaf, "start")
        _edit(cnaf, "start", "text of cnaf")
        await_same(bari, cnaf)
        revisions = _get(bari, "id=start", "do=revisions")
        assert "xternal edit" not in revisions, revisions
        return f"{len(_changelog(bari, 'start'))} changes in its history, no external edit"


def the_global_changelog_is_whole() -> str:
    """Different pages edited at both sites at once: both changelogs have all changes."""
    with _world() as (bari, cnaf):
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(_edit_pages, (bari, cnaf)))
        await_same(bari, cnaf)
        lines = tree(cnaf.root)["meta/_dokuwiki.changes"].decode().splitlines()
        named = {line.split("\t")[3] for line in lines}
        wanted = {f"of-{site.name}-{number}" for site in (bari, cnaf) for number in range(PAGES)}
        assert wanted <= named, wanted - named
        assert len(lines) == len(set(lines))
        waiting = bari.conflicts()
    assert not waiting, waiting
    return f"{len(lines)} lines at both sites, each once, and no conflict"


def one_page_at_both_sites() -> str:
    """One page saved at both sites while they are apart: both texts are in its history."""
    with _world() as (bari, cnaf):
        _edit(bari, "both", "first")
        await_same(bari, cnaf)
        for site in (bari, cnaf):  # each in a second of its own, and before it hears of the other
            _next_second()
            bari.network.isolate(site.name)
            _edit(site, "both", f"by {site.name}")
        for site in (bari, cnaf):
            bari.network.rejoin(site.name)
        await_that("bari hears of cnaf", lambda: len(_changelog(bari, "both")) == 3)
        await_same(bari, cnaf)
        log = _changelog(bari, "both")
        assert log == _changelog(cnaf, "both")
        assert len(log) == 3, log
        shown = [re.search(r"by (bari|cnaf)", _show(site, "both")) for site in (bari, cnaf)]
        assert shown[0] is not None
        assert shown[1] is not None
        assert shown[0].group() == shown[1].group()
        kept = [each["path"] for each in bari.conflicts()]
    return f"3 changes in the history; both show `{shown[0].group()}`; conflicts: {kept or 'none'}"


def the_cache_is_not_stale() -> str:
    """A page that is looked at just before its change arrives is shown new after that."""
    with _world() as (bari, cnaf):
        samples_s = []
        for number in range(5):
            _edit(bari, "cached", f"text-{number}")
            start_s = time.monotonic()
            while f"text-{number}" not in _show(cnaf, "cached"):
                assert time.monotonic() < start_s + 20, "cnaf goes on showing the old text"
            samples_s.append(time.monotonic() - start_s)
            _next_second()
    return f"new after at most {max(samples_s):.1f} s, while somebody looked at it all the time"


@contextmanager
def _world() -> Iterator[tuple[ApplicationSite, ApplicationSite]]:
    with two_sites("dokuwiki", configuration=CAPTURE + HOOK) as (bari, cnaf):
        for glob, policy in POLICIES.items():
            bari.geosync("policy", "set", glob, policy)
        for site in (bari, cnaf):
            _start_dokuwiki(site)
        yield bari, cnaf


def _start_dokuwiki(site: ApplicationSite) -> None:
    shutil.copytree("/etc/dokuwiki", f"{site.place}/conf", dirs_exist_ok=True)
    places = {key: f"{site.root}/{name}" for key, name in SYNCED.items()}
    places |= {key: f"{site.place}/{name}" for key, name in LOCAL.items()}
    for place in places.values():
        os.makedirs(place, exist_ok=True)
    with open(f"{site.place}/conf/local.php", "w", encoding="ascii") as file:
        lines = [f"$conf['{key}'] = '{place}';" for key, place in places.items()]
        file.write("\n".join(["<?php", "$conf['useacl'] = 0;", *lines]) + "\n")
    with open(f"{site.place}/before.php", "w", encoding="ascii") as file:
        file.write(f"<?php define('DOKU_CONF', '{site.place}/conf/');\n")
    site.spawn(
        "php",
        [
            "php",
            "-d",
            f"auto_prepend_file={site.place}/before.php",
            "-S",
            "127.0.0.1:8000",
            "-t",
            CODE,
        ],
        {"PHP_CLI_SERVER_WORKERS": "2"},
    )
    await_that(f"DokuWiki at {site.name}", lambda: "DokuWiki" in _get(site, "id=nothing"))


def _get(site: ApplicationSite, *fields: str) -> str:
    return site.run("curl", "--silent", f"{URL}?{'&'.join(fields)}", is_checked=False)


def _show(site: ApplicationSite, page: str) -> str:
    return _get(site, f"id={page}")


def _edit(site: ApplicationSite, page: str, text: str) -> None:
    """Opens the form and saves it, as a browser does."""
    form = _get(site, f"id={page}", "do=edit")
    fields = {"id": page, "do[save]": "1", "wikitext": text, "prefix": ".", "suffix": ""}
    for name in ("sectok", "date", "rev", "changecheck"):
        found = re.search(rf'name="{name}" value="([^"]*)"', form)
        fields[name] = found.group(1) if found else ""
    words = [
        word for name, value in fields.items() for word in ("--data-urlencode", f"{name}={value}")
    ]
    site.run("curl", "--silent", "--output", "/dev/null", *words, URL)
    with open(f"{site.root}/pages/{page}.txt", encoding="utf-8") as file:
        assert text in file.read(), f"{site.name} did not save {page}"


def _edit_pages(site: ApplicationSite) -> None:
    for number in range(PAGES):
        _edit(site, f"of-{site.name}-{number}", f"text {number}")


def _changelog(site: ApplicationSite, page: str) -> list[str]:
    with open(f"{site.root}/meta/{page}.changes", encoding="utf-8") as file:
        return file.read().splitlines()


def _next_second() -> None:
    """DokuWiki names revisions by the second."""
    time.sleep(1.05 - time.time() % 1)


PROPOSITIONS = (
    a_page_is_the_same_elsewhere,
    the_global_changelog_is_whole,
    one_page_at_both_sites,
    the_cache_is_not_stale,
)

if __name__ == "__main__":
    sys.exit(run_propositions(PROPOSITIONS, sys.argv[1:], RESULTS) > 0)
