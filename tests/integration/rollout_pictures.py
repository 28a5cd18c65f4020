"""
Draws the pictures of a rollout for the docs: C{python -m tests.integration.rollout_pictures docs/images}.

No test runs this. Twenty real agents get a document that breaks one worker in ten; the pictures show the command that
starts the rollout, in the middle and at the end, and the dashboard at the end. Then the agents get a good document; the
pictures of the dashboard show its third wave.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.integration.browser import browser, visit
from tests.integration.crowd import Crowd
from tests.integration.fleet import ADMIN, Fleet, clean_environment, eventually, request
from tests.integration.pictures import draw
from tests.integration.terminal import Terminal
from tests.integration.terminal_picture import picture, screen_of

FIRST = {"url": "https://search.example.net/health", "timeout": 2}

COLUMNS = 110

#: Words before an agent, which give the process a host name of its own.
_HOST = ("unshare", "--uts", "sh", "-c", 'hostname NAME.example.net; exec "$@"', "NAME")


def main(folder: Path) -> None:
    """Draw all pictures."""
    with ExitStack() as stack:
        fleet = Fleet(Path(stack.enter_context(TemporaryDirectory())), interval=2)
        stack.callback(fleet.close)
        fleet.controller("--default-config", json.dumps(FIRST)).start()
        crowd = Crowd.of(fleet, 20)
        crowd.start(stack, *_HOST)
        wait(fleet, "config/convergence", lambda found: found["applied"] == len(crowd.names))
        chromium = stack.enter_context(browser())
        pages = {}
        for scheme in ("light", "dark"):
            visiting = stack.enter_context(visit(chromium, fleet.url, 1280, 900, color_scheme=scheme))
            pages[scheme] = visiting.go("overview")
        draw_terminal(fleet, folder)
        pages["light"].get_by_text("2 of 2 members have it.").wait_for()
        draw(pages["light"], folder / "rollout-aborted-light.png")
        assert fleet.publish(FIRST | {"timeout": 3}, rollout="careful").status == 202
        wait(fleet, "rollouts/2", lambda found: found["wave"] == 3 and found["waves"][2]["applied"] == 8)
        for scheme, page in pages.items():
            page.get_by_text("is in wave 3 of 4").wait_for()
            draw(page, folder / f"rollout-{scheme}.png")


def draw_terminal(fleet: Fleet, folder: Path) -> None:
    """Draw a rollout that is aborted, as confdctl shows it."""
    words = ["set", "compression=zstd", "--rollout", "careful", "--wait", "applied"]
    environ = clean_environment() | {"CONFD_URL": fleet.url, "PATH": "/usr/bin:/bin"}
    prompt = f"\x1b[32m$\x1b[0m confdctl {' '.join(words)}\n"
    with Terminal([sys.executable, "-m", "confd.cli", *words], environ, columns=COLUMNS) as terminal:
        terminal.expect("[y/N]")
        terminal.type("y\r")
        # The second wave, in a frame that is complete.
        while not re.search(r"10 %  1 .*\bsettled\b.*\.$", screen_of(terminal.shown), re.DOTALL):
            terminal.expect("settled")
        save(folder / "rollout-running.svg", prompt + terminal.shown)
        status = terminal.end()
        save(folder / "rollout-aborted.svg", f"{prompt}{terminal.shown}\x1b[32m$\x1b[0m echo $?\n{status}")


def wait(fleet: Fleet, path: str, check: Callable[[Any], bool]) -> None:
    """Wait until the value at a path of the API passes a check."""
    eventually(lambda: check(request("GET", f"{fleet.url}/api/v1/{path}", auth=ADMIN).json()), 120)


def save(path: Path, written: str) -> None:
    """Save a picture of a terminal."""
    path.write_text(picture(screen_of(written), COLUMNS, "confdctl"), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
