"""
The faults that every strategy must survive, in real processes: C{make_conformance_tests} returns a suite.

One fleet meets all faults in an order that the seed decides. After each fault, every agent must have the newest version
within the bounds of promise G4, and the history so far must keep all promises. For the strategy of a third party::

    class PigeonTests(make_conformance_tests("PIGEON", environ={"PIGEON_LOFT": ...})): ...

The environment: C{CONFD_SEED} repeats a run, C{CONFD_LONG=1} makes outages last 60 seconds, and C{CONFD_ROUNDS} is the
number of times that agents start during POSTs. A strategy with processes of its own starts them in C{prepare}.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from statistics import median

from twisted.trial.unittest import SynchronousTestCase

from tests.budgets import budget
from tests.integration.brokers import Broker
from tests.integration.forgery import forgeries
from tests.integration.proxy import Faults
from tests.integration.recorded_fleet import AGENTS, BOUND, INTERVAL, RETURN, RecordedFleet

#: Length of an outage.
OUTAGE = 60.0 if os.environ.get("CONFD_LONG") else 2.0

#: Number of times that agents start during POSTs.
ROUNDS = int(os.environ.get("CONFD_ROUNDS") or budget(6, 21))

#: A poll interval that is longer than a test: a change that arrives was pushed.
FAR = 600

#: Seconds in which the usual POST is answered, also with a broker that hangs; waiting for the broker would take 3 to 5.
ANSWERED = 2.0

Fault = Callable[[RecordedFleet], None]


def make_conformance_tests(
    strategy: str,
    broker: Callable[[Path], Broker] | None = None,
    environ: Mapping[str, str] = {},
    pushes: bool = True,
    why_not: str | None = None,
) -> type[SynchronousTestCase]:
    """
    Return the suite of a strategy.

    @param strategy: The name of the strategy.
    @param broker: Makes the broker in a folder, and does not start it.
    @param environ: More environment variables of the agents.
    @param pushes: Whether the strategy has a push path.
    @param why_not: Why the suite cannot run here.
    """

    class ConformanceTests(SynchronousTestCase):
        skip = why_not

        def prepare(self, fleet: RecordedFleet) -> list[Fault]:
            """Start what the strategy needs besides a broker, before the controller starts; return more faults."""
            return []

        def test_every_fault(self) -> None:
            """Meet all faults, one after the other."""
            seed = int(os.environ.get("CONFD_SEED") or time.time_ns() % 10**6)
            random = Random(seed)
            folder = Path(self.mktemp()).resolve()
            folder.mkdir()
            fleet = RecordedFleet(folder, strategy, random, broker and broker(folder), dict(environ))
            self.addCleanup(fleet.close)
            fleet.open()
            faults = _faults(fleet, pushes) + self.prepare(fleet)
            random.shuffle(faults)
            ended = [_push] if pushes else []
            for number, fault in enumerate([_begin, *faults, *ended]):
                try:
                    fault(fleet)
                    if pushes:
                        fleet.until_path(strategy)
                    fleet.settle()
                except AssertionError as error:
                    step = f"step {number}, {fault.__name__.strip('_')}, CONFD_SEED={seed}"
                    raise self.failureException(f"{strategy}, {step}: {error}; kept in {folder}") from error

    return ConformanceTests


def _faults(fleet: RecordedFleet, pushes: bool) -> list[Fault]:
    found: list[Fault] = [_loss, _cut_off, _controller_restarted, _partition]
    found.append(_agents_started if pushes else _pollers_started)
    if fleet.broker is not None:
        found += [_flipped_bits, _subscribers_killed, _broker_restarted_empty, _broker_hung, _forged_and_replayed]
    return found


# -- the faults; each leaves the fleet as it found it --


def _begin(fleet: RecordedFleet) -> None:
    """Start everything, and the broker last: before it, changes arrive by poll."""
    fleet.start_controller()
    fleet.start_agents()
    if fleet.broker is not None:
        assert not fleet.publish().published, "published, without a broker"
        fleet.until_path("poll")
        fleet.settle()
        fleet.broker.server.start()
        _published(fleet)


def _push(fleet: RecordedFleet) -> None:
    """Publish while no agent polls."""
    fleet.publish(FAR)
    fleet.settle()
    # The last polls of the previous interval are over.
    time.sleep(1.2 * INTERVAL)
    for _ in range(5):
        fleet.publish(FAR)
        fleet.settle(RETURN)
    fleet.publish()


def _loss(fleet: RecordedFleet) -> None:
    """Lose 30 % of the messages, double as many, and delay half of them, which reorders them."""
    _publish_under(fleet, Faults(drop=0.3, double=0.3, delay=0.5, cut=True))


def _flipped_bits(fleet: RecordedFleet) -> None:
    """Flip one bit in a third of the messages."""
    _publish_under(fleet, Faults(flip=0.3))


def _publish_under(fleet: RecordedFleet, faults: Faults) -> None:
    proxy = fleet.proxies[-1]
    before = proxy.harmed
    proxy.faults = faults
    for _ in range(20):
        fleet.publish()
        time.sleep(fleet.random.uniform(0, 0.1))
    if fleet.broker is not None:
        # The connections to the controller are sound, so polls deliver every change in time.
        fleet.settle()
    else:
        time.sleep(OUTAGE)
    fleet.until(lambda: proxy.harmed > before, "harmed", BOUND)
    proxy.heal()


def _cut_off(fleet: RecordedFleet) -> None:
    """Break all connections, and refuse new ones for a while; only messages without a listener are lost."""
    for proxy in fleet.proxies:
        proxy.refuses = True
        proxy.drop()
    fleet.publish()
    time.sleep(OUTAGE)
    for proxy in fleet.proxies:
        proxy.heal()


def _partition(fleet: RecordedFleet) -> None:
    """Hold back all bytes to the agents, and keep the connections open."""
    for proxy in fleet.proxies:
        proxy.blackhole()
    for _ in range(3):
        fleet.publish()
        time.sleep(OUTAGE / 3)
    for proxy in fleet.proxies:
        proxy.heal()


def _controller_restarted(fleet: RecordedFleet) -> None:
    """Restart the controller, in order or by a kill; the last version may not be announced yet."""
    fleet.publish()
    fleet.controller.stop(fleet.random.choice([signal.SIGTERM, signal.SIGKILL]))
    time.sleep(OUTAGE)
    fleet.start_controller()
    fleet.publish()


def _agents_started(fleet: RecordedFleet) -> None:
    """Start agents during POSTs. No agent polls, so a change that falls between would stay lost."""
    _start_agents(fleet, FAR)


def _pollers_started(fleet: RecordedFleet) -> None:
    """Start agents during POSTs."""
    _start_agents(fleet, INTERVAL)


def _start_agents(fleet: RecordedFleet, interval: int) -> None:
    for _ in range(-(-ROUNDS // len(AGENTS))):
        for agent in fleet.agents.values():
            agent.stop(fleet.random.choice([signal.SIGTERM, signal.SIGKILL]))
        fleet.start_agents(wait=False)
        for _ in range(fleet.random.randrange(1, 8)):
            fleet.publish(interval)
            time.sleep(fleet.random.uniform(0, 0.2))
        fleet.until_up()
        fleet.settle()
    fleet.publish()


def _subscribers_killed(fleet: RecordedFleet) -> None:
    """Let the broker kill its subscribers during POSTs. No agent polls, so a missed change would stay lost."""
    assert fleet.broker is not None
    for _ in range(3):
        fleet.publish(FAR)
        fleet.broker.kill_subscribers(fleet.proxies[-1])
        fleet.publish(FAR)
        fleet.settle()
    fleet.publish()


def _broker_restarted_empty(fleet: RecordedFleet) -> None:
    """Kill the broker with all its messages, and start it empty."""
    assert fleet.broker is not None
    fleet.broker.server.stop()
    assert not fleet.publish().published, "published, without a broker"
    time.sleep(OUTAGE)
    fleet.settle()
    fleet.broker.server.start()
    _published(fleet)


def _broker_hung(fleet: RecordedFleet) -> None:
    """Stop the broker with its port open; a publish must not wait for it."""
    assert fleet.broker is not None
    fleet.broker.server.hang()
    try:
        answers = [fleet.publish() for _ in range(20)]
        assert not any(answer.published for answer in answers), "published, by a broker that hangs"
        # A busy machine delays some answers; a broker that hangs would delay each.
        usual = median(answer.took for answer in answers)
        assert usual < ANSWERED, f"the usual answer to a POST took {usual:.1f} s"
        time.sleep(OUTAGE)
        fleet.settle()
    finally:
        fleet.broker.server.resume()
    _published(fleet)


def _forged_and_replayed(fleet: RecordedFleet) -> None:
    """Send messages without a signature, with a foreign signature, and with an old signature."""
    assert fleet.broker is not None
    overheard = []
    for _ in range(5):
        _published(fleet)
        overheard.append(fleet.broker.latest())
    messages = (forgeries(overheard[-1], fleet.random) + overheard[:-1]) * 5
    fleet.random.shuffle(messages)
    fleet.broker.inject(messages)
    # This message comes last: when it arrives, all have arrived.
    fleet.publish()
    fleet.settle()
    # A client that returns finds a forged message as the newest of the broker.
    fleet.broker.inject(messages)
    fleet.proxies[-1].drop()
    fleet.settle()
    fleet.publish()


def _published(fleet: RecordedFleet) -> None:
    """Wait until the broker has the published version."""
    fleet.until(lambda: fleet.publish().published, "published", RETURN)
    fleet.settle(BOUND)
