"""Redmine on two sites, as its users see it, through HTTP and across the WAN.

recipes/redmine/as-client .venv/bin/python -m recipes.redmine.acceptance [PROPOSITION...]
"""

from __future__ import annotations

import os
import statistics
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

from recipes.redmine.browser import Browser, links_to_attachments, new_name
from recipes.redmine.laboratory_control import await_same_files, await_that, files_of
from recipes.redmine.propositions import run_propositions, spread
from recipes.redmine.redmine_client import LABORATORY, RedmineClient, Upload

MEDIAN_S_MAX = 1.0
CHANGES = 30
BURST = 120
LARGE_MIB = 200
SMALL_S_MAX = 5.0


def one_browser_at_two_sites() -> str:
    """A browser logs in at bari, makes project and issue there, and goes on at cnaf."""
    browser = Browser("bari")
    browser.log_in("admin", "laboratory")
    project = new_name("web")
    browser.create_project(project)
    contents = {"report.pdf": os.urandom(40_000), "näme with spaces.txt": b"hello\n"}
    issue = browser.create_issue(project, "written at bari", contents)
    browser.go_to("cnaf")
    status, page = browser.get(issue)
    assert status == 200
    assert b"Logged in as" in page, "cnaf does not know the session of bari"
    links = links_to_attachments(page)
    assert len(links) == len(contents), links
    start_s = time.monotonic()
    for link, content in zip(links, contents.values(), strict=True):
        await_that(f"{link} at cnaf", lambda: browser.get(link) == (200, content))  # noqa: B023
    return f"both attachments at cnaf {time.monotonic() - start_s:.2f} s after its page"


def a_file_is_there_soon_after_the_answer() -> str:
    """From the answer to an upload to the first good download elsewhere: at the median 1 s."""
    seen = []
    for here, there in (("bari", "cnaf"), ("cnaf", "bari")):
        samples_s = _times_to_arrive(here, there)
        seen.append(f"{here} to {there}: {spread(samples_s)}")
        assert statistics.median(samples_s) <= MEDIAN_S_MAX, seen
    return "; ".join(seen)


def uploads_at_both_sites_at_once() -> str:
    """What is uploaded at both sites in the same seconds, under the same names, is all there."""
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(_upload_same_names, ("bari", "cnaf")))
    for uploads, there in zip(both, ("cnaf", "bari"), strict=True):
        client = RedmineClient(there)
        for upload in uploads:
            client.await_download(upload)
    names = {upload.name for uploads in both for upload in uploads}
    return f"{sum(map(len, both))} files under {len(names)} names"


def identical_files_are_shared() -> str:
    """The same content uploaded at both sites is good at both, also when one of them goes."""
    content = os.urandom(30_000)
    here, there = RedmineClient("bari"), RedmineClient("cnaf")
    first = here.upload("same.bin", content)
    there.await_download(first)
    second = there.upload("same.bin", content)
    here.await_download(second)
    here.must("DELETE", f"/attachments/{first.number}.json")
    await_that("the row is gone at cnaf", lambda: there.download(first)[0] == 404)
    await_same_files()
    for client in (here, there):
        client.await_download(second)
    return f"{len(files_of('bari'))} files at both sites afterwards"


def deleted_elsewhere() -> str:
    """A file uploaded at bari and deleted at cnaf goes at both."""
    here, there = RedmineClient("bari"), RedmineClient("cnaf")
    before = files_of("bari")
    upload = here.upload(f"{new_name('gone')}.txt", os.urandom(3000))
    there.await_download(upload)
    there.must("DELETE", f"/attachments/{upload.number}.json")
    took_s = await_that("it is gone at bari", lambda: files_of("bari") == before)
    assert here.download(upload)[0] == 404
    return f"gone at bari after {took_s:.2f} s"


