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

from tests.integration.arena import AGENTS, BOUND, INTERVAL, RETURN, Arena
from tests.integration.forgery import forgeries
from tests.integration.proxy import Faults
from tests.integration.ways import Broker

#: Seconds of an outage.
OUTAGE = 60.0 if os.environ.get("CONFD_LONG") else 2.0

#: How many times agents are started while POSTs run.
ROUNDS = int(os.environ.get("CONFD_ROUNDS", "20"))

#: A poll interval, in seconds, that a test does not live to see: what arrives meanwhile was pushed.
FAR = 600

#: Seconds that the answer to a POST may take, whatever the broker does; a broker that is asked first takes 3 to 5.
ANSWERED = 1.0

Fault = Callable[[Arena], None]


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
            arena = Arena(folder, strategy, random, broker and broker(folder), dict(environ))
            self.addCleanup(arena.close)
            arena.open()
            faults = _faults(arena, pushes)
            random.shuffle(faults)
            ended = [_push] if pushes else []
            for number, fault in enumerate([_begin, *faults, *ended]):
                try:
                    fault(arena)
                    if pushes:
                        arena.until_path(strategy)
                    arena.settle()
                except AssertionError as error:
                    step = f"step {number}, {fault.__name__.strip('_')}, CONFD_SEED={seed}"
                    raise self.failureException(f"{strategy}, {step}: {error}; kept in {folder}") from error

    return ConformanceTests


def _faults(arena: Arena, pushes: bool) -> list[Fault]:
    found: list[Fault] = [_loss, _cut_off, _controller_restarted, _partition]
    found.append(_agents_started if pushes else _pollers_started)
    if arena.broker is not None:
        found += [_flipped_bits, _subscribers_killed, _broker_restarted_empty, _broker_hung, _forged_and_replayed]
    return found


# -- the faults; each leaves the fleet as it found it --


def _begin(arena: Arena) -> None:
    """Everything is started, and the broker comes last: until then changes arrive by poll."""
    arena.start_controller()
    arena.start_agents()
    if arena.broker is not None:
        assert not arena.publish().published, "published, without a broker"
        arena.until_path("poll")
        arena.settle()
        arena.broker.server.start()
        _published(arena)


def _push(arena: Arena) -> None:
    """Changes arrive although nobody polls."""
    arena.publish(FAR)
    arena.settle()
    # The polls that were due by the interval before are over now.
    time.sleep(1.2 * INTERVAL)
    for _ in range(5):
        arena.publish(FAR)
        arena.settle(RETURN)
    arena.publish()


def _loss(arena: Arena) -> None:
    """30 % of messages lost, as many doubled, half of them delayed and so reordered."""
    _publish_under(arena, Faults(drop=0.3, double=0.3, delay=0.5, cut=True))


def _flipped_bits(arena: Arena) -> None:
    """One bit is wrong in a third of the messages."""
    _publish_under(arena, Faults(flip=0.3))


def _publish_under(arena: Arena, faults: Faults) -> None:
    proxy = arena.proxies[-1]
    before = proxy.harmed
    proxy.faults = faults
    for _ in range(20):
        arena.publish()
        time.sleep(arena.random.uniform(0, 0.1))
    if arena.broker is not None:
        # The way to the controller is free: by it all arrives in time.
        arena.settle()
    else:
        time.sleep(OUTAGE)
    arena.until(lambda: proxy.harmed > before, "harmed", BOUND)
    proxy.heal()


def _cut_off(arena: Arena) -> None:
    """Connections are broken off, and new ones refused for a while; no message is lost but those that nobody heard."""
    for proxy in arena.proxies:
        proxy.refuses = True
        proxy.drop()
    arena.publish()
    time.sleep(OUTAGE)
    for proxy in arena.proxies:
        proxy.heal()


def _partition(arena: Arena) -> None:
    """Nothing comes through to the agents, and nobody is told."""
    for proxy in arena.proxies:
        proxy.blackhole()
    for _ in range(3):
        arena.publish()
        time.sleep(OUTAGE / 3)
    for proxy in arena.proxies:
        proxy.heal()


def _controller_restarted(arena: Arena) -> None:
    """In order or not; the last version may not have been announced yet."""
    arena.publish()
    arena.controller.stop(arena.random.choice([signal.SIGTERM, signal.SIGKILL]))
    time.sleep(OUTAGE)
    arena.start_controller()
    arena.publish()


def _agents_started(arena: Arena) -> None:
    """Agents begin to listen while POSTs run; nobody polls, so that what falls between would stay lost."""
    _start_agents(arena, FAR)


def _pollers_started(arena: Arena) -> None:
    """Agents are started while POSTs run."""
    _start_agents(arena, INTERVAL)


def _start_agents(arena: Arena, interval: int) -> None:
    for _ in range(-(-ROUNDS // len(AGENTS))):
        for agent in arena.agents.values():
            agent.stop(arena.random.choice([signal.SIGTERM, signal.SIGKILL]))
        arena.start_agents(wait=False)
        for _ in range(arena.random.randrange(1, 8)):
            arena.publish(interval)
            time.sleep(arena.random.uniform(0, 0.2))
        arena.settle()
    arena.publish()


def _subscribers_killed(arena: Arena) -> None:
    """By their own broker, while POSTs run; nobody polls, so that what was missed would stay lost."""
    assert arena.broker is not None
    for _ in range(3):
        arena.publish(FAR)
        arena.broker.kill_subscribers(arena.proxies[-1])
        arena.publish(FAR)
        arena.settle()
    arena.publish()


def _broker_restarted_empty(arena: Arena) -> None:
    """Killed with all that it knew."""
    assert arena.broker is not None
    arena.broker.server.stop()
    assert not arena.publish().published, "published, without a broker"
    time.sleep(OUTAGE)
    arena.settle()
    arena.broker.server.start()
    _published(arena)


def _broker_hung(arena: Arena) -> None:
    """Its port is open, and nothing moves; an administrator does not notice."""
    assert arena.broker is not None
    arena.broker.server.hang()
    try:
        for _ in range(20):
            answer = arena.publish()
            assert not answer.published, "published, by a broker that hangs"
            assert answer.took < ANSWERED, f"the answer to a POST took {answer.took:.1f} s"
        time.sleep(OUTAGE)
        arena.settle()
    finally:
        arena.broker.server.resume()
    _published(arena)


def _forged_and_replayed(arena: Arena) -> None:
    """What was not signed, what was not signed by the controller, and what it signed before."""
    assert arena.broker is not None
    overheard = []
    for _ in range(5):
        _published(arena)
        overheard.append(arena.broker.latest())
    messages = (forgeries(overheard[-1], arena.random) + overheard[:-1]) * 5
    arena.random.shuffle(messages)
    arena.broker.inject(messages)
    # All of them were heard when this one is.
    arena.publish()
    arena.settle()
    # Whoever comes back finds one of them as the newest that the broker knows.
    arena.broker.inject(messages)
    arena.proxies[-1].drop()
    arena.settle()
    arena.publish()


def _published(arena: Arena) -> None:
    """Wait until the broker has what is published."""
    arena.until(lambda: arena.publish().published, "told", RETURN)
    arena.settle(BOUND)
