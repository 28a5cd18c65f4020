"""
Make a database with the code of a release, and print it as SQL text; see the package for what it is for.

Usage, with the source tree of that release::

    git archive v0.1.0 | tar -x -C /tmp/release
    python -m tests.controller.store.historic.freeze /tmp/release > tests/controller/store/historic/schema-6.sql
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.fleet import ADMIN, AGENT, Process, Response, free_port, request

AGENTS = ("4bb5b5de-0000-4000-8000-000000000001", "4bb5b5de-0000-4000-8000-000000000002")


def live(url: str) -> None:
    """What happens to the database; what an earlier release does not know yet does not happen."""

    def ask(method: str, path: str, value: Any = None, auth: tuple[str, str] = ADMIN, **headers: str) -> Response:
        return request(
            method, url + path, value, auth, {name.replace("_", "-"): text for name, text in headers.items()}
        )

    config = "/api/v1/config"
    ask("POST", f"{config}?comment=second&poll_interval=20", {"url": "http://two.test/"})
    ask("POST", f"{config}?comment=third", {"url": "http://three.test/", "ключ": [1, 2.5, None]}, Idempotency_Key="k-3")
    ask("POST", "/api/v1/namespaces", {"name": "edge", "config": {"url": "http://edge.test/"}, "comment": "new"})
    ask("POST", "/api/v1/namespaces", {"name": "gone", "config": {"url": "http://gone.test/"}})
    ask("DELETE", "/api/v1/namespaces/gone")
    for number, agent_id in enumerate(AGENTS, 1):
        body = {"agent_id": agent_id, "hostname": f"host-{number}", "metadata": "region=eu", "strategy": "STREAM"}
        ask("POST", "/api/v1/register", body, AGENT)
    ask("GET", config, None, AGENT, X_Agent_ID=AGENTS[0])
    ask("POST", "/api/v1/report", {"agent_id": AGENTS[0], "version": 3, "state": "applied"}, AGENT)
    ask("POST", f"{config}/rollback", {"version": 2, "comment": "back"})


def dump(path: Path) -> Iterator[str]:
    """All that is in a database, with the numbers in its header."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for name in ("application_id", "user_version"):
            (value,) = connection.execute(f"PRAGMA {name}").fetchone()
            yield f"PRAGMA {name} = {value};"
        yield from connection.iterdump()


def main(root: str) -> None:
    """Run a controller of that tree."""
    folder = Path(tempfile.mkdtemp())
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environ = {"PYTHONPATH": os.path.abspath(root)}
    controller = Process(folder, "controller", ["confd-controller", "--port", str(port)], f"{url}/ready", environ)
    try:
        controller.start()
        live(url)
        controller.stop()
        print("\n".join(dump(folder / "controller.db")))
    finally:
        controller.stop(signal.SIGKILL)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
