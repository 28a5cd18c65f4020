"""Processes that are killed, hung or starved: F-16 to F-22, F-38, F-64."""

from __future__ import annotations

import http.client
import itertools
import signal
import time
from contextlib import ExitStack, suppress

from tests.faults.edge import Crowd
from tests.faults.harness import FaultHarness, Load, processor
from tests.faults.injection import limit_memory, memory_group, strace
from tests.faults.rows import row
from tests.integration.fleet import PATIENCE, Fleet, Process, eventually, hit, target


@row(
    "F-16",
    "agent killed anywhere",
    "SIGKILL at a random moment of updates",
    "never back to an older one; converges",
    rounds=3,
    strategy="STREAM",
)
def agent_killed(fleet: FaultHarness) -> None:
    fleet.begin()
    name = fleet.only
    for _ in range(4):
        for _ in range(fleet.random.randrange(1, 5)):
            fleet.publish()
            time.sleep(fleet.random.uniform(0, 0.1))
        fleet.agents[name].stop(signal.SIGKILL)
        fleet.publish()
        fleet.restart_agent(name)
        fleet.converges(fleet.pause + 10)


@row(
    "F-16 sync",
    "agent killed at each sync of its cache",
    "strace: SIGKILL at the Nth fsync, N = 1 to 8",
    "as F-16; every N is reached",
    needs=("strace",),
    strategy="STREAM",
)
def agent_killed_at_syncs(fleet: FaultHarness) -> None:
    fleet.begin()
    name = fleet.only
    agent = fleet.agents[name]
    for number in range(1, 9):
        agent.stop()
        agent.before = strace(fleet.folder, "fsync", f"signal=SIGKILL:when={number}")
        fleet.restart_agent(name, wait=False)

        def publish_until_killed() -> bool:
            fleet.publish()
            return agent.gone()

        fleet.until(publish_until_killed, f"killed at sync {number}", PATIENCE * 2)
        agent.stop(signal.SIGKILL)
        agent.before = []
        fleet.restart_agent(name)
        fleet.converges(fleet.pause + 10)


@row("F-17", "worker killed", "SIGKILL, and started empty", "/hit as before in 6 s", agents=0)
def worker_killed(fleet: FaultHarness) -> None:
    with Working(fleet) as work:
        for _ in range(5):
            work.worker.stop(signal.SIGKILL)
            work.worker.start()
            fleet.awaits(lambda: hit(work.worker) == work.newest, 6, "/hit after a kill of the worker")


@row("F-18", "controller hung", "SIGSTOP for 15 s", "agents stuck 0; converged in 24 s", strategy="STREAM", agents=3)
def controller_hung(fleet: FaultHarness) -> None:
    fleet.begin()
    fleet.controller.signal(signal.SIGSTOP)
    time.sleep(15)
    fleet.controller.signal(signal.SIGCONT)
    fleet.publish()
    fleet.converges(24)


@row("F-19", "worker hung over 30 updates", "SIGSTOP", "the newest in 5 s after SIGCONT", agents=0)
def worker_hung(fleet: FaultHarness) -> None:
    with Working(fleet) as work:
        work.worker.signal(signal.SIGSTOP)
        for _ in range(30):
            work.publish()
            time.sleep(0.05)
        time.sleep(3)
        work.worker.signal(signal.SIGCONT)
        fleet.awaits(lambda: hit(work.worker) == work.newest, 5 + fleet.pause, "the newest")


@row("F-20", "agent hung over 20 updates", "SIGSTOP", "at most 1 in between; the newest in time", quick=True)
def agent_hung(fleet: FaultHarness) -> None:
    fleet.begin()
    fleet.agents[fleet.only].signal(signal.SIGSTOP)
    before = sum(each.kind == "delivered" for each in fleet.history.events)
    for _ in range(20):
        fleet.publish()
    fleet.agents[fleet.only].signal(signal.SIGCONT)
    fleet.converges(fleet.pause + 10)
    taken = sum(each.kind == "delivered" for each in fleet.history.events) - before
    fleet.claim(taken <= 2, f"at most one in between: {taken - 1}")


