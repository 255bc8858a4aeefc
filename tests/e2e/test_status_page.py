"""The status page in a real browser, with and without scripts, on a desk and on a phone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.await_condition import await_condition
from tests.support.browser import PHONE, needs_chromium, quiet_context, running_browser
from tests.support.real_site import RealSite, directory_store

pytestmark = [pytest.mark.browser, needs_chromium]

HOSTILE = (
    b"<img src=x onerror=alert(1)>",
    b"</script><script>document.title='owned'</script>",
    b"new\nline",
    b"\xff\xfe no text",
    "right\u202eto-left".encode(),
    b"quote\"' onfocus=alert(1) &amp; {{ 7 * 7 }}",
    b"long-" + b"w" * 200,
)
HOSTILE_TEXT = "compared.txt"
SHOWN = (
    "<img src=x onerror=alert(1)>",
    "new\\nline",
    "\\xff\\xfe no text",
    "right\\u202eto-left",
    "quote\"' onfocus=alert(1) &amp; {{ 7 * 7 }}",
    "long-" + "w" * 200,
)


@dataclass(frozen=True)
class Scene:
    """Two sites with conflicts about files with hostile names, and a browser."""

    bari: RealSite
    rome: RealSite
    url: str
    token: str
    browser: Browser


def _write(site: RealSite, name: bytes, content: bytes) -> None:
    path = os.path.join(os.fsencode(site.root), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One scene for all tests; each settles conflicts of its own."""
    base = tmp_path_factory.mktemp("page")
    store = directory_store(base / "store")
    bari = RealSite(base / "bari", "bari", store, listen="127.0.0.1:0")
    rome = RealSite(base / "rome", "rome", store)
    try:
        bari.start()
        rome.start()
        for number, name in enumerate((*HOSTILE, b"first", b"second")):
            _write(rome, name, b"of rome")
            _write(bari, name, b"of bari %d" % number)
        _write(rome, HOSTILE_TEXT.encode(), b"same\n<b>of rome</b> & {{ 7 * 7 }}\n")
        _write(bari, HOSTILE_TEXT.encode(), b"same\n<b>of bari</b> & {{ 7 * 7 }}\n")
        count = len(HOSTILE) + 3
        await_condition(lambda: len(bari.conflicts()) == count, "all names are in conflict")
        shown = json.loads(bari.must("status", "--http", "--json"))
        with running_browser() as browser:
            yield Scene(bari, rome, shown["url"], shown["token"], browser)
    finally:
        bari.kill()
        rome.kill()


def _settle(page: Page, name: str, button: str) -> None:
    conflict = page.locator("article", has=page.get_by_role("heading", name=name))
    conflict.get_by_text("Settle").click()
    conflict.get_by_role("button", name=button).click()


