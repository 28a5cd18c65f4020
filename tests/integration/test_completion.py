"""Completion of confdctl in bash, zsh and fish, each at a terminal of its own."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.budgets import budget
from tests.integration.fleet import clean_environment
from tests.integration.servers import missing
from tests.integration.terminal import Terminal

AGENTS = [{"id": f"{number:08x}-7c1f-4a7e-9a30-0d5a4f9c1b2d", "hostname": f"web-{number}"} for number in (26, 438)]
ANSWERS: dict[str, Any] = {
    "/api/v1/namespaces": [{"name": "default"}, {"name": "edge"}],
    "/api/v1/agents": AGENTS,
    "/api/v1/config/history": {"items": [{"version": 12, "comment": "a mirror, in Oslo"}]},
    "/api/v1/config": {"data": {"url": "x", "limits": {"rate": 1, "a.b": 2}}},
}

#: What is typed, and the line that the shell makes of it.
LINES = (
    ("agents show 0000001", f"agents show {AGENTS[0]['id']}"),
    ("validate docu", "validate document.yaml"),
    ("roll", "rollback rollout"),
    ("agents show web-4", "agents show web-438"),
    ("status --namespace=ed", "status --namespace=edge"),
    ("status -n ed", "status -n edge"),
    ("rollback 1", "rollback 12"),
    ("get lim", "get limits limits.rate"),
    ("set ur", "set url="),
    ("diff docu", "diff document.yaml"),
    ("--profile pr", "--profile prod"),
)


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer as a controller."""
        found = ANSWERS.get(urlsplit(self.path).path)
        body = json.dumps(found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


class _Shell:
    """
    A shell that a user types in.

    @ivar command: the words that start it without its files of settings.
    @ivar setup: lines that prepare it.
    """

    command: Sequence[str] = ()
    setup: Sequence[str] = ()

    def setUp(self) -> None:
        """Start a controller, and write a file and a profile."""
        self.folder = Path(self.mktemp()).resolve()  # type: ignore[attr-defined]
        (self.folder / "confd").mkdir(parents=True)
        (self.folder / "document.yaml").touch()
        (self.folder / "confd" / "config.toml").write_text('[profiles.prod]\nurl = "https://confd.example.com"\n')
        (self.folder / "confdctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m confd.cli "$@"\n')
        (self.folder / "confdctl").chmod(0o755)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self.addCleanup(thread.join)  # type: ignore[attr-defined]
        self.addCleanup(server.server_close)  # type: ignore[attr-defined]
        self.addCleanup(server.shutdown)  # type: ignore[attr-defined]
        self.environ = clean_environment() | {
            "CONFD_URL": f"http://127.0.0.1:{server.server_port}",
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder),
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "PYTHONPATH": os.getcwd(),
            "LANG": "C.UTF-8",
        }

    def test_values_are_completed(self) -> None:
        """A value alone is inserted; several are listed."""
        with Terminal(self.command, self.environ, columns=200) as screen:
            for line in (f"cd {self.folder}", *self.setup, "echo rea''dy"):
                screen.type(f"{line}\n")
            screen.expect("ready\r\n")
            for typed, wanted in LINES[: budget(2, len(LINES))]:
                screen.type(f"confdctl {typed}\t")
                for word in wanted.split():
                    screen.expect(word)
                screen.type("\x15echo do''ne\n")
                screen.expect("done\r\n")


class BashTests(_Shell, SynchronousTestCase):
    """bash"""

    skip = missing("bash")
    command = ("bash", "--norc", "--noprofile", "-i")
    setup = (
        'eval "$(confdctl completion bash)"',
        "bind 'set show-all-if-ambiguous on'",
        "bind 'set enable-bracketed-paste off'",
    )


class ZshTests(_Shell, SynchronousTestCase):
    """zsh, without a call of compinit"""

    skip = missing("zsh")
    command = ("zsh", "-f", "-i")
    setup = ("PROMPT_SP=", "setopt no_always_last_prompt no_list_ambiguous", 'eval "$(confdctl completion zsh)"')


class FishTests(_Shell, SynchronousTestCase):
    """fish"""

    skip = missing("fish")
    command = ("fish", "--no-config", "-i")
    setup = ("set -g fish_color_command normal", "confdctl completion fish | source")
