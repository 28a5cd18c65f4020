"""
What every strategy must survive, in real processes: C{make_conformance_tests} makes the suite of one.

All faults befall one fleet, one after the other in an order that the seed decides; after each, every agent must be on
the newest version within the bounds of promise G4, and the whole history until then must be without fault. For the
strategy of a third party::

    class PigeonTests(make_conformance_tests("PIGEON", environ={"PIGEON_LOFT": ...})): ...

The environment: C{CONFD_SEED} repeats a run, C{CONFD_LONG=1} makes outages last 60 seconds, and C{CONFD_ROUNDS} says
how many times agents are started while POSTs run.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.budgets import budget
from tests.integration.brokers import Broker
from tests.integration.forgery import forgeries
from tests.integration.proxy import Faults
from tests.integration.recorded_fleet import AGENTS, BOUND, INTERVAL, RETURN, RecordedFleet

#: Seconds of an outage.
OUTAGE = 60.0 if os.environ.get("CONFD_LONG") else 2.0

#: How many times agents are started while POSTs run.
ROUNDS = int(os.environ.get("CONFD_ROUNDS") or budget(6, 21))

#: A poll interval, in seconds, that a test does not live to see: what arrives meanwhile was pushed.
FAR = 600

#: Seconds that the answer to a POST may take, whatever the broker does; a broker that is asked first takes 3 to 5.
ANSWERED = 1.0

Fault = Callable[[RecordedFleet], None]


def make_conformance_tests(
    strategy: str,
    broker: Callable[[Path], Broker] | None = None,
    environ: Mapping[str, str] = {},
    pushes: bool = True,
    why_not: str | None = None,
) -> type[SynchronousTestCase]:
    """
    The suite of one strategy.

    @param strategy: its name.
    @param broker: makes its broker in a folder; not started.
    @param environ: what the processes of agents have in their environment.
    @param pushes: whether there is a push path.
    @param why_not: why it cannot run here.
    """

    class ConformanceTests(SynchronousTestCase):
        skip = why_not

        def test_every_fault(self) -> None:
            """One after the other."""
            seed = int(os.environ.get("CONFD_SEED") or time.time_ns() % 10**6)
            random = Random(seed)
            folder = Path(self.mktemp()).resolve()
            folder.mkdir()
            fleet = RecordedFleet(folder, strategy, random, broker and broker(folder), dict(environ))
            self.addCleanup(fleet.close)
            fleet.open()
            faults = _faults(fleet, pushes)
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
    """Everything is started, and the broker comes last: until then changes arrive by poll."""
    fleet.start_controller()
    fleet.start_agents()
    if fleet.broker is not None:
        assert not fleet.publish().published, "published, without a broker"
        fleet.until_path("poll")
        fleet.settle()
        fleet.broker.server.start()
        _published(fleet)


def _push(fleet: RecordedFleet) -> None:
    """Changes arrive although nobody polls."""
    fleet.publish(FAR)
    fleet.settle()
    # The polls that were due by the interval before are over now.
    time.sleep(1.2 * INTERVAL)
    for _ in range(5):
        fleet.publish(FAR)
        fleet.settle(RETURN)
    fleet.publish()


def _loss(fleet: RecordedFleet) -> None:
    """30 % of messages lost, as many doubled, half of them delayed and so reordered."""
    _publish_under(fleet, Faults(drop=0.3, double=0.3, delay=0.5, cut=True))


def _flipped_bits(fleet: RecordedFleet) -> None:
    """One bit is wrong in a third of the messages."""
    _publish_under(fleet, Faults(flip=0.3))


def _publish_under(fleet: RecordedFleet, faults: Faults) -> None:
    proxy = fleet.proxies[-1]
    before = proxy.harmed
    proxy.faults = faults
    for _ in range(20):
        fleet.publish()
        time.sleep(fleet.random.uniform(0, 0.1))
    if fleet.broker is not None:
        # The way to the controller is free: by it all arrives in time.
        fleet.settle()
    else:
        time.sleep(OUTAGE)
    fleet.until(lambda: proxy.harmed > before, "harmed", BOUND)
    proxy.heal()


def _cut_off(fleet: RecordedFleet) -> None:
    """Connections are broken off, and new ones refused for a while; no message is lost but those that nobody heard."""
    for proxy in fleet.proxies:
        proxy.refuses = True
        proxy.drop()
    fleet.publish()
    time.sleep(OUTAGE)
    for proxy in fleet.proxies:
        proxy.heal()


def _partition(fleet: RecordedFleet) -> None:
    """Nothing comes through to the agents, and no agent hears of it."""
    for proxy in fleet.proxies:
        proxy.blackhole()
    for _ in range(3):
        fleet.publish()
        time.sleep(OUTAGE / 3)
    for proxy in fleet.proxies:
        proxy.heal()


def _controller_restarted(fleet: RecordedFleet) -> None:
    """In order or not; the last version may not have been announced yet."""
    fleet.publish()
    fleet.controller.stop(fleet.random.choice([signal.SIGTERM, signal.SIGKILL]))
    time.sleep(OUTAGE)
    fleet.start_controller()
    fleet.publish()


def _agents_started(fleet: RecordedFleet) -> None:
    """Agents begin to listen while POSTs run; nobody polls, so that what falls between would stay lost."""
    _start_agents(fleet, FAR)


def _pollers_started(fleet: RecordedFleet) -> None:
    """Agents are started while POSTs run."""
    _start_agents(fleet, INTERVAL)


def _start_agents(fleet: RecordedFleet, interval: int) -> None:
    for _ in range(-(-ROUNDS // len(AGENTS))):
        for agent in fleet.agents.values():
            agent.stop(fleet.random.choice([signal.SIGTERM, signal.SIGKILL]))
        fleet.start_agents(wait=False)
        for _ in range(fleet.random.randrange(1, 8)):
            fleet.publish(interval)
            time.sleep(fleet.random.uniform(0, 0.2))
        fleet.settle()
    fleet.publish()


def _subscribers_killed(fleet: RecordedFleet) -> None:
    """By their own broker, while POSTs run; nobody polls, so that what was missed would stay lost."""
    assert fleet.broker is not None
    for _ in range(3):
        fleet.publish(FAR)
        fleet.broker.kill_subscribers(fleet.proxies[-1])
        fleet.publish(FAR)
        fleet.settle()
    fleet.publish()


def _broker_restarted_empty(fleet: RecordedFleet) -> None:
    """Killed with all that it knew."""
    assert fleet.broker is not None
    fleet.broker.server.stop()
    assert not fleet.publish().published, "published, without a broker"
    time.sleep(OUTAGE)
    fleet.settle()
    fleet.broker.server.start()
    _published(fleet)


def _broker_hung(fleet: RecordedFleet) -> None:
    """Its port is open, and nothing moves; an administrator does not notice."""
    assert fleet.broker is not None
    fleet.broker.server.hang()
    try:
        for _ in range(20):
            answer = fleet.publish()
            assert not answer.published, "published, by a broker that hangs"
            assert answer.took < ANSWERED, f"the answer to a POST took {answer.took:.1f} s"
        time.sleep(OUTAGE)
        fleet.settle()
    finally:
        fleet.broker.server.resume()
    _published(fleet)


def _forged_and_replayed(fleet: RecordedFleet) -> None:
    """What was not signed, what was not signed by the controller, and what it signed before."""
    assert fleet.broker is not None
    overheard = []
    for _ in range(5):
        _published(fleet)
        overheard.append(fleet.broker.latest())
    messages = (forgeries(overheard[-1], fleet.random) + overheard[:-1]) * 5
    fleet.random.shuffle(messages)
    fleet.broker.inject(messages)
    # All of them were heard when this one is.
    fleet.publish()
    fleet.settle()
    # A client that comes back finds one of them as the newest that the broker knows.
    fleet.broker.inject(messages)
    fleet.proxies[-1].drop()
    fleet.settle()
    fleet.publish()


def _published(fleet: RecordedFleet) -> None:
    """Wait until the broker has what is published."""
    fleet.until(lambda: fleet.publish().published, "published", RETURN)
    fleet.settle(BOUND)
