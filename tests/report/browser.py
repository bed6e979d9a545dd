"""A real browser without network access, for pages that scripts draw."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.needs import browser_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request

sync_api = pytest.importorskip("playwright.sync_api")

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOCAL = ("file:", "data:", "blob:")


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window, with a new profile."""
    path = browser_path()
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield opened
        finally:
            opened.close()


@dataclass
class Watched:
    """A page, the messages in its console, and its requests to other hosts."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", self._error)
        self.page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        self.messages.append(f"{message.type}: {message.text}")

    def _error(self, error: Error) -> None:
        self.messages.append(f"error: {error}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(LOCAL):
            self.requests.append(request.url)

    def count(self, selector: str) -> int:
        """The number of elements that a selector matches."""
        return self.page.locator(selector).count()

    def number(self, script: str) -> float:
        """The number that a script returns."""
        return float(self.page.evaluate(script))


@contextmanager
def opened(
    browser: Browser, file: Path, width: int = 1280, height: int = 900, scheme: str = "light"
) -> Iterator[Watched]:
    """Open a page from disk; at the end, check that its console is empty and it has loaded nothing."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_offline(True)
    try:
        watched = Watched(context.new_page())
        watched.page.goto(file.as_uri())
        watched.page.wait_for_selector("footer")
        yield watched
        assert watched.messages == [], watched.messages
        assert watched.requests == [], watched.requests
    finally:
        context.close()
