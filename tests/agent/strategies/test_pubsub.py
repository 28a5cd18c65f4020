"""Tests of L{confd.agent.strategies.pubsub}."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.strategies.pubsub import COMPARE_SPREAD_SECONDS, PubSub
from confd.errors import Unavailable
from confd.interfaces import POLL
from confd.runtime.reload import CHECK_INTERVAL_SECONDS, ReloadedFiles
from confd.testing import MemorySink, make_istrategy_tests
from confd.testing.brokers import MemoryBroker, MemoryServer

HINT = ("hint",)


def away(_: SynchronousTestCase) -> tuple[PubSub, Clock]:
    """Return a strategy whose broker is down."""
    server = MemoryServer()
    server.fail("It is down.")
    clock = Clock()
    return PubSub(clock, server.broker(), "default", Random(1)), clock


class PubSubContractTests(make_istrategy_tests(away)):  # type: ignore[misc]
    """The contract of strategies."""


class SlowBroker(MemoryBroker):
    """
    Gives and ends when the test says so.

    @ivar asked: what it owes of its newest announcement.
    @ivar ended: fires when it has stopped; C{None} for at once.
    """

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server)
        self.asked: list[Deferred[bytes | None]] = []
        self.ended: Deferred[None] | None = None

    def latest(self, namespace: str) -> Deferred[bytes | None]:
        """Answer when the test fires the Deferred."""
        self.asked.append(Deferred())
        return self.asked[-1]

    def stopService(self) -> Any:
        """Connect once more while stopping, as a real broker may."""
        self.listeners.connected()
        super().stopService()
        return self.ended


class PubSubTests(SynchronousTestCase):
    """L{PubSub}."""

    def setUp(self) -> None:
        self.clock, self.server, self.sink = Clock(), MemoryServer(), MemorySink()
        self.broker: Any = self.server.broker()

    def start(self, broker: Any = None, seed: int = 1) -> PubSub:
        """Return a started strategy."""
        strategy = PubSub(self.clock, broker or self.broker, "default", Random(seed))
        strategy.start(self.sink)
        return strategy

    def test_announcements_reach_the_sink(self) -> None:
        self.start()
        self.clock.advance(COMPARE_SPREAD_SECONDS)
        self.sink.heard.clear()
        self.server.publish("default", b"one")
        self.server.publish("other", b"not mine")
        self.server.publish("default", b"two")
        self.assertEqual(self.sink.heard, [("announced", b"one"), ("announced", b"two")])

    def test_it_subscribes_then_reads_the_latest_then_polls(self) -> None:
        """Announcements before the connection and during the reading of the latest are not missed."""
        broker = SlowBroker(self.server)
        self.start(broker)
        self.server.publish("default", b"meanwhile")
        broker.asked[0].callback(b"before")
        self.assertEqual(self.sink.heard, [("announced", b"meanwhile"), ("announced", b"before")])
        self.clock.advance(COMPARE_SPREAD_SECONDS)
        self.assertEqual(self.sink.heard[2:], [HINT])

    def test_a_broker_without_an_announcement_leads_to_a_poll(self) -> None:
        self.start()
        self.clock.advance(COMPARE_SPREAD_SECONDS)
        self.assertEqual(self.sink.heard, [HINT])

    def test_every_connection_reads_the_latest_and_polls(self) -> None:
        self.server.publish("default", b"kept")
        strategy = self.start()
        self.clock.advance(COMPARE_SPREAD_SECONDS)
        for _ in range(3):
            self.sink.heard.clear()
            self.server.come_back(empty=False)
            self.clock.advance(COMPARE_SPREAD_SECONDS)
            self.assertEqual(self.sink.heard, [("announced", b"kept"), HINT])
        self.assertEqual(strategy.connections, 4)

    def test_a_flapping_connection_polls_once(self) -> None:
        self.start()
        for _ in range(10):
            self.server.come_back()
        self.clock.advance(COMPARE_SPREAD_SECONDS)
        self.assertEqual(self.sink.heard, [HINT])

    def test_a_fleet_spreads_its_polls(self) -> None:
        for seed in range(40):
            self.start(self.server.broker(), seed)
        for quarter in range(1, 5):
            self.clock.advance(COMPARE_SPREAD_SECONDS / 4)
            self.assertTrue(3 <= len(self.sink.heard) / quarter <= 20, (quarter, self.sink.heard))
        self.assertEqual(len(self.sink.heard), 40)

    def test_a_broker_that_fails_leads_to_a_poll(self) -> None:
        """The broker is down, or its client has a defect."""
        for error in (Unavailable("broker_unavailable", "It is down."), ValueError("a defect")):
            self.sink.heard.clear()
            broker = SlowBroker(self.server)
            self.start(broker)
            broker.asked[0].errback(error)
            self.clock.advance(COMPARE_SPREAD_SECONDS)
            self.assertEqual(self.sink.heard, [HINT])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_passwords_start_stop_and_reload_with_the_strategy(self) -> None:
        """A reload has an effect until the strategy stops."""
        reloads: list[str] = []
        path = Path(self.mktemp())
        path.write_text("x")
        reloaded_files = ReloadedFiles(self.clock, maybeDeferred, [str(path)], path.read_text, reloads.append)
        strategy = PubSub(self.clock, self.broker, "default", Random(1), [reloaded_files])
        strategy.start(self.sink)
        strategy.reload()
        self.clock.advance(0)
        self.assertEqual(reloads, ["x"])
        self.successResultOf(strategy.stop())
        strategy.reload()
        self.clock.advance(CHECK_INTERVAL_SECONDS)
        self.assertEqual(reloads, ["x"])

    def test_path_is_the_broker_while_it_is_connected(self) -> None:
        strategy = PubSub(self.clock, self.broker, "default", Random(1))
        self.assertEqual(strategy.path(), POLL)
        strategy.start(self.sink)
        self.assertEqual(strategy.path(), "MEMORY")
        self.server.fail("It is down.")
        self.assertEqual(strategy.path(), POLL)
        self.server.come_back()
        self.assertEqual(strategy.path(), "MEMORY")
        self.successResultOf(strategy.stop())
        self.assertEqual(strategy.path(), POLL)

    def test_stop_cancels_the_reading_of_the_latest(self) -> None:
        broker = SlowBroker(self.server)
        strategy = self.start(broker)
        self.successResultOf(strategy.stop())
        self.assertEqual((self.sink.heard, self.clock.getDelayedCalls()), ([], []))

    def test_a_connection_during_the_stop_has_no_effect(self) -> None:
        broker = SlowBroker(self.server)
        broker.ended = Deferred()
        stopped = self.start(broker).stop()
        broker.asked[-1].callback(None)
        broker.ended.callback(None)
        self.successResultOf(stopped)
        self.assertEqual((len(broker.asked), self.clock.getDelayedCalls()), (2, []))

    def test_stop_cancels_the_poll(self) -> None:
        strategy = self.start()
        self.successResultOf(strategy.stop())
        self.assertEqual((self.sink.heard, self.clock.getDelayedCalls()), ([], []))

    def test_stop_waits_for_the_broker(self) -> None:
        broker = SlowBroker(self.server)
        broker.ended = Deferred()
        strategy = self.start(broker)
        stopped = strategy.stop()
        self.assertNoResult(stopped)
        broker.ended.callback(None)
        self.successResultOf(stopped)
        self.clock.advance(60)
        self.server.publish("default", b"after")
        self.assertEqual(self.sink.heard, [])

    def test_a_broker_that_fails_to_stop_leaves_nothing(self) -> None:
        broker = SlowBroker(self.server)
        broker.ended = fail(ValueError("a defect"))
        self.failureResultOf(self.start(broker).stop(), ValueError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_starts_again_after_a_stop(self) -> None:
        strategy = self.start()
        self.successResultOf(strategy.stop())
        strategy.start(self.sink)
        self.clock.advance(COMPARE_SPREAD_SECONDS)
        self.server.publish("default", b"one")
        self.assertEqual(self.sink.heard, [HINT, ("announced", b"one")])
