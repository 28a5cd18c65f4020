"""
Load and random faults for a set time: is anything lost, and does anything grow?

Run it with C{make soak}, or C{python -m tests.faults.soak}: it prints figures as it goes, and in the end the slope of
each process's memory by least squares, after the warm-up, with its standard error.
"""

from __future__ import annotations

import argparse
import itertools
import math
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

from attrs import define, field, frozen

from tests.faults.edge import Crowd
from tests.faults.harness import FaultHarness, descriptors, resident
from tests.faults.table import machine
from tests.integration.brokers import RedisBroker
from tests.integration.fleet import ADMIN, AGENT, Process, base_of, request, target
from tests.integration.forgery import forgeries
from tests.integration.history import violations
from tests.integration.proxy import Faults
from tests.integration.recorded_fleet import BOUND
from tests.integration.recorder import Recorder
from tests.integration.servers import missing

#: Seconds between two looks at the processes.
LOOK = 5.0

#: Megabytes an hour that a process may grow by.
FLAT = 1.0


@frozen
class Slope:
    """
    A straight line through what was measured.

    @ivar hourly: by how much it rises in an hour.
    @ivar error: the standard error of that.
    """

    hourly: float
    error: float


def least_squares(points: Sequence[tuple[float, float]]) -> Slope:
    """The slope of points (seconds, value), of which there must be three."""
    count = len(points)
    mean_x, mean_y = (sum(each[axis] for each in points) / count for axis in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return Slope(slope * 3600, math.sqrt(rest / (count - 2) / spread) * 3600)


@frozen
class Look:
    """What one process held at one moment."""

    at: float
    memory: int
    files: int
    threads: int


@define(eq=False)
class Traffic:
    """
    What clients and agents do all the while; each kind in a thread of its own, at a steady rate.

    @ivar answers: how many of each kind and status.
    """

    fleet: FaultHarness
    worker: Process
    answers: Counter[tuple[str, int]] = field(factory=Counter)
    _end: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self) -> None:
        """Begin."""
        url = self.fleet.daemons.url
        ids = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(50)]
        for each in ids:
            request("POST", f"{url}/api/v1/register", {"agent_id": each, "hostname": "simulated"}, AGENT)
        tags = itertools.cycle(ids)

        def poll() -> int:
            headers = {"X-Agent-ID": next(tags), "If-None-Match": self.fleet.history.newest()}
            return request("GET", f"{url}/api/v1/config", None, AGENT, headers).status

        def report() -> int:
            value = {"agent_id": next(tags), "version": self.fleet.history.newest(), "state": "applied"}
            return request("POST", f"{url}/api/v1/report", value, AGENT).status

        kinds: list[tuple[str, float, Callable[[], int]]] = [
            ("poll", 0.04, poll),
            ("report", 0.3, report),
            ("publish", 1.0, lambda: self.fleet.post().status),
            ("hit", 0.5, lambda: request("GET", f"{base_of(self.worker)}/hit").status),
            ("look", 2.0, lambda: request("GET", f"{url}/api/v1/agents", auth=ADMIN).status),
            ("history", 2.0, lambda: request("GET", f"{url}/api/v1/config/history", auth=ADMIN).status),
            ("metrics", 5.0, lambda: request("GET", f"{url}/metrics").status),
        ]
        self._threads = [threading.Thread(target=self._repeat, args=each, daemon=True) for each in kinds]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._end.set()
        for each in self._threads:
            each.join()

    def _repeat(self, kind: str, pause: float, what: Callable[[], int]) -> None:
        while not self._end.wait(pause):
            try:
                status = what()
            except OSError:
                status = 0
            self.answers[kind, status] += 1


