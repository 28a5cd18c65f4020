"""
How long after the answer to a publish does the last agent hold the version?

A real controller, real brokers, and a fleet of agents in one process take one publish after the other. In turns with
it, a raw publisher sends the same bytes to the same connections through the same broker: the lower bound of a strategy.

Run it with C{python -m benchmarks.fanout}; C{benchmarks/README.rst} explains the columns.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from attrs import asdict, define

from benchmarks.crowd import DEADLINE, Crowd
from benchmarks.dialects import Nats, Redis
from benchmarks.figures import Figures, Sample, summary, table
from benchmarks.host import Invalid, machine, on_core, resident
from benchmarks.kafka_dialect import RAW_TOPIC, Kafka
from benchmarks.peers import EtcdServer
from benchmarks.strategies import DIALECTS, lacking
from benchmarks.watchers import EtcdBench
from tests.integration.fleet import Fleet, Process, request
from tests.integration.kafka import TOPIC, KafkaServer
from tests.integration.servers import NatsServer, RedisServer, Server

#: Interval of the requests for C{/health} during a round.
_PULSE = 0.005

_BROKERS: dict[str, tuple[Callable[[Path], Server], str]] = {
    "REDIS": (RedisServer, "--redis-address"),
    "NATS": (NatsServer, "--nats-url"),
    "KAFKA": (lambda folder: KafkaServer(folder, topics={TOPIC: {}, RAW_TOPIC: {}}), "--kafka-bootstrap"),
}


@define(eq=False)
class Bench:
    """
    A controller, the agents, and the broker of the strategy if it has one.

    @ivar kept: pin the servers to the first core, and the agents to the last.
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
        """Start all processes."""
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
        """End all processes."""
        if self.raw is not None:
            self.raw.close()
        self.crowd.stop()
        self.fleet.close()
        if self.broker is not None:
            self.broker.stop()

    def grown(self) -> float:
        """Return the growth of the controller for each agent, in kilobytes of 1000 bytes."""
        return (resident(self.controller.pid) - self._resident) / 1000 / self.agents

    def publish(self, number: int) -> tuple[int, float, float]:
        """
        POST a document. Return its version, the seconds that it took, and the moment of the answer.

        @raise Invalid: if the controller refuses it.
        """
        began = time.monotonic()
        response = self.fleet.publish({"url": "https://ip.me", "round": number, "pad": "x" * 400})
        answered = time.monotonic()
        if response.status != 200:
            raise Invalid(f"a publish was answered with {response.status}")
        return response.json()["version"], answered - began, answered

    def round(self, number: int) -> tuple[Sample, Sample | None]:
        """Publish once through the controller, then once through the raw publisher."""
        made, took, answered = self.publish(number)
        self.crowd.expect(f"PUSHED {made}")
        health = self._pulse()
        told = self.crowd.hear()
        ours = Sample(took, [each - answered for each in told["times"]], health)
        if self.raw is None or not told["payload"]:
            return ours, None
        dialect = DIALECTS[self.strategy]()
        assert isinstance(dialect, (Redis, Nats, Kafka))
        began = time.monotonic()
        self.raw.sendall(dialect.publish(told["payload"].encode()))
        self.crowd.expect(f"RAW {made}")
        return ours, Sample(0.0, [each - began for each in self.crowd.hear()["times"]])

    def _pulse(self) -> float:
        """Request C{/health} until the fleet has a result; return the longest answer time in seconds."""
        longest = 0.0
        while not self.crowd.said(_PULSE):
            began = time.monotonic()
            request("GET", f"{self.fleet.url}/health")
            longest = max(longest, time.monotonic() - began)
        return longest


def make_bench(folder: Path, strategy: str, agents: int, interval: float) -> Bench | EtcdBench:
    """
    Build a bench, and start nothing.

    @param folder: the folder of the files of the processes.
    @param interval: mean seconds between two polls, for POLLER.
    """
    if strategy == "ETCD":
        etcd = EtcdServer(folder)
        return EtcdBench(agents, etcd, Crowd(strategy, agents, None, etcd.port, interval))
    fleet, broker, options = Fleet(folder), None, ["--log-level", "warn"]
    if strategy in _BROKERS:
        make, setting = _BROKERS[strategy]
        broker = make(folder / "broker")
        scheme = "nats://" if strategy == "NATS" else ""
        options += ["--distribution-strategy", strategy, setting, f"{scheme}127.0.0.1:{broker.port}"]
    crowd = Crowd(strategy, agents, fleet.port, broker.port if broker else None, interval)
    return Bench(strategy, agents, fleet, fleet.controller(*options), broker, crowd)


def measure(strategy: str, agents: int, rounds: int, interval: float) -> Figures:
    """
    Measure all rounds of a strategy; see L{make_bench}.

    @raise Invalid: if a process does not start or answers with an error.
    """
    folder = Path(tempfile.mkdtemp(prefix="confd-fanout-"))
    bench = make_bench(folder, strategy, agents, interval)
    try:
        bench.start()
        # The first round warms up.
        samples = [bench.round(number) for number in range(1, rounds + 2)][1:]
        return summary(strategy, agents, samples, bench.grown())
    finally:
        bench.stop()
        shutil.rmtree(folder)


def main() -> int:
    """Run the command; return status 1 if an agent missed a version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, nargs="+", default=[1000, 5000], help="how many (1000 5000)")
    parser.add_argument("--strategies", nargs="+", default=["STREAM", "REDIS", "NATS", "KAFKA"], choices=DIALECTS)
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
                why_not = lacking(strategy)
                if why_not is None:
                    found.append(measure(strategy, agents, options.rounds, options.poll_interval))
                else:
                    print(f"{strategy} is left out: {why_not}")
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
