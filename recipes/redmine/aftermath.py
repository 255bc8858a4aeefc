"""What has to hold after whatever happened: same rows, same files, nothing lost that was taken."""

from __future__ import annotations

from recipes.redmine.laboratory_control import (
    at,
    await_same_files,
    await_that,
    conflicts,
    files_of,
    findings,
)
from recipes.redmine.redmine_client import RedmineClient
from recipes.redmine.users import Users


def check_aftermath(users: Users, conflicts_before: set[str]) -> str:
    """Waits until both sites are the same; returns what was seen.

    Raises:
        AssertionError: they do not become the same, or an upload that was answered with success is
            not at both sites.
    """
    same_s = await_same_files()
    assert rows("bari") == rows("cnaf"), "the sites' tables of attachments differ"
    for site in ("bari", "cnaf"):
        client = RedmineClient(site)
        for upload in users.uploads:
            answer = client.download(upload)
            assert answer == (200, upload.digest), f"{upload.name} at {site}: {answer}"
    new = [each for each in conflicts("cnaf") if each["id"] not in conflicts_before]
    orphans = [each for each in findings("cnaf") if each["kind"] == "orphan"]
    return f"same after {same_s:.1f} s more, {len(new)} conflicts, {len(orphans)} orphans"


def give_up_lost_rows(users: Users, since_s: float) -> str:
    """Deletes the rows of uploads that are lost at both sites; returns what was seen.

    Raises:
        AssertionError: one of them was answered before that moment (monotonic seconds).
    """
    await_that("both sites have the same files", lambda: files_of("bari") == files_of("cnaf"))
    missing = {each["row"] for each in findings("cnaf") if each["kind"] != "orphan"}
    assert missing <= {each["row"] for each in findings("bari") if each["kind"] != "orphan"}
    client = RedmineClient("cnaf")
    for record in users.records.values():
        for upload, answered_s in zip(record.uploads, record.successes_s, strict=True):
            if upload.number in missing:
                assert answered_s >= since_s, f"{upload.name} was lost though it was older"
        record.uploads = [each for each in record.uploads if each.number not in missing]
    for number in missing:
        client.must("DELETE", f"/attachments/{number}.json")
    return f"{len(missing)} uploads of the last seconds lost, and named by the audit"


def told_of_users(users: Users) -> str:
    """Returns how users fared: uploads, failures, and the longest time without a success."""
    return "; ".join(
        f"{name}: {len(record.successes_s)} uploads, {len(record.failures)} failed,"
        f" gap {record.longest_gap_s():.1f} s"
        for name, record in users.records.items()
    )


def rows(site: str) -> str:
    """Returns the table of attachments, as text."""
    query = "SELECT id, digest, disk_filename FROM attachments ORDER BY id"
    return at(site, "mariadb", "--batch", "redmine", "-e", query)
