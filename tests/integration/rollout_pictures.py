"""
Draws the pictures of a rollout for the docs: C{python -m tests.integration.rollout_pictures docs/images}.

No test runs this. Twenty real agents get a document that breaks one worker in ten; the pictures show the command that
starts the rollout, in the middle and at the end.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.integration.crowd import Crowd
from tests.integration.fleet import ADMIN, Fleet, clean_environment, eventually, request
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
        where = f"{fleet.url}/api/v1/config/convergence"
        eventually(lambda: request("GET", where, auth=ADMIN).json()["applied"] == len(crowd.names), 120)
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


def save(path: Path, written: str) -> None:
    """Save a picture of a terminal."""
    path.write_text(picture(screen_of(written), COLUMNS, "confdctl"), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
