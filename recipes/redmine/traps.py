"""Redmine's own traps with files on two sites: each shown, and shown mended.

recipes/redmine/as-client .venv/bin/python -m recipes.redmine.traps [PROPOSITION...]
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from recipes.redmine.browser import new_name
from recipes.redmine.laboratory_control import (
    RECIPE,
    at,
    await_same_files,
    await_that,
    conflicts,
    files_of,
    findings,
    geosync,
    run,
)
from recipes.redmine.propositions import run_propositions
from recipes.redmine.redmine_client import LABORATORY, RedmineClient, RedmineError, Upload
from recipes.redmine.redmine_options import WITHOUT_SITE_NAMES, WITHOUT_WAITING, redmine_with

ROUNDS = 10
FILES = "/var/lib/redmine/default/files"


def one_name_in_one_second() -> str:
    """Without the plugin, one name in one second at two sites: a conflict, told with its row."""
    with redmine_with(WITHOUT_SITE_NAMES):
        before = {each["id"] for each in conflicts("bari")}
        for _ in range(ROUNDS):
            uploads = _upload_in_one_second("same-second.txt")
            if _collide(uploads):
                break
        else:
            raise AssertionError(f"no collision in {ROUNDS} rounds")
        await_that("both sites have a conflict", lambda: len(_new_conflicts(before)) == 2)
    wrong = [each for each in findings("bari") if each["kind"] == "wrong"]
    assert [each["row"] for each in wrong if each["row"] in {u.number for u in uploads}], wrong
    text = at("bari", "sh", "-c", _AUDIT_WITH_CONFLICTS, is_checked=False)
    named = [line for line in text.splitlines() if "kept in conflict" in line]
    assert named, text
    for upload in uploads:  # so that every row has its bytes in the end
        RedmineClient("bari").must("DELETE", f"/attachments/{upload.number}.json")
    _settle_all(before)
    return f"the audit says: {named[0].strip()}"


def the_site_is_in_the_name() -> str:
    """With the plugin, one name in one second at two sites: two files, no conflict."""
    before = {each["id"] for each in conflicts("bari")}
    uploads = [each for _ in range(ROUNDS) for each in _upload_in_one_second("same-second.txt")]
    for site in ("bari", "cnaf"):
        client = RedmineClient(site)
        for upload in uploads:
            client.await_download(upload)
    assert not _new_conflicts(before)
    return f"{len(uploads)} uploads in {ROUNDS} rounds, all of them there, no conflict"


def directories_of_a_month() -> str:
    """A new month's directory belongs to Redmine's user elsewhere, too, and it may write there."""
    place = f"{FILES}/{new_name('2031')}/01"
    at("bari", "runuser", "-u", "www-data", "--", "mkdir", "-p", place)
    at("bari", "runuser", "-u", "www-data", "--", "touch", f"{place}/first")
    await_that("the file is at cnaf", lambda: bool(_path_at("cnaf", f"{place}/first")))
    seen = os.stat(_path_at("cnaf", place))
    at("cnaf", "runuser", "-u", "www-data", "--", "touch", f"{place}/second")
    at("cnaf", "rm", "-r", os.path.dirname(place))
    await_that("it goes at bari", lambda: not _path_at("bari", place))
    owner = at("cnaf", "id", "-nu", str(seen.st_uid)).strip()
    assert owner == "www-data", owner
    return f"{stat.filemode(seen.st_mode)} of {owner} at cnaf, and cnaf's Redmine could write there"


def files_that_vanish_at_once() -> str:
    """Files that Redmine removes milliseconds after it wrote them leave no trace and no problem."""
    client, content = RedmineClient("bari"), os.urandom(20_000)
    before = set(files_of("bari"))
    uploads = [client.upload("twice.bin", content) for _ in range(20)]
    await_same_files()
    new = set(files_of("cnaf")) - before
    assert len(new) == 1, new
    problems = json.loads(geosync("bari", "status", "--json"))["problems"]
    assert not problems, problems
    for upload in uploads:
        assert RedmineClient("cnaf").download(upload) == (200, upload.digest)
    return f"{len(uploads)} rows share one file, at both sites"


def rows_without_files_and_files_without_rows() -> str:
    """The audit lists rows whose file has not come, and files that no row names."""
    with redmine_with(WITHOUT_WAITING):
        run("service", "cnaf", "geosync", "stop")
        here, there = RedmineClient("bari"), RedmineClient("cnaf")
        kept = here.upload(f"{new_name('late')}.txt", os.urandom(500))
        deleted = here.upload(f"{new_name('late')}.txt", os.urandom(500))
        await_that(
            "the rows are at cnaf", lambda: _has_row(there, kept) and _has_row(there, deleted)
        )
        missing = {each["row"] for each in findings("cnaf") if each["kind"] == "missing"}
        assert {kept.number, deleted.number} <= missing, missing
        there.must("DELETE", f"/attachments/{deleted.number}.json")
        run("service", "cnaf", "geosync", "start")
        await_same_files()
    orphans = [each["path"] for each in findings("bari") if each["kind"] == "orphan"]
    left = [path for path in orphans if path.endswith(deleted.name)]
    assert len(left) == 1, orphans
    at("bari", "rm", f"{FILES}/{left[0]}")
    return f"2 rows had no files while geosync was down; afterwards a file has no row: {left[0]}"


def deleted_before_it_arrived() -> str:
    """With the plugin, a file that is deleted at cnaf before it came there goes at both sites."""
    here, there = RedmineClient("bari"), RedmineClient("cnaf")
    for _ in range(5):
        upload = here.upload(f"{new_name('soon')}.txt", os.urandom(500))
        await_that("the row is at cnaf", lambda: _has_row(there, upload))  # noqa: B023
        there.must("DELETE", f"/attachments/{upload.number}.json")
    await_same_files()
    await_that("no file is left", lambda: not [p for p in files_of("bari") if "soon-" in p])
    return "5 of 5 gone at both sites"


_AUDIT_WITH_CONFLICTS = (
    f"env PYTHONPATH={os.path.dirname(os.path.dirname(RECIPE))}"
    f" {os.path.dirname(os.path.dirname(RECIPE))}/.venv/bin/python -m geosync conflicts list --json"
    " --config /etc/geosync/redmine.toml > /var/lib/geosync/conflicts.json;"
    f" python3 {RECIPE}/audit.py --deep --conflicts /var/lib/geosync/conflicts.json;"
    " rm /var/lib/geosync/conflicts.json"
)


def _upload_in_one_second(name: str) -> list[Upload]:
    time.sleep(1.05 - time.time() % 1)
    with ThreadPoolExecutor(2) as threads:
        sites = ("bari", "cnaf")
        return list(threads.map(lambda site: _upload(site, name), sites))


def _upload(site: str, name: str) -> Upload:
    return RedmineClient(site).upload(name, os.urandom(700))


def _collide(uploads: list[Upload]) -> bool:
    numbers = ",".join(str(each.number) for each in uploads)
    path = "CONCAT(disk_directory, '/', disk_filename)"
    query = f"SELECT {path} FROM attachments WHERE id IN ({numbers})"

    def paths() -> list[str]:
        return at("bari", "mariadb", "--batch", "-N", "redmine", "-e", query).split()

    await_that("both rows are at bari", lambda: len(paths()) == len(uploads))
    return max(Counter(paths()).values()) > 1


def _new_conflicts(before: set[str]) -> list[str]:
    """Returns one entry for each site that knows a new conflict."""
    return [site for site in ("bari", "cnaf") if {each["id"] for each in conflicts(site)} - before]


def _settle_all(before: set[str]) -> None:
    for each in conflicts("bari"):
        if each["id"] not in before:
            geosync(
                "bari", "conflicts", "resolve", each["id"], "--take", "winner", is_checked=False
            )
    await_that("no conflict is left", lambda: not _new_conflicts(before))


def _path_at(site: str, path: str) -> str:
    """Returns where a path of a site is on this machine; nothing when it is not there."""
    found = f"{LABORATORY}/{site}/root{path}"
    return found if os.path.lexists(found) else ""


def _has_row(client: RedmineClient, upload: Upload) -> bool:
    try:
        client.must("GET", f"/attachments/{upload.number}.json")
    except RedmineError:
        query = f"SELECT COUNT(*) FROM attachments WHERE id = {upload.number}"
        return at("cnaf", "mariadb", "--batch", "-N", "redmine", "-e", query).strip() == "1"
    return True


PROPOSITIONS = (
    one_name_in_one_second,
    the_site_is_in_the_name,
    directories_of_a_month,
    files_that_vanish_at_once,
    rows_without_files_and_files_without_rows,
    deleted_before_it_arrived,
)

if __name__ == "__main__":
    sys.exit(run_propositions(PROPOSITIONS, sys.argv[1:], f"{LABORATORY}/traps.json") > 0)