def test_the_page_can_be_read_without_scripts_and_shows_hostile_names_as_text(
    scene: Scene, tmp_path: Path
) -> None:
    with quiet_context(scene.browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(scene.url)
        page.screenshot(path=tmp_path / "plain.png", full_page=True)
        text = page.inner_text("main")
        assert [name for name in SHOWN if name not in text] == []
        assert "49" not in page.inner_text("#decide").split("{{ 7 * 7 }}")[0].split("quote")[-1]
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 1
        assert page.title().startswith(f"bari: in sync; {len(HOSTILE) + 3} conflicts to look at")
        expect(page.locator("#sites tbody th")).to_have_text("rome")


def test_a_conflict_is_settled_by_clicking_without_scripts(scene: Scene) -> None:
    with quiet_context(scene.browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(scene.url)
        page.get_by_label("Token").fill(scene.token)
        _settle(page, "first", "Take the version of")
        assert page.url == scene.url
    await_condition(
        lambda: all(each["path"] != "first" for each in scene.rome.conflicts()),
        "the conflict is settled at the other site",
    )
    assert scene.bari.tree()["first"] == scene.rome.tree()["first"]


def test_the_live_page_follows_what_happens_and_asks_for_the_token_once(scene: Scene) -> None:
    with quiet_context(scene.browser) as context:
        page = context.new_page()
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        page.goto(scene.url)
        expect(page.locator("#live")).to_have_text("It is live.")
        page.get_by_label("Token").fill(scene.token)
        _settle(page, "second", "Keep both")
        expect(page.get_by_role("heading", name="second")).to_have_count(0)
        expect(page.get_by_label("Token")).to_have_value(scene.token)
        _write(scene.rome, b"third", b"of rome")
        _write(scene.bari, b"third", b"of bari, longer")
        third = page.get_by_role("heading", name="third")
        expect(third).to_be_visible()
        identity = next(each["id"] for each in scene.bari.conflicts() if each["path"] == "third")
        scene.rome.must("conflicts", "resolve", identity, "--take", "winner")
        expect(third).to_have_count(0)
        assert "geosync" in page.title()


def _compare(page: Page, scene: Scene, name: str) -> None:
    page.goto(scene.url)
    page.get_by_label("Token").fill(scene.token)
    conflict = page.locator("article", has=page.get_by_role("heading", name=name))
    conflict.get_by_text("Settle").click()
    conflict.get_by_role("button", name="Compare the two").click()


@pytest.mark.parametrize("with_scripts", [False, True])
def test_the_versions_of_a_conflict_are_compared_where_they_are_settled(
    scene: Scene, tmp_path: Path, with_scripts: bool
) -> None:
    with quiet_context(scene.browser, java_script_enabled=with_scripts) as context:
        page = context.new_page()
        _compare(page, scene, HOSTILE_TEXT)
        difference = page.locator(".difference")
        (shown,) = (c for c in scene.bari.conflicts() if c["path"] == HOSTILE_TEXT)
        winner, loser = shown["winner"]["site"], shown["loser"]["site"]
        expect(difference.locator(".removed")).to_have_text(
            [f"-<b>of {winner}</b> & {{{{ 7 * 7 }}}}"]
        )
        expect(difference.locator(".added")).to_have_text([f"+<b>of {loser}</b> & {{{{ 7 * 7 }}}}"])
        assert page.locator("b").count() == 0
        assert (page.url == scene.url) is with_scripts
        page.screenshot(path=tmp_path / f"difference-{with_scripts}.png", full_page=True)


def test_contents_are_shown_to_nobody_without_the_token(scene: Scene) -> None:
    with scene.browser.new_context() as context:
        page = context.new_page()
        conflict = scene.bari.conflicts()[0]["id"]
        for token in ("", "wrong"):
            fields = {"act": f"compare winner {conflict}", "token": token}
            answer = page.request.post(f"{scene.url}act", form=fields)
            assert answer.status in {401, 403}
            assert "of bari" not in answer.text()


def test_what_happened_lately_is_told_with_who_did_it(scene: Scene) -> None:
    with quiet_context(scene.browser) as context:
        page = context.new_page()
        page.goto(scene.url)
        expect(page.locator("#recent-title")).to_have_text("Recent changes")
        _write(scene.rome, b"just <now>", b"123")
        item = page.locator("#recent li", has_text="just <now>")
        expect(item).to_contain_text("created by rome, 3 B")


def test_a_wrong_token_changes_nothing_and_says_so(scene: Scene) -> None:
    before = scene.bari.conflicts()
    with scene.browser.new_context() as context:
        page = context.new_page()
        page.goto(scene.url)
        page.get_by_label("Token").fill("wrong")
        _settle(page, "new\\nline", "Take the version of")
        expect(page.locator("main")).to_contain_text("that is not the token")
        page.get_by_role("link", name="Back to the status").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("bari")
    assert scene.bari.conflicts() == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_on_a_phone_and_everything_has_enough_contrast(
    scene: Scene, scheme: str, tmp_path: Path
) -> None:
    with quiet_context(
        scene.browser, viewport=PHONE, device_scale_factor=2, is_mobile=True, color_scheme=scheme
    ) as context:
        page = context.new_page()
        page.goto(scene.url)
        expect(page.locator("#live")).to_have_text("It is live.")
        page.screenshot(path=tmp_path / f"phone-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert page.evaluate(CONTRASTS) == []


def test_the_page_is_used_with_the_keyboard_alone(scene: Scene) -> None:
    with quiet_context(scene.browser, reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(scene.url)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the status")).to_be_focused()
        page.keyboard.press("Tab")
        expect(page.get_by_label("Token")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button").first).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("button").first).to_be_focused()
        assert page.locator("main, header, footer").count() == 3
        assert page.evaluate(
            "getComputedStyle(document.querySelector('.spoke')).animationName"
        ) == ("none")


# Texts whose colour against the nearest background has a ratio below WCAG's 4.5.
CONTRASTS = """() => {
  const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  const texts = "h1, h2, h3, p, li, dt, dd, td, th, a, small, summary, strong, label, span, code";
  for (const element of document.querySelectorAll(texts)) {
    if (!element.textContent.trim() || !element.checkVisibility()) continue;
    const pair = [light(numbers(getComputedStyle(element).color)), light(behind(element))].sort();
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) bad.push(element.textContent.trim().slice(0, 40) + " " + ratio.toFixed(2));
  }
  return bad;
}"""
