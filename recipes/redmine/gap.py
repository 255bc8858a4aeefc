"""How long a row is without its file at the other site, and what closes that gap.

recipes/redmine/as-client .venv/bin/python -m recipes.redmine.gap [PROPOSITION...]
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time

from recipes.redmine.browser import new_name
from recipes.redmine.laboratory_control import at, run
from recipes.redmine.propositions import run_propositions, spread
from recipes.redmine.redmine_client import LABORATORY, RedmineClient, Upload
from recipes.redmine.redmine_options import WITHOUT_WAITING, redmine_with

UPLOADS = 30


def without_anything() -> str:
    """Before: who asks at cnaf right after the answer of bari gets 404, until the file is there."""
    with redmine_with(WITHOUT_WAITING):
        here, there = RedmineClient("bari"), RedmineClient("cnaf")
        early, samples_s = 0, []
        for _ in range(UPLOADS):
            upload = _upload(here)
            start_s = time.monotonic()
            early += bool(there.await_download(upload))
            samples_s.append(time.monotonic() - start_s)
    return f"{early} of {UPLOADS} got 404 at first; the file was there: {spread(samples_s)}"


def with_the_plugin() -> str:
    """After: Redmine waits for a young file; nobody gets 404."""
    here, there = RedmineClient("bari"), RedmineClient("cnaf")
    samples_s = []
    for _ in range(UPLOADS):
        upload = _upload(here)
        start_s = time.monotonic()
        assert there.await_download(upload) == [], f"404 for {upload.name}"
        samples_s.append(time.monotonic() - start_s)
    return f"0 of {UPLOADS} got 404; the answer came: {spread(samples_s)}"


def with_a_token() -> str:
    """After: who brings the token of bari to cnaf gets the file at once, without the plugin."""
    with redmine_with(WITHOUT_WAITING):
        here, there = RedmineClient("bari"), RedmineClient("cnaf")
        samples_s = []
        for _ in range(UPLOADS):
            upload = _upload(here)
            start_s = time.monotonic()
            _wait_for("cnaf", _token_of("bari"))
            assert there.await_download(upload) == [], f"404 for {upload.name}"
            samples_s.append(time.monotonic() - start_s)
    return f"0 of {UPLOADS} got 404; token, wait and answer took: {spread(samples_s)}"


def a_site_that_lacks_files_is_not_ready() -> str:
    """A site whose geosync has been down gets no traffic from the load balancers."""
    run("service", "cnaf", "geosync", "stop")
    try:
        _await_health("cnaf", 503)
        said = _health("cnaf")[1]
    finally:
        run("service", "cnaf", "geosync", "start")
    start_s = time.monotonic()
    _await_health("cnaf", 200)
    return f"503: {said.strip()}; ready again {time.monotonic() - start_s:.1f} s after its start"


def _upload(client: RedmineClient) -> Upload:
    return client.upload(f"{new_name('gap')}.bin", os.urandom(20_000))


def _token_of(site: str) -> str:
    """Asks as the application's machine does: there, with the token of its HTTP server."""
    shown = at(
        site, "sh", "-c",
        'curl --silent --fail -X POST -H "Authorization: Bearer '
        '$(cat /var/lib/geosync/redmine/http-token)" http://127.0.0.1:8484/v1/token',
    )  # fmt: skip
    document = json.loads(shown)
    assert document["is_captured"], document
    return str(document["token"])


def _wait_for(site: str, token: str) -> None:
    url = f"http://127.0.0.1:8484/v1/wait?token={token}&timeout=30"
    at(site, "curl", "--silent", "--fail", url)


def _health(site: str) -> tuple[int, str]:
    client = RedmineClient(site, port=3090)
    try:
        status, body = client.ask("GET", "/ready")
    except http.client.HTTPException as error:
        return 0, repr(error)
    return status, body.decode()


def _await_health(site: str, status: int) -> None:
    end_s = time.monotonic() + 60
    while _health(site)[0] != status:
        assert time.monotonic() < end_s, f"{site} does not answer {status}: {_health(site)}"
        time.sleep(0.2)


PROPOSITIONS = (
    without_anything,
    with_the_plugin,
    with_a_token,
    a_site_that_lacks_files_is_not_ready,
)

if __name__ == "__main__":
    sys.exit(run_propositions(PROPOSITIONS, sys.argv[1:], f"{LABORATORY}/gap.json") > 0)
