"""What is asked of the control thread over HTTP: conflicts, brakes, waiting, and the form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import parse_qs

from conflict.errors import GeosyncError
from geosync.http.exchange import FORM, HTML, JSON, Answer, Request, RequestRefused, json_answer
from geosync.http.page import difference_html, message_html
from geosync.http.site import JsonObject, Site
from geosync.reporting.written_token import barrier_of, token_of

WAIT_S: Final = 20.0
WAIT_S_MAX: Final = 60.0
SLICE_S: Final = 10.0

_VERDICTS: Final = {"approve": "approved", "reject": "rejected"}


def conflicts(site: Site, _request: Request) -> Answer:
    """Returns what `geosync conflicts list --json` prints."""
    return json_answer(site.command("conflicts_list", {})["conflicts"])


def brakes(site: Site, _request: Request) -> Answer:
    """Returns what `geosync brake list --json` prints."""
    return json_answer(site.command("brake_list", {})["brakes"])


def resolve_conflict(site: Site, request: Request) -> Answer:
    """Settles a conflict on all sites, and returns it as it was."""
    site.gate.require_token(request)
    asked = _json_object(request, "id", "take")
    return json_answer(_resolve(site, _text(asked, "id"), _text(asked, "take")))


def compare_versions(site: Site, request: Request) -> Answer:
    """Returns how two versions of a conflict differ: contents, which not everybody may read."""
    site.gate.require_token(request)
    asked = {"from": "winner", "to": "loser"} | _json_object(request, "id", "from", "to")
    return json_answer(_compared(site, *(_text(asked, key) for key in ("id", "from", "to"))))


def decide_brake(site: Site, request: Request) -> Answer:
    """Approves or rejects what a brake holds, and returns the brake."""
    site.gate.require_token(request)
    asked = _json_object(request, "id", "verdict")
    return json_answer(_decide(site, _text(asked, "id"), _text(asked, "verdict")))


def sync(site: Site, request: Request) -> Answer:
    """Looks at the whole tree, publishes, receives and applies; returns how far all is."""
    site.gate.require_token(request)
    asked = _json_object(request, "timeout_s")
    return json_answer(_synced(site, "settled", _seconds(asked.get("timeout_s"))))


def token(site: Site, request: Request) -> Answer:
    """Captures all that was written here before, and returns a token that names it."""
    site.gate.require_token(request)
    asked = _json_object(request, "timeout_s")
    progress = _synced(site, "captured", _seconds(asked.get("timeout_s")))
    barrier = cast("Mapping[str, int]", progress["barrier"])
    found = {"token": token_of(barrier), "is_captured": progress["is_captured"]}
    return json_answer(found, 200 if progress["is_captured"] else 503)


def wait_for_token(site: Site, request: Request) -> Answer:
    """Waits until this site has applied what a token of another site names."""
    barrier = barrier_of(request.query.get("token", ""))
    left_s = _seconds(request.query.get("timeout"))
    began_s = site.clock.monotonic_s()
    while True:
        slice_s = max(0.0, min(SLICE_S, left_s - (site.clock.monotonic_s() - began_s)))
        answer = site.command("wait_here", {"barrier": barrier, "timeout_s": slice_s})
        is_done = answer["is_done"] is True
        waited_s = site.clock.monotonic_s() - began_s
        if is_done or waited_s >= left_s:
            return json_answer(
                {"is_done": is_done, "waited_s": round(waited_s, 3)}, 200 if is_done else 503
            )


def wait_for_sites(site: Site, request: Request) -> Answer:
    """Waits until other sites have applied all that was written here before."""
    site.gate.require_token(request)
    asked = _json_object(request, "sites", "timeout_s")
    sites, left_s = asked.get("sites"), _seconds(asked.get("timeout_s"))
    began_s = site.clock.monotonic_s()
    site.command("wait", {"barrier": {}, "sites": sites, "timeout_s": 0})  # a wrong name ends it
    progress = _synced(site, "captured", left_s)
    answer: JsonObject = {"is_done": False, "sites": []}
    while progress["is_captured"]:
        slice_s = max(0.0, min(SLICE_S, left_s - (site.clock.monotonic_s() - began_s)))
        answer = site.command(
            "wait", {"barrier": progress["barrier"], "sites": sites, "timeout_s": slice_s}
        )
        if answer["is_done"] or not slice_s:
            break
    answer["is_captured"] = progress["is_captured"]
    answer["held_count"] = progress["held_count"]
    answer["waited_s"] = round(site.clock.monotonic_s() - began_s, 3)
    return json_answer(answer, 200 if answer["is_done"] else 503)


def act(site: Site, request: Request) -> Answer:
    """Does what a button of the status page says, and leads back to the page."""
    asked = _form(request)
    try:
        site.gate.require_token(request, asked.get("token", ""))
        match asked.get("act", "").split(" "):
            case ["compare", before, identity]:
                return _difference(identity, _compared(site, identity, before, "loser"))
            case ["conflict", take, identity]:
                _resolve(site, identity, take)
            case ["brake", verdict, identity] if verdict in _VERDICTS:
                _decide(site, identity, _VERDICTS[verdict])
            case _:
                raise RequestRefused(400, "the form was not that of the status page; load it again")
    except RequestRefused as refusal:
        return _message("This was not done", refusal.text, refusal.status)
    except GeosyncError as error:
        return _message("This was not done", str(error), 409)
    return Answer(b"", HTML, 303, {"Location": "/"})


def _resolve(site: Site, identity: str, take: str) -> JsonObject:
    return site.command("conflicts_resolve", {"identity": identity, "take": take})


def _compared(site: Site, identity: str, before: str, after: str) -> JsonObject:
    asked: JsonObject = {"identity": identity, "from": before, "to": after}
    return site.command("conflicts_diff", asked)


def _difference(identity: str, found: JsonObject) -> Answer:
    lines, left_out = cast("list[str]", found["lines"]), cast("int", found["left_out"])
    return Answer(difference_html(identity, lines, left_out).encode(), HTML)


def _decide(site: Site, identity: str, verdict: str) -> JsonObject:
    return site.command("brake_decide", {"id": identity, "verdict": verdict})


def _synced(site: Site, until: str, left_s: float) -> JsonObject:
    """Asks for a whole look at the tree, and then as often as time allows."""
    began_s, is_scanned = site.clock.monotonic_s(), False
    while True:
        slice_s = max(0.0, min(SLICE_S, left_s - (site.clock.monotonic_s() - began_s)))
        asked: JsonObject = {"is_scanned": is_scanned, "until": until, "timeout_s": slice_s}
        progress = site.command("sync", asked)
        is_scanned = True
        is_done = progress["is_captured"] and (until == "captured" or progress["is_settled"])
        if is_done or not slice_s:
            return progress


def _message(title: str, text: str, status: int) -> Answer:
    return Answer(message_html(title, text).encode(), HTML, status)


def _form(request: Request) -> dict[str, str]:
    if not request.header("content-type").startswith(FORM):
        raise RequestRefused(415, f"a form is expected: {FORM}")
    fields = parse_qs(request.body.decode("utf-8", "replace"), max_num_fields=10)
    return {name: values[-1] for name, values in fields.items()}


def _json_object(request: Request, *keys: str) -> JsonObject:
    """Returns the body, {} when it is empty; a browser's form can't have its content type."""
    if not request.body:
        return {}
    if request.header("content-type").partition(";")[0].strip() != JSON:
        raise RequestRefused(415, f"a body of the content type {JSON} is expected")
    try:
        found = json.loads(request.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not found.keys() <= set(keys):
        raise RequestRefused(
            400, f"a JSON object with no other keys than {', '.join(keys)} is expected"
        )
    return found


def _text(asked: JsonObject, key: str) -> str:
    value = asked.get(key)
    if not isinstance(value, str):
        raise RequestRefused(400, f"the request needs a text {key!r}")
    return value


def _seconds(value: object) -> float:
    if value is None:
        return WAIT_S
    try:
        seconds = float(cast("str", value))
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds <= WAIT_S_MAX:
        raise RequestRefused(400, f"the time to wait is a number of seconds up to {WAIT_S_MAX:.0f}")
    return seconds
