"""Webhooks and copies of the audit log, with kills of the controller, failing disks and bad receivers: F-77 to F-83."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

from confd.cli.audit_export import AuditExport
from tests.faults.harness import FaultHarness, Load, percentile
from tests.faults.injection import call, disk_image, fill, small_disk
from tests.faults.rows import row
from tests.faults.storage import keep_in
from tests.integration.fleet import PATIENCE

#: Seconds of the longest back-off of an export, and of a webhook in these rows.
RETRY = 30.0


def _exported(path: Path) -> dict[int, str]:
    """Return number and hash of the entries of an export, as C{confdctl audit verify} reads them."""
    if not path.exists() or not path.stat().st_size:
        return {}
    with path.open("rb") as lines:
        return AuditExport.read(lines, str(path)).hashes


def _kept(fleet: FaultHarness) -> dict[int, str]:
    """Return number and hash of the entries of the database."""
    with sqlite3.connect(f"file:{fleet.folder}/controller.db?mode=ro", uri=True) as connection:
        found: list[tuple[int, str]] = connection.execute("SELECT number, hash FROM audit").fetchall()
    connection.close()
    return dict(found)


def _complete(fleet: FaultHarness, path: Path) -> None:
    fleet.awaits(lambda: _exported(path) == _kept(fleet), RETRY + 10, "export has all entries")
    fleet.claim(_exported(path) == _kept(fleet), "no entry is lost")


@row(
    "F-77",
    "AUDIT_FILE: controller killed under load",
    "SIGKILL at a random moment of 4 writers, 20 times",
    "lost entries 0; no false finding",
    agents=0,
    rounds=10,
)
def audit_export_killed(fleet: FaultHarness) -> None:
    path = fleet.folder / "audit.jsonl"
    keep_in(fleet.controller, "--audit-file", path)
    fleet.begin()
    for _ in range(20):
        with Load(fleet) as load:
            load.acked(3)
            time.sleep(fleet.random.uniform(0, 0.1))
            fleet.controller.stop(signal.SIGKILL)
        before = _exported(path)
        kept = _kept(fleet)
        fleet.claim(before.items() <= kept.items(), "the export holds nothing that the database lacks")
        fleet.start_controller()
    _complete(fleet, path)


@row(
    "F-78",
    "AUDIT_FILE: disk full",
    "tmpfs, filled to the last byte",
    "POST p99 100 ms; ready; heals, lost entries 0",
    agents=0,
    needs=("namespace",),
)
def audit_export_disk_full(fleet: FaultHarness) -> None:
    with small_disk(fleet.folder / "disk") as disk:
        path = disk / "audit.jsonl"
        keep_in(fleet.controller, "--audit-file", path)
        fleet.begin()
        fleet.post()
        filler = fill(disk)
        _suffers(fleet, "No space left")
        filler.unlink()
        _complete(fleet, path)


@row(
    "F-79",
    "AUDIT_FILE: read-only disk",
    "remounted read-only",
    "POST p99 100 ms; ready; heals, lost entries 0",
    agents=0,
    needs=("namespace", "mkfs.ext4"),
)
def audit_export_read_only(fleet: FaultHarness) -> None:
    with disk_image(fleet.folder / "disk.img", fleet.folder / "disk") as disk:
        path = disk / "audit.jsonl"
        keep_in(fleet.controller, "--audit-file", path)
        fleet.begin()
        fleet.post()
        fleet.until(lambda: _exported(path) == _kept(fleet), "exported", PATIENCE)
        call("mount", "-o", "remount,ro", str(disk))
        _suffers(fleet, "Read-only file system")
        call("mount", "-o", "remount,rw", str(disk))
        _complete(fleet, path)
        fleet.controller.stop()


def _suffers(fleet: FaultHarness, words: str) -> None:
    """The export fails, and nothing else does."""
    fleet.until(lambda: fleet.post().status == 200 and words in fleet.ready().body.decode(), "said", PATIENCE)
    took = []
    for _ in range(50):
        began = time.monotonic()
        fleet.claim(fleet.post().status == 200, "POST goes on")
        took.append(time.monotonic() - began)
    fleet.at_most(percentile(took, 0.99), 0.1, "p99 of POST")
    fleet.claim(fleet.ready().status == 200, "the controller stays ready")
    fleet.claim(fleet.total("confd_audit_export_age_seconds") > 0, "the age of the oldest entry grows")


class _Receivers:
    """
    Two receivers of webhooks, which answer late, refuse some requests, and close some without an answer.

    @ivar got: The versions of accepted events, by receiver.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.got: list[list[int]] = [[], []]
        self._lock = threading.Lock()

    def answer(self, number: int, event: dict[str, object]) -> int | None:
        """Return the status of an answer; C{None} closes the connection."""
        time.sleep(self.random.uniform(0, 0.02))
        with self._lock:
            if self.random.random() < 0.1:
                return self.random.choice([None, 500, 503])
            if event["event"] in ("published", "rolled_back"):
                self.got[number].append(int(str(event["tag"]).rpartition(".")[2]))
            return 204

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve both; yield the value of C{WEBHOOK_URLS}."""
        receivers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = receivers.answer(int(self.path[1:]), event)
                if status is not None:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield ",".join(f"http://127.0.0.1:{server.server_port}/{number}" for number in range(2))
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@row(
    "F-83",
    "webhooks: controller killed, receivers slow and faulty",
    "SIGKILL at a random moment of 2 writers, 20 times; 10 % refused",
    "lost events 0; in order",
    agents=0,
    rounds=10,
    most=400,
)
def webhooks_killed(fleet: FaultHarness) -> None:
    receivers = _Receivers(fleet.random)
    with receivers.serving() as urls:
        fleet.controller.arguments += ["--webhook-urls", urls, "--webhook-secret", "a secret of the test"]
        fleet.begin()
        for _ in range(20):
            with Load(fleet, writers=2, pause=0.02) as load:
                load.acked(2)
                time.sleep(fleet.random.uniform(0, 0.3))
                fleet.controller.stop(signal.SIGKILL)
            fleet.start_controller()
        with sqlite3.connect(f"file:{fleet.folder}/controller.db?mode=ro", uri=True) as connection:
            rows = connection.execute("SELECT version FROM revisions WHERE version > 1 ORDER BY version").fetchall()
        connection.close()
        versions = [version for (version,) in rows]
        fleet.until(lambda: all(got[-1:] == versions[-1:] for got in receivers.got), "delivered", PATIENCE * 2)
        for got in receivers.got:
            fleet.claim(sorted(set(got)) == versions, f"no event is lost: {sorted(set(versions) - set(got))[:5]}")
            # An event may come again, and never after a later one.
            fleet.claim(got == sorted(got), "events come in order")
