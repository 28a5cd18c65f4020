"""The page of the API document in a browser: it works under its content policy, and contacts no other host."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Page
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.browser import MISSING, VISIT_SECONDS, browser
from tests.integration.fleet import ADMIN, Fleet
from tests.integration.launcher import fork


class SwaggerTests(SynchronousTestCase):
    """A controller, and a reader who tries the API."""

    skip = MISSING

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory(prefix="confd-swagger-")
        self.addCleanup(scratch.cleanup)
        self.fleet = Fleet(Path(scratch.name), launch=fork)
        self.addCleanup(self.fleet.close)
        self.fleet.controller().start()

    def test_try_it_out(self) -> None:
        """An admin signs in on it and reads the current configuration; nothing is blocked or foreign."""
        with browser() as chromium, chromium.deadline(VISIT_SECONDS), chromium.context() as context:
            page = context.new_page()
            asked: list[str] = []
            said: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(f"{self.fleet.url}/swagger/index.html")
            sign_in(page)
            shown = try_out(page, "get_api_v1_config")
        self.assertIn(self.fleet.current()["checksum"], shown)
        self.assertEqual(said, [])
        self.assertEqual([url for url in asked if not url.startswith((f"{self.fleet.url}/", "data:"))], [])


def sign_in(page: Page) -> None:
    """Sign in on the page of the API document as an administrator."""
    page.locator(".auth-wrapper .authorize").first.click()
    form = page.locator(".modal-ux .auth-container").first
    for number, text in enumerate(ADMIN):
        form.locator("input").nth(number).fill(text)
    form.locator("button.authorize").click()
    page.locator(".modal-ux .close-modal").first.click()


def try_out(page: Page, operation: str) -> str:
    """Send an operation with the values that the page fills in; return the body that the page shows."""
    block = page.locator(f"[id$=-{operation}]")
    block.locator(".opblock-summary").click()
    block.locator(".try-out__btn").click()
    block.locator(".execute").click()
    return str(block.locator(".live-responses-table .highlight-code").first.inner_text())
