"""The status page as HTML: what hostile text becomes, and what people with aids rely on."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from conflict.brakes import Amount, BrakeKind
from conflict.version import Dot, actor_id
from geosync.engine.brake_verdicts import KnownBrake
from geosync.http.page import STATIC_TYPES, message_html, page_html, static_file
from geosync.http.page_view import MAP_HEIGHT, MAP_WIDTH, SITES_ON_MAP_MAX, page_view
from geosync.reporting.status import StatusProblem, WaitingPath
from tests.support.sample_status import DAEMON, TAKEN_AT_MS, peer, sample_status, with_lag

HOSTILE = "</code><script>alert(1)</script>\"' onload=x &lt; {{ 7 * 7 }} \u202e\n\x1b"
VERSION = {
    "site": HOSTILE,
    "actor": "aa" * 16,
    "counter": 1,
    "written_at_ms": TAKEN_AT_MS,
    "kind": "regular",
    "size_bytes": 5,
}
CONFLICT = {
    "id": "ab12",
    "path": HOSTILE,
    "kind": "content",
    "policy": HOSTILE,
    "decided_by": HOSTILE,
    "winner": VERSION,
    "loser": VERSION,
    "kept_at": HOSTILE,
}
BRAKE = KnownBrake(
    dot=Dot(actor_id(b"\xab" * 16), 7),
    site=HOSTILE,
    is_here=True,
    is_capture=True,
    kind=BrakeKind.DELETION,
    reason=HOSTILE,
    since_ms=0,
    amount=Amount(300, 1),
    paths=(HOSTILE.encode(),),
)


class _Outline(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(each == tag for each, _ in self.tags)


def _full_status():
    daemon = replace(
        with_lag(500.0),
        waiting=(WaitingPath(HOSTILE, HOSTILE),),
        waiting_count=1,
        conflicts_shown=(CONFLICT,),
        watcher=replace(DAEMON.watcher, problem=HOSTILE),
    )
    status = sample_status(
        daemon=daemon,
        sites=(replace(peer(HOSTILE, lacks=2), problem=HOSTILE), peer("rome")),
        problems=(StatusProblem(HOSTILE, 0, HOSTILE),),
        conflicts=1,
    )
    return replace(status, root=HOSTILE, brakes=(BRAKE,))


def _page(status):
    return page_html(page_view(status, now_ms=TAKEN_AT_MS, version="1"))


def test_hostile_text_is_text_everywhere():
    hostile = _Outline(_page(_full_status()))
    assert hostile.count("script") == 1
    attributes = {name for _, each in hostile.tags for name in each}
    assert [name for name in attributes if name.startswith("on")] == []
    assert "style" not in attributes
    assert "{{ 7 * 7 }}" in hostile.text
    assert hostile.text.count("</code><script>alert(1)</script>") >= 10
    assert not set(hostile.text) & {"\u202e", "\x1b"}


def test_every_field_has_a_label_and_every_part_a_name():
    page = _Outline(_page(_full_status()))
    ids = {each["id"] for _, each in page.tags if "id" in each}
    labels = {each["for"] for tag, each in page.tags if tag == "label"}
    visible = [each for tag, each in page.tags if tag == "input" and "hidden" not in each]
    assert {each["id"] for each in visible} == labels
    assert [page.count(tag) for tag in ("main", "header", "footer", "h1")] == [1, 1, 1, 1]
    named = [each["aria-labelledby"] for _, each in page.tags if "aria-labelledby" in each]
    assert set(named) <= ids
    sections = [each for tag, each in page.tags if tag == "section" and "hidden" not in each]
    assert all("aria-labelledby" in each for each in sections)
    assert [each.get("scope") for tag, each in page.tags if tag == "th"] == [
        *["col"] * 6, "row", "row",
    ]  # fmt: skip
    all_ids = [each["id"] for _, each in page.tags if "id" in each]
    assert len(all_ids) == len(set(all_ids))


def test_a_site_that_is_well_shows_nothing_to_decide():
    page = _Outline(_page(sample_status(sites=(peer("rome"),))))
    assert page.count("form") == page.count("button") == 0
    assert "Waiting for you" not in page.text
    assert "in sync" in page.text


def test_the_same_parts_are_there_whatever_they_show_so_that_the_script_can_replace_them():
    parts = [
        {each["id"] for _, each in _Outline(_page(status)).tags if "data-live" in each}
        for status in (sample_status(), _full_status())
    ]
    assert parts[0] == parts[1]


@pytest.mark.parametrize("count", range(SITES_ON_MAP_MAX))
def test_all_sites_are_on_the_map_and_apart(count):
    status = sample_status(sites=tuple(peer(f"site-{number}") for number in range(count)))
    places = page_view(status, now_ms=TAKEN_AT_MS, version="1").places
    assert len(places) == (count + 1 if count else 0)
    assert len({(place.x, place.y) for place in places}) == len(places)
    assert all(40 <= place.x <= MAP_WIDTH - 40 for place in places)
    texts = [place.y + each for place in places for each in (place.name_below, place.note_below)]
    assert all(20 <= y <= MAP_HEIGHT - 5 for y in texts)


def test_more_sites_than_the_map_holds_are_in_the_table_only():
    status = sample_status(sites=tuple(peer(f"site-{n}") for n in range(SITES_ON_MAP_MAX)))
    page = _Outline(_page(status))
    assert page.count("svg") == 0
    assert page.count("tr") == 1 + SITES_ON_MAP_MAX


def test_a_time_that_no_calendar_knows_is_shown_all_the_same():
    odd = VERSION | {"written_at_ms": 10**18}
    daemon = replace(DAEMON, conflicts_shown=(CONFLICT | {"winner": None, "loser": odd},))
    assert "1000000000000000000 ms after 1970" in _page(sample_status(daemon=daemon, conflicts=1))


def test_a_message_is_text():
    page = _Outline(message_html(HOSTILE, HOSTILE))
    assert page.count("script") == 0


@pytest.mark.parametrize("name", STATIC_TYPES)
def test_files_of_the_page_are_there_and_no_others(name):
    assert static_file(name)
    with pytest.raises(KeyError):
        static_file("../page.py")
