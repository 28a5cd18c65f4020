"""Two controllers that announce to one broker, one of them late: H-15."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.faults.controllers import another
from tests.faults.databases import Pair
from tests.faults.harness import FaultHarness
from tests.faults.rows import Row, Rows
from tests.integration.fleet import base_of, eventually
from tests.integration.recorded_fleet import BOUND

#: Seconds that the announcements of one controller are held back, and times that this happens.
DELAY, TIMES = 5, 3

#: Questions after each time.
QUESTIONS = 20

#: Seconds after which no answer about the newest announcement may be older than an acknowledged version.
KNOWN_AFTER = 1.0


@contextmanager
def latest(fleet: FaultHarness, answers: Callable[[], bool]) -> Iterator[list[tuple[float, int]]]:
    """
    Ask the broker for its newest announcement meanwhile; yield times before the question, and versions.

    @param answers: whether a question has an answer now.
    """
    seen: list[tuple[float, int]] = []
    end = threading.Event()
    broker = fleet.broker
    assert broker is not None

    def ask() -> None:
        while not end.wait(0.005):
            began = time.monotonic()
            if answers():
                seen.append((began, int(json.loads(broker.latest())["version"])))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def _late(fleet: FaultHarness, strategy: str) -> None:
    broker = fleet.broker
    assert broker is not None
    broker.server.start()
    link = fleet.proxy(broker.server.port)
    with Pair(fleet) as pair:
        direct = broker.options(broker.server.port)
        place = fleet.controller.arguments.index(direct[0])
        through = broker.options(link.port)
        fleet.controller.arguments[place : place + len(direct)] = through
        fleet.begin()
        place = fleet.controller.arguments.index(through[0])
        fleet.controller.arguments[place : place + len(direct)] = direct
        second = another(fleet)
        fleet.until_path(strategy)
        acknowledged: list[tuple[float, int]] = []
        healed = threading.Event()
        # With NATS each controller answers such questions in turn, and one of them may be late.
        with latest(fleet, lambda: strategy == "REDIS" or healed.is_set()) as seen:
            for _ in range(TIMES):
                healed.clear()
                time.sleep(0.1)
                link.blackhole()
                for url in (fleet.daemons.url, base_of(second), base_of(second)):
                    answer = fleet.post(url=url)
                    fleet.claim(answer.status == 200, f"a publish: {answer.status}")
                    acknowledged.append((time.monotonic(), answer.json()["version"]))
                time.sleep(DELAY)
                link.heal()
                fleet.until_path(strategy)
                time.sleep(1)
                healed.set()
                enough = len(seen) + QUESTIONS
                eventually(lambda enough=enough: len(seen) >= enough)
        versions = [version for _, version in seen]
        if strategy == "REDIS":
            falls = [each for each in itertools.pairwise(versions) if each[1] < each[0]]
            fleet.claim(not falls, f"latest_config never falls: {falls[:5]}")
        for at, version in acknowledged:
            older = [each for began, each in seen if began > at + KNOWN_AFTER * fleet.slack and each < version]
            fleet.claim(not older, f"nothing is older than version {version} after a while: {older[:5]}")
        pair.read()
        fleet.publish()
        fleet.converges(BOUND)


LATE = Rows(
    Row(
        f"H-15 {strategy}", f"two announcers, one late ({strategy.title()})",
        f"proxy: nothing of one controller for {DELAY} s, {TIMES} times, while both publish",
        "the newest announcement never falls, and is the newest version 1 s after the answer",
        lambda fleet, strategy=strategy: _late(fleet, strategy), needs=("postgres",), strategy=strategy, rounds=5,
    )
    for strategy in ("REDIS", "NATS")
)  # fmt: skip
