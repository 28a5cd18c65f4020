"""
The first ten minutes of a person with the dashboard: a first publish, a first failure in a rollout, a first rollback.

C{python -m tests.integration.first_minutes docs/images} draws the pictures of the quickstart. A test goes the same way.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.integration.browser import browser, visit, write_document
from tests.integration.fleet import ADMIN, Fleet, eventually, free_port, request
from tests.integration.pictures import draw

ROOT = Path(__file__).parents[2]

#: The worker of the documents: it refuses more than ten retries.
WORKER = ROOT / "docs/examples/worker/worker.py"

FIRST = {"url": "https://shop.example.net/", "retries": 2}


@contextmanager
def shop(fleet: Fleet, namespace: str) -> Iterator[None]:
    """Run the worker of the documents and its agent, for a namespace with the first document."""
    body = {"name": namespace, "config": FIRST}
    assert request("POST", f"{fleet.url}/api/v1/namespaces", body, ADMIN).status in (201, 409)
    address = f"http://127.0.0.1:{(port := free_port())}"
    options = ("--distribution-strategy", "STREAM", "--namespace", namespace)
    agent = fleet.agent(address, "shop-agent", *options)
    with ExitStack() as stack:
        worker = stack.enter_context(subprocess.Popen([sys.executable, WORKER, str(port)], stderr=subprocess.DEVNULL))
        stack.callback(worker.kill)
        stack.callback(agent.stop)
        agent.start()
        path = f"{fleet.url}/api/v1/config/convergence?namespace={namespace}"
        eventually(lambda: request("GET", path, auth=ADMIN).json()["applied"] == 1)
        yield


def walk(page: Any, namespace: str, show: Callable[[str], None]) -> None:
    """
    Go the way from the first view to the first rollback.

    @param show: Gets the name of each picture while the page shows it.
    """
    strip = page.locator("#rollout")
    page.get_by_role("combobox", name="Namespace").select_option(namespace)
    page.get_by_text("1 of 1 agent has version 1").wait_for()
    page.get_by_role("link", name="Configuration").click()
    write_document(page, json.dumps(FIRST | {"retries": 3}, indent=2))
    page.get_by_role("button", name="Review and publish").click()
    page.get_by_label("Comment").fill("The shop is slow in the evening")
    page.get_by_text("1 agent will receive it.").wait_for()
    show("first-publish")
    page.get_by_role("button", name="Publish as version 2").click()
    page.get_by_role("link", name="Watch it arrive").click()
    page.get_by_text("1 of 1 agent has version 2").wait_for()
    show("first-arrival")
    page.get_by_role("link", name="Configuration").click()
    write_document(page, json.dumps(FIRST | {"retries": 99}, indent=2))
    page.get_by_role("button", name="Review and publish").click()
    page.get_by_label("Deliver").select_option("canary")
    page.get_by_role("button", name="Start the rollout of version 3").click()
    page.get_by_role("link", name="Watch it").click()
    strip.get_by_text("was aborted in wave 1").wait_for()
    strip.get_by_text("1 of 1 member has it.").wait_for()
    strip.get_by_role("button", name="failed 1").click()
    page.locator("dialog td").get_by_text("retries is greater than 10").wait_for()
    page.keyboard.press("Escape")
    show("first-failure")
    page.get_by_role("link", name="History").first.click()
    page.get_by_role("link", name="1", exact=True).click()
    page.get_by_role("heading", name="Changes until the current version 4").wait_for()
    show("first-rollback")
    page.get_by_role("button", name="Roll back…").click()
    page.get_by_role("button", name="Publish as version 5").click()
    page.get_by_text("Version 5 is published, with the document of version 1.").wait_for()


def main(folder: Path) -> None:
    """Draw the pictures."""
    with ExitStack() as stack:
        fleet = Fleet(Path(stack.enter_context(TemporaryDirectory())), interval=5)
        stack.callback(fleet.close)
        fleet.controller().start()
        stack.enter_context(shop(fleet, "shop"))
        chromium = stack.enter_context(browser())
        visiting = stack.enter_context(visit(chromium, fleet.url, 1280, 800, color_scheme="light"))
        page = visiting.go("overview", "shop")
        walk(page, "shop", lambda name: draw(page, folder / f"{name}.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
