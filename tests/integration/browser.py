"""Headless Chromium, for tests of the dashboard."""

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

#: Why no browser can run here, or C{None}. In CI a browser is required, and its tests fail without it.
MISSING: str | None = None
if os.environ.get("CI") != "true" and (CHROMIUM is None or sync_playwright is None):
    MISSING = "THE DASHBOARD IS NOT TESTED: install chromium (apt-get install chromium) and the extra 'test'"

#: The message of a browser for each status from 400 on. The tests judge the page instead.
_STATUS = "Failed to load resource"


@contextmanager
def browser() -> Iterator[Any]:
    """Yield a browser without its sandbox, for tests often run as root in a container."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


@define(eq=False, slots=False)
class Visit:
    """
    The visit of a signed-in user to a page.

    @ivar complaints: Errors, breaches of the content policy, and requests to other hosts; a page may cause none.
    """

    page: Any
    origin: str
    complaints: list[str] = field(factory=list)

    def watch(self) -> None:
        """Collect the complaints of the browser."""
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._requested)
        # A reload after an edit asks for a confirmation.
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
    Yield a visit of the admin to a controller.

    @param options: Options of the browser's context.
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