def thumbnails_at_the_other_site() -> str:
    """A picture uploaded at bari has a thumbnail at cnaf."""
    here, there = RedmineClient("bari"), RedmineClient("cnaf")
    upload = here.upload("picture.png", _picture(300, 200))
    there.await_download(upload)
    status, body = there.ask("GET", f"/attachments/thumbnail/{upload.number}/100")
    assert status == 200
    assert body[:4] == b"\x89PNG", body[:20]
    return f"a picture of {len(body)} bytes"


def a_burst() -> str:
    """Many attachments in a burst, by four clients at two sites, are soon all at both."""
    start_s = time.monotonic()
    sites = ("bari", "cnaf", "bari", "cnaf")
    with ThreadPoolExecutor(len(sites)) as threads:
        uploads = [each for some in threads.map(_upload_many, sites) for each in some]
    uploaded_s = time.monotonic() - start_s
    await_same_files()
    arrived_s = time.monotonic() - start_s
    for site in ("bari", "cnaf"):
        client = RedmineClient(site)
        assert all(client.download(each) == (200, each.digest) for each in uploads)
    return f"{len(uploads)} uploads took {uploaded_s:.1f} s; all were there after {arrived_s:.1f} s"


def small_files_while_a_large_one_flows() -> str:
    """While an attachment of 200 MB flows, small ones go on arriving: at the median in 5 s."""
    content = os.urandom(LARGE_MIB << 20)
    with ThreadPoolExecutor(1) as threads:
        start_s = time.monotonic()
        large = threads.submit(_upload_large, content)
        samples_s = []
        here, there = RedmineClient("bari"), RedmineClient("cnaf")
        while not large.done():
            samples_s.append(_time_to_arrive(here, there))
        took_s = time.monotonic() - start_s
    assert statistics.median(samples_s) <= SMALL_S_MAX
    small = spread(samples_s)
    return f"{LARGE_MIB} MiB were good at cnaf after {took_s:.1f} s; small ones meanwhile: {small}"


def every_row_has_its_bytes() -> str:
    """In the end both sites have the same files, and every row has its bytes at both."""
    took_s = await_same_files()
    return f"{len(files_of('bari'))} files, the same at both sites after {took_s:.1f} s"


def _times_to_arrive(here: str, there: str) -> list[float]:
    clients = RedmineClient(here), RedmineClient(there)
    return [_time_to_arrive(*clients) for _ in range(CHANGES)]


def _time_to_arrive(here: RedmineClient, there: RedmineClient) -> float:
    upload = here.upload(f"{new_name('arrives')}.bin", os.urandom(20_000))
    start_s = time.monotonic()
    there.await_download(upload)
    return time.monotonic() - start_s


def _upload_same_names(site: str) -> list[Upload]:
    client = RedmineClient(site)
    return [client.upload(f"report-{number % 4}.pdf", os.urandom(9000)) for number in range(40)]


def _upload_many(site: str) -> list[Upload]:
    client = RedmineClient(site)
    return [
        client.upload(f"burst-{number}.dat", os.urandom(15_000)) for number in range(BURST // 4)
    ]


def _upload_large(content: bytes) -> None:
    upload = RedmineClient("bari").upload("large.iso", content)
    RedmineClient("cnaf").await_download(upload, timeout_s=180)


def _picture(width: int, height: int) -> bytes:
    """Returns a PNG of one colour."""
    rows = b"".join(b"\0" + b"\x20\x60\xa0" * width for _ in range(height))
    header = struct.pack("!2I5B", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
        for kind, data in parts
    )


PROPOSITIONS = (
    one_browser_at_two_sites,
    a_file_is_there_soon_after_the_answer,
    uploads_at_both_sites_at_once,
    identical_files_are_shared,
    deleted_elsewhere,
    thumbnails_at_the_other_site,
    a_burst,
    small_files_while_a_large_one_flows,
    every_row_has_its_bytes,
)

if __name__ == "__main__":
    sys.exit(run_propositions(PROPOSITIONS, sys.argv[1:], f"{LABORATORY}/acceptance.json") > 0)