@define(eq=False)
class Soak:
    """
    A fleet with agents of three strategies, its load, its faults, and who watches.

    @ivar looks: of each process that is never restarted.
    """

    fleet: FaultHarness
    seconds: float
    looks: dict[str, list[Look]] = field(factory=dict)
    done: Counter[str] = field(factory=Counter)
    _watched: dict[str, Process] = field(factory=dict)
    _closers: list[Callable[[], None]] = field(factory=list)

    def run(self) -> None:
        """All of it."""
        fleet = self.fleet
        fleet.open()
        stack = ExitStack()
        try:
            fleet.where = stack.enter_context(target())
            worker = self._fill()
            traffic = Traffic(fleet, worker)
            traffic.start()
            try:
                self._watch()
            finally:
                traffic.stop()
            fleet.converges(BOUND)
            self._report(traffic)
            fleet.controller.stop()
            fleet.read_database()
            fleet.check_logs()
        finally:
            for close in self._closers:
                close()
            fleet.close()
            stack.close()

    def _fill(self) -> Process:
        """Start everything; returns the worker that is real."""
        fleet = self.fleet
        for strategy in ("STREAM", "POLLER"):
            recorder = Recorder(strategy.lower(), fleet.history)
            self._closers.append(recorder.close)
            options = ["--distribution-strategy", strategy, "--backoff-max", "4"]
            fleet.agents[strategy.lower()] = fleet.daemons.agent(recorder.url, strategy.lower(), *options, ops=True)
        if fleet.broker is not None:
            fleet.broker.server.start()
        worker = fleet.daemons.worker()
        agent = fleet.daemons.agent(worker, "keeper", ops=True)
        fleet.begin()
        worker.start()
        agent.start()
        self._watched = {"controller": fleet.controller, "worker": worker, "agent of the worker": agent}
        self._watched |= {f"agent, {name}": fleet.agents[name] for name in ("stream", "poller")}
        self.looks = {name: [] for name in self._watched}
        return worker

    def _watch(self) -> None:
        """Look, and harm something every half minute or so."""
        began = time.monotonic()
        threat = began + 20
        while (now := time.monotonic()) < began + self.seconds:
            for name, process in self._watched.items():
                threads = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
                self.looks[name].append(Look(now - began, resident(process.pid), descriptors(process.pid), threads))
            if now >= threat:
                fault = self.fleet.random.choice(self._faults())
                fault(self.fleet)
                self.fleet.converges(BOUND)
                self.done[fault.__name__.strip("_")] += 1
                threat = time.monotonic() + self.fleet.random.uniform(15, 40)
                memory = {name: f"{looks[-1].memory / 2**20:.1f}" for name, looks in self.looks.items()}
                print(f"{now - began:6.0f} s  {fault.__name__.strip('_')}; MiB: {memory}", file=sys.stderr, flush=True)
            time.sleep(LOOK)

    def _faults(self) -> list[Callable[[FaultHarness], None]]:
        found = [_lost_and_cut, _partition, _controller_hung, _agent_killed, _slow_clients, _bad_requests, _locked]
        return found + ([_broker_emptied, _broker_hung, _forged] if self.fleet.broker is not None else [])

    def _report(self, traffic: Traffic) -> None:
        warm = self.seconds / 2
        print(f"{self.seconds:.0f} s, warm-up {warm:.0f} s; {machine()}")
        print(f"faults: {', '.join(f'{count} x {name}' for name, count in sorted(self.done.items()))}")
        print(f"answers: {', '.join(f'{k} {s}: {c}' for (k, s), c in sorted(traffic.answers.items()))}")
        print(f"{'process':22} {'MiB':>6} {'MB/h':>8} {'error':>7}  {'files':>12}  {'threads':>10}")
        for name, looks in self.looks.items():
            kept = [each for each in looks if each.at >= warm]
            slope = least_squares([(each.at, each.memory / 1e6) for each in kept])
            files, threads = ([getattr(each, what) for each in kept] for what in ("files", "threads"))
            print(
                f"{name:22} {kept[-1].memory / 2**20:6.1f} {slope.hourly:8.2f} {slope.error:7.2f}"
                f"  {min(files):5} to {max(files):4}  {min(threads):3} to {max(threads):3}"
            )
            self.fleet.claim(slope.hourly - 2 * slope.error <= FLAT, f"{name} grows by {slope.hourly:.2f} MB an hour")
            self.fleet.claim(files[-1] <= files[0] + 20, f"files of {name}: {files[0]}, then {files[-1]}")
            self.fleet.claim(max(threads) <= 40, f"threads of {name}: {max(threads)}")
        log = self.fleet.folder / "controller.db-wal"
        size = log.stat().st_size if log.exists() else 0
        self.fleet.claim(size <= 64 * 2**20, f"the write-ahead log is bounded: {size} bytes")
        written = sum(each.stat().st_size for each in self.fleet.folder.glob("*.log"))
        print(f"write-ahead log {size / 1e6:.1f} MB, logs {written / 1e6 * 3600 / self.seconds:.1f} MB an hour")


