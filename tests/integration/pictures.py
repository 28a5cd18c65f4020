"""
Draw the pictures of the dashboard for the documents: C{python -m tests.integration.pictures docs/images}.

No test runs this. Run it when the look of the dashboard changes.
"""

from __future__ import annotations

import json
import random
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.integration.browser import browser, visit
from tests.integration.fleet import ADMIN, AGENT, Fleet, request

#: Agents in the pictures.
CROWD = 600

FIRST = {"url": "https://search.example.net/health", "timeout": 1.5, "features": {"retry": 1, "cache": True}}
SECOND = FIRST | {"timeout": 2.5, "features": {"retry": 2, "cache": True, "preview": "eu"}}


def main(folder: Path) -> None:
    """Draw all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        fleet = Fleet(Path(stack.enter_context(TemporaryDirectory())), interval=60)
        stack.callback(fleet.close)
        fleet.controller("--default-config", json.dumps(FIRST)).start()
        populate(fleet)
        chromium = stack.enter_context(browser())
        for scheme in ("light", "dark"):
            with visit(chromium, fleet.url, 1280, 900, color_scheme=scheme) as visiting:
                for view in ("overview", "fleet"):
                    draw(visiting.go(view), folder / f"{view}-{scheme}.png")


def draw(page: Any, path: Path) -> None:
    """Draw the page after its last animation."""
    page.get_by_text("Live", exact=True).wait_for()
    page.wait_for_timeout(800)
    page.screenshot(path=path)


def populate(fleet: Fleet) -> None:
    """Register a fleet in which most agents have the current version, and a few have problems."""
    dice = random.Random(7)
    names = [f"agent-{number:04d}" for number in range(CROWD)]
    for number, name in enumerate(names):
        region, tier = dice.choice(["eu", "us", "ap"]), dice.choice(["web", "edge"])
        body = {
            "agent_id": name,
            "hostname": f"{tier}-{number:03d}.{region}.example.net",
            "metadata": f"region={region},tier={tier}",
            "strategy": dice.choice(["STREAM", "STREAM", "POLLER", "NATS"]),
        }
        post(fleet, "/api/v1/register", body, AGENT)
    post(fleet, "/api/v1/config?comment=Longer+timeouts+for+the+search", SECOND, ADMIN)
    post(fleet, "/api/v1/config/rollback", {"version": 1, "comment": "Not before the weekend"}, ADMIN)
    post(fleet, "/api/v1/config?comment=Longer+timeouts,+second+try", SECOND, ADMIN)
    for name in names:
        chance = dice.random()
        report: dict[str, Any] = {"agent_id": name, "version": 4, "state": "applied"}
        if chance < 0.02:
            report |= {"state": "failed", "error": "The worker answered 422: /features/preview is not known here."}
        elif chance < 0.04:
            report |= {"state": "applying"}
        elif chance < 0.06:
            continue
        else:
            report["ms"] = {"agent": dice.uniform(1, 6), "worker": dice.uniform(8, 60), "waited": dice.uniform(0, 90)}
        post(fleet, "/api/v1/report", report, AGENT)


def post(fleet: Fleet, path: str, body: Any, auth: tuple[str, str]) -> None:
    """Send a POST that must succeed."""
    answer = request("POST", f"{fleet.url}{path}", body, auth)
    assert answer.status == 200, answer.body


if __name__ == "__main__":
    main(Path(sys.argv[1]))
