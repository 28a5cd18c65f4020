"""
Draw the picture of C{docs/teams.rst}: C{python -m tests.integration.team_pictures docs/images}.

No test runs this. Run it when the look of the history changes.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.integration.browser import browser, visit
from tests.integration.fleet import ADMIN, Fleet, request
from tests.integration.pictures import draw, post

URL = "https://pay.example.net/"


def main(folder: Path) -> None:
    """Draw the history of a namespace in which an admin passed a freeze."""
    with ExitStack() as stack:
        fleet = Fleet(Path(stack.enter_context(TemporaryDirectory())), interval=60)
        stack.callback(fleet.close)
        fleet.controller().start()
        create = f"{fleet.url}/api/v1"
        request("POST", f"{create}/namespaces", {"name": "billing", "config": {"url": f"{URL}v1"}}, ADMIN)
        grants = [{"role": "publisher", "namespaces": ["billing"]}]
        body = {"name": "ci-billing", "subject": "team billing", "grants": grants}
        token = request("POST", f"{create}/tokens", body, ADMIN).json()
        name, secret = token["id"], token["token"]
        path = "/api/v1/config?namespace=billing&comment"
        post(fleet, f"{path}=more+room+for+the+sale", {"url": f"{URL}v1", "limits": {"rate": 10}}, (name, secret))
        freeze = {"namespaces": ["*"], "weekly": WEEK, "reason": "the big sale"}
        request("POST", f"{create}/freezes", freeze, ADMIN)
        reason = "break_glass=payments+fail+since+16:02"
        post(fleet, f"{path}=&{reason}", {"url": f"{URL}v2", "limits": {"rate": 10}}, ADMIN)
        chromium = stack.enter_context(browser())
        with visit(chromium, fleet.url, 1280, 420, color_scheme="light") as visiting:
            draw(visiting.go("history/billing"), folder / "break-glass-light.png")


#: A freeze that is always active.
WEEK = {
    "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    "from": "00:00",
    "until": "00:00",
    "zone": "UTC",
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