@row(
    "F-21",
    "controller out of memory",
    "memory.limit_in_bytes of a control group, under load",
    "as F-01",
    agents=0,
    needs=("cgroup",),
)
def out_of_memory(fleet: FaultHarness) -> None:
    with memory_group() as group:
        fleet.begin("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
        with Load(fleet, 8) as load:
            load.acked(20)
            limit_memory(group, 2 * 2**20)
            large = {"url": "http://127.0.0.1/", "pad": "x" * 900_000}
            while not fleet.controller.gone():
                with suppress(OSError, http.client.HTTPException):
                    fleet.daemons.publish(large)
            fleet.controller.stop(signal.SIGKILL)
        fleet.controller.before = []
        with fleet.recovers(5, "ready"):
            fleet.start_controller()
        fleet.read_database()


@row("F-22", "everything killed at once", "SIGKILL, started again in 6 orders", "converges in 35 s in each", agents=0)
def everything_killed(fleet: FaultHarness) -> None:
    with Working(fleet) as work:
        for order in itertools.permutations([fleet.controller, work.worker, work.agent]):
            for process in order:
                process.stop(signal.SIGKILL)
            for process in order:
                process.start(wait=False)
                time.sleep(fleet.random.uniform(0, 0.5))
            fleet.awaits(lambda: hit(work.worker) == work.newest, 35, "/hit after all were killed")
            fleet.until(lambda: fleet.controller.up(), "up", PATIENCE)
            work.publish()
            fleet.awaits(lambda: hit(work.worker) == work.newest, 35, "a change after all were killed")


@row(
    "F-38",
    "files used up, controller",
    "prlimit --nofile=200, 400 connections",
    "answered or refused in 1 s; no spin; recovers",
    agents=0,
    needs=("prlimit",),
)
def files_used_up(fleet: FaultHarness) -> None:
    fleet.begin("prlimit", "--nofile=200", "--")
    pid = fleet.controller.pid
    with Crowd(fleet.daemons.port) as crowd:
        crowd.connect(400)
        time.sleep(1)
        began, used = time.monotonic(), processor(pid)
        with suppress(OSError):
            fleet.claim(fleet.get() == 200, "answered in order, or refused at once")
        fleet.at_most(time.monotonic() - began, 1, "the answer, or the refusal")
        time.sleep(2)
        share = (processor(pid) - used) / (time.monotonic() - began)
        fleet.claim(share < 0.2 * fleet.slack, f"no spin: {share:.0%} of a processor")
    fleet.awaits(lambda: fleet.post().status == 200, 5, "publishes once they are gone")


@row(
    "F-64",
    "controller stopped under load",
    "SIGTERM, 4 writers",
    "status 0 in 10 s; what was answered is there",
    agents=0,
    rounds=2,
    quick=True,
)
def stopped_under_load(fleet: FaultHarness) -> None:
    fleet.begin()
    with Load(fleet) as load:
        load.acked(50)
        began = time.monotonic()
        fleet.claim(fleet.controller.stop() == 0, "status 0")
        fleet.at_most(time.monotonic() - began, 10, "the end")
    fleet.claim(set(load.answers) <= {200, 0}, f"nothing was refused: {dict(load.answers)}")
    fleet.read_database()


class Working:
    """
    A real worker with its agent, and something to fetch.

    @ivar newest: what C{/hit} owes.
    """

    worker: Process
    agent: Process

    def __init__(self, fleet: FaultHarness) -> None:
        self._fleet = fleet
        self._stack = ExitStack()
        self._count = 0
        self.newest = ""

    def __enter__(self) -> Working:
        fleet: Fleet = self._fleet.daemons
        self._target = self._stack.enter_context(target())
        self._fleet.start_controller()
        self.worker = fleet.worker()
        self.agent = fleet.agent(self.worker, "agent", "--backoff-max", "4", ops=True)
        self.worker.start()
        self.agent.start()
        self.publish()
        eventually(lambda: hit(self.worker) == self.newest, PATIENCE * 2)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def publish(self) -> None:
        """Another address to fetch."""
        self._count += 1
        document = {"url": f"{self._target}/{self._count}"}
        # One that has just been started refuses until it has loaded what it serves.
        eventually(lambda: self._fleet.daemons.publish(document).status == 200)
        self.newest = f"/{self._count}"
