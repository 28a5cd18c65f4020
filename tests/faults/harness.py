"""A fleet for faults: what rows do to it, and what they claim."""

from __future__ import annotations

import http.client
import itertools
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from confd.codec import strict_json
from confd.codec.headers import basic_authorization
from tests.integration.fleet import ADMIN, AGENT, PATIENCE, Process, Response, base_of, eventually, request
from tests.integration.recorded_fleet import INTERVAL, RecordedFleet
from tests.runtime.test_metrics import samples

#: What no log may hold.
SECRETS = (ADMIN[1], AGENT[1], basic_authorization(*ADMIN).decode(), basic_authorization(*AGENT).decode())


@define(eq=False)
class FaultHarness(RecordedFleet):
    """
    A recorded fleet that faults are injected into, and the claims about it.

    @ivar slack: The factor of all limits in seconds, for a busy machine.
    @ivar where: The beginning of the addresses that are published.
    @ivar recovery: Seconds of the slowest recovery.
    """

    slack: float = 1.0
    where: str = "http://127.0.0.1"
    recovery: float = field(default=0.0, init=False)
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1_000_000), init=False)

    # -- what is claimed --

    def claim(self, kept: object, what: str) -> None:
        """Record whether a condition holds."""
        self.history.claimed(what, bool(kept))

    def at_most(self, seconds: float, limit: float, what: str) -> None:
        """Record whether a time is within its limit."""
        self.claim(seconds <= limit * self.slack, f"{what}: {seconds:.3f} s, at most {limit * self.slack:g}")

    @contextmanager
    def recovers(self, within: float, what: str) -> Iterator[None]:
        """Time the body as a recovery. The body may take longer than the limit, so that its time is measured."""
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        self.recovery = max(self.recovery, took)
        self.at_most(took, within, what)

    def awaits(self, check: Callable[[], object], within: float, what: str) -> None:
        """
        Wait for a condition as a recovery.

        @raise AssertionError: if the condition never holds.
        """
        with self.recovers(within, what):
            self.until(check, what, within * self.slack + PATIENCE)

    def converges(self, within: float) -> None:
        """Wait until all agents have the newest version; later than the limit is a violation."""
        began = time.monotonic()
        self.history.owed(within * self.slack)
        with suppress(AssertionError):
            eventually(self._settled, within * self.slack + 5)
        self.recovery = max(self.recovery, time.monotonic() - began)

    def check_logs(self) -> None:
        """Record whether the logs are free of tracebacks and passwords."""
        for path in sorted(self.folder.glob("*.log")):
            text = path.read_text(errors="replace")
            self.claim("Traceback" not in text, f"no traceback in {path.name}")
            self.claim(not any(each in text for each in SECRETS), f"no secret in {path.name}")

    # -- what is done --

    def begin(self, *before: str) -> None:
        """Start the controller and the agents, and wait until the agents have a first publish."""
        self.controller.before = list(before)
        self.start_controller()
        if self.agents:
            self.start_agents()
            self.publish()
            self.until(self._settled, "settled", PATIENCE * 2)

    def document(self) -> dict[str, Any]:
        """Return a new document; documents differ in size, so that commits differ in pages."""
        number = next(self._numbers)
        return {"url": f"{self.where}/{number}", "pad": "x" * (number * 37 % 3000)}

    def post(
        self, query: str = "", headers: dict[str, str] | None = None, url: str | None = None, **more: str
    ) -> Response:
        """
        Publish a document with C{more} in it; only an answer of 200 acknowledges it.

        @param url: of the controller; by default of the first one.
        """
        document = self.document() | more
        answer = request("POST", f"{url or self.daemons.url}/api/v1/config?{query}", document, ADMIN, headers)
        if answer.status == 200:
            self.history.acknowledged(answer.headers["etag"].strip('"'), strict_json.checksum(document))
        return answer

    def get(self) -> int:
        """Return the status of a read."""
        return request("GET", f"{self.daemons.url}/api/v1/config", auth=AGENT).status

    def ready(self, process: Process | None = None) -> Response:
        """Return C{/ready} of a process; by default of the controller."""
        return request("GET", f"{base_of(process or self.controller)}/ready")

    def metrics(self, process: Process | None = None) -> dict[tuple[str, Any], float]:
        """Return the metrics of a process; by default of the controller."""
        return samples(request("GET", f"{base_of(process or self.controller)}/metrics").body)

    def total(self, name: str, process: Process | None = None) -> float:
        """Return the sum of a metric over its labels."""
        return sum(value for (each, _), value in self.metrics(process).items() if each == name)

    def restart_agent(self, name: str, wait: bool = True) -> None:
        """Start an agent again."""
        self.history.started(name)
        self.agents[name].start(wait=wait)

    def listed(self) -> list[dict[str, Any]]:
        """Return the agents as the controller lists them."""
        found: list[dict[str, Any]] = request("GET", f"{self.daemons.url}/api/v1/agents", auth=ADMIN).json()
        return found

    def read_database(self, path: Path | None = None) -> None:
        """Record the revisions on disk for the check; no process may write meanwhile."""
        with sqlite3.connect(path or self.folder / "controller.db") as connection:
            cluster = connection.execute("SELECT cluster_id FROM meta").fetchone()[0]
            rows = connection.execute(
                "SELECT epoch, version, document, checksum FROM revisions WHERE namespace = 'default' ORDER BY version"
            ).fetchall()
        connection.close()
        for _, version, text, checksum in rows:
            self.claim(strict_json.checksum(json.loads(text)) == checksum, f"version {version} is whole")
        self.history.read((f"{cluster[:8]}.{epoch}.{version}", checksum) for epoch, version, _, checksum in rows)

    @property
    def only(self) -> str:
        """The name of the only agent."""
        return next(iter(self.agents))

    @property
    def pause(self) -> float:
        """Seconds within which an agent polls once."""
        return 1.2 * INTERVAL


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def descriptors(pid: int) -> int:
    """Return the number of open files and sockets of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def processor(pid: int) -> float:
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def percentile(values: list[float], share: float) -> float:
    """Return the value that a share of all values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@define(eq=False)
class Load:
    """
    Writers that publish without end.

    @ivar url: The controller; by default the first one.
    @ivar answers: The number of answers by status; 0 counts requests without an answer.
    @ivar took: Seconds of each answer.
    """

    fleet: FaultHarness
    writers: int = 4
    pause: float = 0.0
    url: str | None = None
    answers: Counter[int] = field(factory=Counter)
    took: list[float] = field(factory=list)
    _threads: list[threading.Thread] = field(factory=list)
    _end: threading.Event = field(factory=threading.Event)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._write, daemon=True) for _ in range(self.writers)]
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for each in self._threads:
            each.join()

    def acked(self, count: int) -> None:
        """Wait for C{count} answers of 200, without which a row would test nothing."""
        eventually(lambda: self.answers[200] >= count, PATIENCE * 2)

    def _write(self) -> None:
        while not self._end.wait(self.pause):
            began = time.monotonic()
            try:
                status = self.fleet.post(url=self.url).status
            except (OSError, http.client.HTTPException):
                status = 0
                self._end.wait(0.02)
            self.answers[status] += 1
            self.took.append(time.monotonic() - began)
