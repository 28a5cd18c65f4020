"""
How long after a publish was answered does the last agent hold it?

A real controller, real brokers, and a fleet of agents in one process; one publish after the other. In turns with it, a
raw publisher sends the same bytes to the same connections through the same broker: what no strategy can be faster than.

Run it with C{python -m benchmarks.fanout}; what the columns mean is in C{benchmarks/README.rst}.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import asdict, define

from benchmarks.dialects import DIALECTS, Nats, Redis, command
from benchmarks.figures import Figures, Sample, summary, table
from tests.integration.fleet import Fleet, Process, clean_environment, request
from tests.integration.servers import NatsServer, RedisServer, Server, missing

#: Seconds that a publish gets to reach all agents.
DEADLINE = 20.0

#: Seconds between two looks at C{/health} meanwhile.
_PULSE = 0.005

_BROKERS: dict[str, type[Server]] = {"REDIS": RedisServer, "NATS": NatsServer}
_ROOT = Path(__file__).resolve().parents[1]


class Invalid(Exception):
    """The run says nothing: something did not start, or does not answer as it should."""


@define(eq=False)
class Crowd:
    """A process of L{benchmarks.fleet}."""

    strategy: str
    agents: int
    controller: int
    broker: int | None
    interval: float
    _child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """
        Start it; returns once all agents are subscribed.

        @raise Invalid: they are not.
        """
        arguments = [self.strategy, "--controller", f"127.0.0.1:{self.controller}", "--agents", str(self.agents)]
        arguments += ["--poll-interval", str(self.interval)]
        if self.broker is not None:
            arguments += ["--broker", f"127.0.0.1:{self.broker}"]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fleet", *arguments],
            cwd=_ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        ready = self.hear()["ready"]
        if ready != self.agents:
            raise Invalid(f"only {ready} of {self.agents} agents came to be subscribed")

    def expect(self, key: str) -> None:
        """Ask when all of them hold something; L{hear} tells."""
        assert self._child is not None and self._child.stdin is not None
        self._child.stdin.write(command(key=key, seconds=DEADLINE))
        self._child.stdin.flush()

    def said(self, seconds: float) -> bool:
        """Whether it has something to say, after at most C{seconds}."""
        assert self._child is not None and self._child.stdout is not None
        return bool(select.select([self._child.stdout], [], [], seconds)[0])

    def hear(self) -> dict[str, Any]:
        """
        What it says.

        @raise Invalid: it has ended.
        """
        assert self._child is not None and self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise Invalid("the fleet has ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()


@define(eq=False)
class Bench:
    """
    A controller, the agents, and a broker where the strategy has one.

    @ivar raw: the connection of the raw publisher.
    """

    strategy: str
    agents: int
    fleet: Fleet
    controller: Process
    broker: Server | None
    crowd: Crowd
    raw: socket.socket | None = None
    _resident: int = 0

    def start(self) -> None:
        """Start everything: servers on the first core, agents on the last."""
        with on_core(0):
            if self.broker is not None:
                self.broker.start()
                self.raw = socket.create_connection(("127.0.0.1", self.broker.port), timeout=DEADLINE)
                self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.controller.start()
        self.publish(0)
        self._resident = resident(self.controller.pid)
        with on_core(-1):
            self.crowd.start()

    def stop(self) -> None:
        """End everything."""
        if self.raw is not None:
            self.raw.close()
        self.crowd.stop()
        self.fleet.close()
        if self.broker is not None:
            self.broker.stop()

    def grown(self) -> float:
        """Kilobytes of 1000 that the controller has grown by, for each agent."""
        return (resident(self.controller.pid) - self._resident) / 1000 / self.agents

    def publish(self, number: int) -> tuple[int, float, float]:
        """
        POST a document; the version that it became, seconds that it took, and the moment of the answer.

        @raise Invalid: it was refused.
        """
        began = time.monotonic()
        response = self.fleet.publish({"url": "https://ip.me", "round": number, "pad": "x" * 400})
        answered = time.monotonic()
        if response.status != 200:
            raise Invalid(f"a publish was answered with {response.status}")
        return response.json()["version"], answered - began, answered

    def round(self, number: int) -> tuple[Sample, Sample | None]:
        """One publish, and one of the raw publisher, one after the other."""
        made, took, answered = self.publish(number)
        self.crowd.expect(f"PUSHED {made}")
        health = self._pulse()
        told = self.crowd.hear()
        ours = Sample(took, [each - answered for each in told["times"]], health)
        if self.raw is None or not told["payload"]:
            return ours, None
        dialect = DIALECTS[self.strategy]()
        assert isinstance(dialect, (Redis, Nats))
        began = time.monotonic()
        self.raw.sendall(dialect.publish(told["payload"].encode()))
        self.crowd.expect(f"RAW {made}")
        return ours, Sample(0.0, [each - began for each in self.crowd.hear()["times"]])

    def _pulse(self) -> float:
        """Look at C{/health} until the fleet has something to say; the longest that it took."""
        longest = 0.0
        while not self.crowd.said(_PULSE):
            began = time.monotonic()
            request("GET", f"{self.fleet.url}/health")
            longest = max(longest, time.monotonic() - began)
        return longest


@contextlib.contextmanager
def on_core(number: int) -> Iterator[None]:
    """Let the processes that are started meanwhile stay on one of the cores, where that can be chosen."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def resident(pid: int) -> int:
    """Bytes of memory that a process has (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def make_bench(folder: Path, strategy: str, agents: int, interval: float) -> Bench:
    """
    Build what is measured; nothing is started.

    @param folder: where the processes keep what they write.
    @param interval: mean seconds between two polls, for POLLER.
    """
    fleet, broker, options = Fleet(folder), None, ["--log-level", "warn"]
    if strategy in _BROKERS:
        broker = _BROKERS[strategy](folder / "broker")
        where = f"127.0.0.1:{broker.port}"
        options += ["--distribution-strategy", strategy]
        options += ["--redis-address", where] if strategy == "REDIS" else ["--nats-url", f"nats://{where}"]
    crowd = Crowd(strategy, agents, fleet.port, broker.port if broker else None, interval)
    return Bench(strategy, agents, fleet, fleet.controller(*options), broker, crowd)


def measure(strategy: str, agents: int, rounds: int, interval: float) -> Figures:
    """
    All rounds of one strategy; see L{make_bench}.

    @raise Invalid: if it cannot be measured.
    """
    folder = Path(tempfile.mkdtemp(prefix="confd-fanout-"))
    bench = make_bench(folder, strategy, agents, interval)
    try:
        bench.start()
        # The first one warms up.
        samples = [bench.round(number) for number in range(1, rounds + 2)][1:]
        return summary(strategy, agents, samples, bench.grown())
    finally:
        bench.stop()
        shutil.rmtree(folder)


def machine() -> str:
    """Where this was measured, and with what."""
    parts = [f"{os.cpu_count()} cores", f"{platform.system()} {platform.release()}"]
    parts += [f"Python {platform.python_version()}", f"Twisted {version('twisted')}"]
    for name in ("redis-server", "nats-server"):
        if missing(name) is None:
            told = subprocess.run([name, "--version"], capture_output=True, text=True, timeout=DEADLINE).stdout
            parts.append(f"{name} {told.removeprefix('nats-server: ').removeprefix('Redis server ').split()[0]}")
    return ", ".join(parts)


def main() -> int:
    """The command line; its exit status is 1 where a version was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, nargs="+", default=[1000, 5000], help="how many (1000 5000)")
    parser.add_argument("--strategies", nargs="+", default=["STREAM", "REDIS", "NATS"], choices=DIALECTS)
    parser.add_argument("--rounds", type=int, default=20, help="publishes for each (20)")
    parser.add_argument("--poll-interval", type=float, default=5.0, help="mean seconds between polls, for POLLER (5)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    if options.rounds < 1 or min(options.agents) < 1:
        parser.error("--rounds and --agents must be at least 1")
    where = machine()
    print(where)
    found = []
    try:
        for agents in options.agents:
            for strategy in options.strategies:
                lacking = missing(f"{strategy.lower()}-server") if strategy in _BROKERS else None
                if lacking is None:
                    found.append(measure(strategy, agents, options.rounds, options.poll_interval))
                else:
                    print(f"{strategy} is left out: {lacking}")
    except (Invalid, AssertionError, OSError, http.client.HTTPException) as error:
        print(f"invalid: {error}", file=sys.stderr)
        return 1
    print(table(found))
    if options.json is not None:
        report = {
            "machine": where,
            "figures": [asdict(each) | {"ratio": each.ratio, "whole_ratio": each.whole_ratio} for each in found],
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return int(any(each.missed for each in found))


if __name__ == "__main__":
    sys.exit(main())
