"""Headless Chromium, for tests of the dashboard."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

from tests.integration.fleet import ADMIN, PATIENCE, children

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

#: Why no browser can run here, or C{None}. In CI a browser is required, and its tests fail without it.
MISSING: str | None = None
if os.environ.get("CI") != "true" and (CHROMIUM is None or sync_playwright is None):
    MISSING = "THE DASHBOARD IS NOT TESTED: install chromium (apt-get install chromium) and the extra 'test'"

#: Seconds of the longest use of a browser: of a visit, a start and an end.
VISIT_SECONDS = 3 * PATIENCE

#: The message of a browser for each status from 400 on. The tests judge the page instead.
_STATUS = "Failed to load resource"


@define(eq=False)
class Browser:
    """
    Chromium without its sandbox, for tests often run as root in a container.

    Only some calls of the driver have a deadline: C{evaluate}, C{count}, the clock and C{close} wait for ever. So each
    use has one. A browser that misses it is killed, its calls fail, and the next use starts another one.
    """

    _driver: Any = None
    _chromium: Any = None
    _killed: bool = False

    def start(self) -> None:
        """Start the browser, unless it runs."""
        if self._driver is not None and not self._killed and self._chromium.is_connected():
            return
        self.close()
        self._driver, self._killed = sync_playwright().start(), False
        self._chromium = self._driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

    @contextmanager
    def context(self, **options: Any) -> Iterator[Any]:
        """Yield a new context, a browser without cookies and cache, and close it."""
        self.start()
        context = self._chromium.new_context(**options)
        try:
            context.set_default_timeout(1000 * PATIENCE)
            yield context
        finally:
            context.close()

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """
        Kill the browser unless the body of the statement ends in time.

        @raise AssertionError: the browser was killed.
        """
        timer = threading.Timer(seconds, self._kill)
        timer.start()
        try:
            yield
        except Exception as error:
            if self._killed:
                raise AssertionError(f"the browser did not answer within {seconds:g} s, and was killed") from error
            raise
        finally:
            timer.cancel()
            timer.join()

    def _kill(self) -> None:
        self._killed = True
        for driver in children(os.getpid()):
            if b"playwright" in Path(f"/proc/{driver}/cmdline").read_bytes():
                for each in (*children(driver), driver):
                    with suppress(ProcessLookupError):
                        os.kill(each, signal.SIGKILL)

    def close(self) -> None:
        """End the browser."""
        if self._driver is not None:
            driver, self._driver = self._driver, None
            driver.stop()


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a browser."""
    found = Browser()
    try:
        with found.deadline(VISIT_SECONDS):
            found.start()
        yield found
    finally:
        with found.deadline(VISIT_SECONDS):
            found.close()


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


def write_document(page: Any, text: str) -> None:
    """Put a text into the editor of the dashboard after it has its document."""
    page.locator(".cm-content[aria-readonly=false]").wait_for()
    page.get_by_label("The document, as JSON").focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(text)


@contextmanager
def visit(
    chromium: Browser, origin: str, width: int = 1280, height: int = 860, seconds: float = VISIT_SECONDS, **options: Any
) -> Iterator[Visit]:
    """
    Yield a visit of the admin to a controller.

    @param seconds: See L{Browser.deadline}.
    @param options: Options of the browser's context.
    """
    credentials = {"Authorization": "Basic " + base64.b64encode(":".join(ADMIN).encode()).decode()}
    size = {"width": width, "height": height}
    with (
        chromium.deadline(seconds),
        chromium.context(**{"extra_http_headers": credentials, "viewport": size} | options) as context,
    ):
        visiting = Visit(context.new_page(), origin)
        visiting.watch()
        yield visiting