# -- the faults; each is over when it returns --


def _lost_and_cut(fleet: FaultHarness) -> None:
    for proxy in fleet.proxies:
        proxy.faults = Faults(drop=0.3, double=0.3, delay=0.5, flip=0.1, cut=True)
    time.sleep(10)
    for proxy in fleet.proxies:
        proxy.heal()


def _partition(fleet: FaultHarness) -> None:
    for proxy in fleet.proxies:
        proxy.blackhole()
    time.sleep(10)
    for proxy in fleet.proxies:
        proxy.heal()


def _controller_hung(fleet: FaultHarness) -> None:
    fleet.controller.signal(signal.SIGSTOP)
    time.sleep(3)
    fleet.controller.signal(signal.SIGCONT)


def _agent_killed(fleet: FaultHarness) -> None:
    fleet.agents["redis"].stop(signal.SIGKILL)
    time.sleep(2)
    fleet.restart_agent("redis")


def _slow_clients(fleet: FaultHarness) -> None:
    with Crowd(fleet.daemons.port) as crowd:
        crowd.connect(200, b"GET / HTTP/1.1\r\nX:")
        for _ in range(12):
            crowd.send(b"x")
            time.sleep(1)


def _bad_requests(fleet: FaultHarness) -> None:
    for _ in range(200):
        answer = fleet.daemons.publish(fleet.random.randbytes(fleet.random.randrange(1, 200)))
        fleet.claim(400 <= answer.status < 500, f"rubbish is refused: {answer.status}")


def _locked(fleet: FaultHarness) -> None:
    connection = sqlite3.connect(fleet.folder / "controller.db", isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")
    time.sleep(3)
    connection.execute("ROLLBACK")
    connection.close()


def _broker_emptied(fleet: FaultHarness) -> None:
    assert fleet.broker is not None
    fleet.broker.server.stop()
    time.sleep(5)
    fleet.broker.server.start()


def _broker_hung(fleet: FaultHarness) -> None:
    assert fleet.broker is not None
    fleet.broker.server.hang()
    time.sleep(10)
    fleet.broker.server.resume()


def _forged(fleet: FaultHarness) -> None:
    assert fleet.broker is not None
    if genuine := fleet.broker.latest():
        fleet.broker.inject(forgeries(genuine, fleet.random) * 5)


def main() -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (20)")
    parser.add_argument("--slack", type=float, default=2.0, help="times as many seconds in each limit (2)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="where all chance comes from")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="confd-soak-"))
    broker = None if missing("redis-server") else RedisBroker.make(folder / "broker")
    strategy = "POLLER" if broker is None else "REDIS"
    fleet = FaultHarness(folder, strategy, Random(options.seed), broker, names=("redis",), slack=options.slack)
    Soak(fleet, options.minutes * 60).run()
    found = violations(fleet.history.events)
    print(f"{len(found)} violations")
    for sentence in found[:20]:
        print(f"    {sentence}")
    if not found:
        shutil.rmtree(folder)
    else:
        print(f"kept in {folder}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
