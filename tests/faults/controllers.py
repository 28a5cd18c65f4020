"""Two controllers on one PostgreSQL database: H-01, H-06, H-09."""

from __future__ import annotations

import os
import signal
import time

from tests.faults.databases import Pair
from tests.faults.harness import FaultHarness, Load
from tests.faults.rows import row
from tests.integration.fleet import AGENT, PATIENCE, Process, base_of, eventually, free_port, request
from tests.integration.recorded_fleet import BOUND


def another(fleet: FaultHarness, name: str = "controller-2", **environ: str) -> Process:
    """Start one more controller on the database of the first one, with C{environ} in its environment."""
    port = free_port()
    arguments = ["confd-controller", "--port", str(port), *fleet.controller.arguments[3:]]
    variables = fleet.controller.environ | environ
    made = fleet.daemons.add(name, arguments, f"http://127.0.0.1:{port}/ready", **variables)
    return made.start()


@row(
    "H-01",
    "controllers killed under load",
    "SIGKILL of one of two controllers, 10 times, under 4 writers",
    "lost 0, numbers 1 to n, chain whole; the other one goes on",
    needs=("postgres",),
    rounds=20,
    most=300,
)
def killed(fleet: FaultHarness) -> None:
    with Pair(fleet) as pair:
        fleet.begin()
        pairs = [fleet.controller, another(fleet)]
        loads = [Load(fleet, 2, url=base_of(each)) for each in pairs]
        with loads[0], loads[1]:
            for load in loads:
                load.acked(5)
            for _ in range(10):
                victim = fleet.random.randrange(2)
                time.sleep(fleet.random.uniform(0.1, 0.3))
                pairs[victim].stop(signal.SIGKILL)
                other = loads[1 - victim]
                before = other.answers[200]
                fleet.awaits(
                    lambda other=other, before=before: other.answers[200] > before, 2.5, "publishes of the other one"
                )
                pairs[victim].start()
        pair.read()
        fleet.publish()
        fleet.converges(BOUND)


@row(
    "H-06",
    "a controller stands still inside a transaction",
    "SIGSTOP of one of two controllers under 4 writers, 20 times at random moments",
    "publishes of the other one after 2.5 s; nothing twice",
    needs=("postgres",),
    rounds=5,
    most=300,
)
def stopped(fleet: FaultHarness) -> None:
    with Pair(fleet) as pair:
        fleet.begin()
        url = base_of(another(fleet))
        with Load(fleet) as load:
            load.acked(5)
            for _ in range(20):
                time.sleep(fleet.random.uniform(0, 0.1))
                os.kill(fleet.controller.pid, signal.SIGSTOP)
                try:
                    fleet.awaits(lambda: fleet.post(url=url).status == 200, 2.5, "a publish of the other one")
                finally:
                    os.kill(fleet.controller.pid, signal.SIGCONT)
                acked = load.answers[200]
                eventually(lambda acked=acked: load.answers[200] > acked, PATIENCE)
        pair.read()
        fleet.publish()
        fleet.converges(BOUND)


@row(
    "H-09",
    "two controllers, each with half of the requests",
    "publishes on one, polls on both in turn",
    "no controller serves an older version 1 s after the answer; agents converge",
    needs=("postgres",),
    rounds=3,
)
def in_turn(fleet: FaultHarness) -> None:
    with Pair(fleet) as pair:
        fleet.begin()
        urls = [fleet.daemons.url, base_of(another(fleet))]
        for number in range(40):
            answer = fleet.post(url=urls[number % 2])
            fleet.claim(answer.status == 200, f"a publish: {answer.status}")
            version = answer.json()["version"]
            other = urls[(number + 1) % 2]
            fleet.awaits(
                lambda other=other, version=version: (
                    request("GET", f"{other}/api/v1/config", auth=AGENT).json()["version"] >= version
                ),
                1,
                "the version on the other controller",
            )
        fleet.converges(BOUND)
        pair.read()
