"""A real Chromium, Debian's, driven by Playwright; tests are skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

CHROMIUM = shutil.which("chromium")
PHONE = {"width": 375, "height": 800}

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is missing: apt-get install chromium"
)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Starts a Chromium without a window."""
    with sync_playwright() as playwright:
        # Root, as which continuous integration runs, gets no sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def quiet_context(browser: Browser, **options: object) -> Iterator[BrowserContext]:
    """Opens a context, and fails in the end when a page of it had anything to complain about.

    That is an error of a script, or something that the content security policy refused.
    """
    complaints: list[str] = []
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    try:
        yield context
    finally:
        context.close()
    assert complaints == []
