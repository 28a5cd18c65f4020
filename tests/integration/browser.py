"""Headless Chromium, as somebody at the dashboard uses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

from tests.integration.fleet import ADMIN, PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

#: Why there can be no browser here; C{None} where there is one. In CI there has to be: tests fail there, loudly.
MISSING: str | None = None
if os.environ.get("CI") != "true" and (CHROMIUM is None or sync_playwright is None):
    MISSING = "THE DASHBOARD IS NOT TESTED: install chromium (apt-get install chromium) and the extra 'test'"

#: What a browser says by itself of each answer from 400 on; whether that is right, the tests see on the page.
_STATUS = "Failed to load resource"


@contextmanager
def browser() -> Iterator[Any]:
    """Yields a browser; it takes the sandbox's place that tests often run in a container, as root."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


@define(eq=False, slots=False)
class Visit:
    """
    Somebody who is signed in, at one page.

    @ivar complaints: what no page of ours may cause: errors, breaches of its policy, requests to anybody else.
    """

    page: Any
    origin: str
    complaints: list[str] = field(factory=list)

    def watch(self) -> None:
        """Listen to the browser."""
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._requested)
        # Reloading asks for a confirmation after an edit.
        self.page.on("dialog", lambda dialog: dialog.accept())

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_STATUS):
            self.complaints.append(message.text)

    def _requested(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.complaints.append(f"asked {request.url}")

    def go(self, view: str, namespace: str = "default") -> Any:
        """Open a view, and return the page once it is live."""
        self.page.goto(f"{self.origin}/#{view}/{namespace}")
        return self.page


@contextmanager
def visit(chromium: Any, origin: str, width: int = 1280, height: int = 860, **options: Any) -> Iterator[Visit]:
    """
    Yields a visit of a controller by its admin.

    @param options: of the browser's context.
    """
    credentials = {"username": ADMIN[0], "password": ADMIN[1]}
    size = {"width": width, "height": height}
    context = chromium.new_context(**{"http_credentials": credentials, "viewport": size} | options)
    context.set_default_timeout(1000 * PATIENCE)
    try:
        visiting = Visit(context.new_page(), origin)
        visiting.watch()
        yield visiting
    finally:
        context.close()
