"""A real headless Chromium that opens a page as a reader would, and tells what the page did on its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    from playwright.sync_api import expect
except ImportError:  # then there is no browser either
    expect = None  # type: ignore[assignment]
else:
    expect.set_options(timeout=20_000)

__all__ = ["Reader", "browser", "chromium", "expect", "reader"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """The browser's program: DBBTRACE_TEST_CHROMIUM, or the first that is found."""
    return os.environ.get("DBBTRACE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The browser, started once a module: while it runs, no other test of the process can use asyncio."""
    program = chromium()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in DBBTRACE_TEST_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # The sandbox can't be set up by root, as tests run in containers; pages here are our own.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


class Reader:
    """Opens pages; whatever they log, raise or ask the network for is kept, and must be nothing."""

    def __init__(self, browser: Any, folder: Path) -> None:
        self._browser = browser
        self._folder = folder
        self._contexts: list[Any] = []
        self.complaints: list[str] = []

    def open(self, html: str, **options: Any) -> Any:
        """A page of Playwright's with the document in it, read from a file as from a mail."""
        file = self._folder / f"page{len(self._contexts)}.html"
        file.write_text(html, encoding="utf-8")
        return self.visit(file, file.as_uri(), **options)

    def visit(
        self, file: Path, within: str, *, behind: str = "", width: int = 1280, height: int = 900, **options: Any
    ) -> Any:
        """A page of Playwright's with the file in it, which may ask for nothing whose address begins differently.

        ``behind`` is the end of its address, from the #.
        """
        context = self._browser.new_context(viewport={"width": width, "height": height}, **options)
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request.url, within))
        page.goto(f"{file.as_uri()}{behind}")
        return page

    def _asked(self, url: str, within: str) -> None:
        if not url.startswith((within, "data:", "about:")):
            self.complaints.append(f"request: {url}")

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def reader(browser: Any, tmp_path: Path) -> Iterator[Reader]:
    """A reader of pages; fails the test if a page complained or asked for anything."""
    made = Reader(browser, tmp_path)
    yield made
    made.close()
    assert made.complaints == []
