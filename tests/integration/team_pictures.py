"""
Draw the pictures of C{docs/teams.rst}: C{python -m tests.integration.team_pictures docs/images}.

No test runs this. Run it when the look of changes or of the history changes.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.integration.browser import browser, visit
from tests.integration.fleet import ADMIN, Fleet, request
from tests.integration.pictures import draw

URL = "https://pay.example.net/"


def main(folder: Path) -> None:
    """Draw a change that waits for its approval, and the history after an admin passed a freeze."""
    with ExitStack() as stack:
        fleet = Fleet(Path(stack.enter_context(TemporaryDirectory())), interval=60)
        stack.callback(fleet.close)
        fleet.controller().start()
        ask(fleet, "POST", "namespaces", {"name": "billing", "config": {"url": f"{URL}v1"}})
        ci, ann = token(fleet, "ci-billing", "publisher", "team billing"), token(fleet, "ann", "approver", "ann")
        ask(fleet, "POST", "namespaces/billing/policy", {"approvals": 1})
        proposed = {"config": {"url": f"{URL}v1", "limits": {"rate": 10}}, "comment": "more room for the sale"}
        change = ask(fleet, "POST", "changes?namespace=billing", proposed, ci)
        chromium = stack.enter_context(browser())
        visiting = stack.enter_context(visit(chromium, fleet.url, 1280, 520, color_scheme="light"))
        page = visiting.go("changes/billing")
        page.get_by_text("more room for the sale").first.wait_for()
        draw(page, folder / "change-light.png")
        ask(fleet, "POST", "changes/1/approve", {"checksum": change["checksum"]}, ann)
        ask(fleet, "POST", "changes/1/apply", {}, ci)
        ask(fleet, "POST", "freezes", {"namespaces": ["*"], "weekly": WEEK, "reason": "the big sale"})
        emergency = "config?namespace=billing&break_glass=payments+fail+since+16:02"
        ask(fleet, "POST", emergency, {"url": f"{URL}v2", "limits": {"rate": 10}})
        page = visiting.go("history/billing")
        page.get_by_text("break-glass").wait_for()
        draw(page, folder / "break-glass-light.png")


def token(fleet: Fleet, name: str, role: str, subject: str) -> tuple[str, str]:
    """Create a token for the namespace of the team; return what Basic authentication takes."""
    grants = [{"role": role, "namespaces": ["billing"]}]
    made = ask(fleet, "POST", "tokens", {"name": name, "subject": subject, "grants": grants})
    return made["id"], made["token"]


def ask(fleet: Fleet, method: str, path: str, body: object, auth: tuple[str, str] = ADMIN) -> Any:
    """Send a request that must succeed; return its answer."""
    answer = request(method, f"{fleet.url}/api/v1/{path}", body, auth)
    assert answer.status < 300, answer.body
    return answer.json()


#: A freeze that is always active.
WEEK = {
    "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    "from": "00:00",
    "until": "00:00",
    "zone": "UTC",
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
