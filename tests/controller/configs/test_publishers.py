"""Tests of L{confd.controller.configs.publishers}."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from confd.changes import RETIRED, Change
from confd.codec import strict_json
from confd.codec.announcement import read
from confd.codec.signing import SigningKey
from confd.controller.configs.publishers import (
    AGAIN_AFTER,
    DELIVERY_WAIT_SECONDS,
    RETRY_MAX_SECONDS,
    STOP_FLUSH_SECONDS,
    BrokerPublisher,
    Publishers,
)
from confd.controller.configs.snapshot import EncodedConfig, Snapshot
from confd.errors import Unavailable
from confd.interfaces import IBroker
from confd.runtime.offload import Offload
from confd.runtime.timing import Backoff
from confd.testing.brokers import MemoryBroker
from confd.testing.examples import a_draft
from tests.agent.fakes import configuration
from tests.controller.harness import ControllerHarness

KEY = SigningKey.generate()


def encoded(version: int, **changes: Any) -> EncodedConfig:
    """A version, as the snapshot holds it."""
    return EncodedConfig.of(configuration(version, **changes), [KEY])


@implementer(IBroker)
class SlowBroker(MemoryBroker):
    """
    Gets its announcements when the test says so.

    @ivar asked: the namespace and version of each attempt.
    @ivar owed: answers to them, those that are not given yet.
    """

    def __init__(self, name: str = "SLOW") -> None:
        super().__init__()
        self.name = name
        self.asked: list[tuple[str, int]] = []
        self.owed: list[Deferred[None]] = []

    def announce(self, namespace: str, announcement: bytes) -> Deferred[None]:
        """Later."""
        self.asked.append((namespace, read(announcement).configuration.version))
        self.owed.append(Deferred())
        return self.owed[-1]

    def take(self) -> None:
        """It has the one under way."""
        self.owed.pop(0).callback(None)

    def refuse(self, error: Exception | None = None) -> None:
        """It does not."""
        self.owed.pop(0).errback(error or Unavailable("broker_unavailable", "It refuses."))


class PublishersTests(SynchronousTestCase):
    """L{Publishers}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.broker = SlowBroker()
        self.publishers = self.start(self.broker)

    def start(self, *brokers: Any) -> Publishers:
        """One that has started."""
        publishers = Publishers(
            self.clock,
            Snapshot(tuple),
            [BrokerPublisher(self.clock, broker, Backoff(Random(1), RETRY_MAX_SECONDS)) for broker in brokers],
        )
        publishers.startService()
        return publishers

    def publish(self, version: int, **changes: Any) -> Deferred[bool]:
        """What follows a commit."""
        made = encoded(version, **changes)
        self.publishers.post(made)
        return self.publishers.published(made.configuration.namespace)

    def test_the_broker_of_these_tests(self) -> None:
        verifyObject(IBroker, self.broker)

    def test_a_large_document_is_signed_off_the_reactor(self) -> None:
        """A small one is not: a thread would take longer than the signature (promise G9)."""
        signed: list[str] = []

        def in_thread(function: Any, made: Any, name: str) -> Deferred[Any]:
            signed.append(name)
            return maybeDeferred(function, made, name)

        broker_publisher = BrokerPublisher(
            self.clock, self.broker, Backoff(Random(1), RETRY_MAX_SECONDS), Offload(in_thread)
        )
        broker_publisher.startService()
        broker_publisher.post(encoded(1))
        self.assertEqual((signed, len(self.broker.asked)), ([], 1))
        self.broker.take()
        broker_publisher.post(encoded(2, document=strict_json.document({"url": "http://x", "long": "x" * 40000})))
        self.assertEqual((signed, len(self.broker.asked)), (["announcement"], 2))

    def test_published(self) -> None:
        answer = self.publish(1)
        self.assertNoResult(answer)
        self.broker.take()
        self.assertTrue(self.successResultOf(answer))
        self.assertEqual(self.broker.asked, [("default", 1)])

    def test_without_brokers(self) -> None:
        """No subscriber is left."""
        self.publishers = self.start()
        self.assertTrue(self.successResultOf(self.publish(1)))

    def test_a_broker_that_hangs(self) -> None:
        """The publish is answered all the same, and soon."""
        answer = self.publish(1)
        self.clock.advance(DELIVERY_WAIT_SECONDS)
        self.assertFalse(self.successResultOf(answer))
        self.broker.take()
        self.assertTrue(self.successResultOf(self.publishers.published("default")))

    def test_counts(self) -> None:
        """What the broker took, and what it did not."""
        (broker_publisher,) = self.publishers
        self.publish(1)
        self.broker.refuse()
        self.assertEqual((broker_publisher.delivered, broker_publisher.failures), (0, 1))
        self.clock.advance(RETRY_MAX_SECONDS)
        self.broker.take()
        self.assertEqual((broker_publisher.delivered, broker_publisher.failures), (1, 1))

    def test_a_broker_that_is_known_to_be_down(self) -> None:
        """Nobody waits for it."""
        self.broker.server.fail("It is down.")
        self.assertFalse(self.successResultOf(self.publish(1)))
        self.broker.server.come_back()
        self.assertNoResult(self.publishers.published("default"))
        self.broker.take()
        self.broker.server.fail("It is down again, and has it all the same.")
        self.assertTrue(self.successResultOf(self.publishers.published("default")))

    def test_one_in_flight_and_the_newest_only_after_it(self) -> None:
        answers = [self.publish(version) for version in range(1, 31)]
        self.assertEqual(self.broker.asked, [("default", 1)])
        self.broker.take()
        self.clock.advance(0)
        self.assertEqual(self.broker.asked, [("default", 1), ("default", 30)])
        for answer in answers:
            self.assertNoResult(answer)
        self.broker.take()
        self.assertEqual([self.successResultOf(answer) for answer in answers], [True] * 30, "it has what superseded it")

    def test_in_order(self) -> None:
        for version in range(1, 6):
            answer = self.publish(version)
            self.clock.advance(0)
            self.broker.take()
            self.assertTrue(self.successResultOf(answer))
        self.assertEqual([version for _, version in self.broker.asked], [1, 2, 3, 4, 5])

    def test_it_tries_again(self) -> None:
        """With back-off, so that a broker that is back has it within 5 seconds."""
        self.publish(1)
        self.clock.advance(DELIVERY_WAIT_SECONDS)
        for attempt in range(1, 30):
            self.assertEqual(len(self.broker.asked), attempt)
            self.broker.refuse()
            self.clock.advance(RETRY_MAX_SECONDS)
        self.broker.take()
        self.assertTrue(self.successResultOf(self.publishers.published("default")))

    def test_a_broker_that_fails_in_a_way_nobody_thought_of(self) -> None:
        self.publish(1)
        self.broker.refuse(ValueError("a defect"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.clock.advance(RETRY_MAX_SECONDS)
        self.broker.take()
        self.assertTrue(self.successResultOf(self.publishers.published("default")))

    def test_a_newer_one_while_it_waits_to_try_again(self) -> None:
        self.publish(1)
        self.broker.refuse()
        self.publish(2)
        self.assertEqual(self.broker.asked, [("default", 1), ("default", 2)])

    def test_one_namespace_that_a_broker_never_takes(self) -> None:
        """The others are not kept waiting by it."""
        self.publish(1, namespace="poison")
        self.publish(2, namespace="good")
        for _ in range(8):
            namespace, _ = self.broker.asked[-1]
            if namespace == "poison":
                self.broker.refuse()
                self.clock.advance(RETRY_MAX_SECONDS)
            else:
                self.broker.take()
        self.assertIn(("good", 2), self.broker.asked)
        self.assertTrue(self.successResultOf(self.publishers.published("good")))
        self.assertFalse(self.successResultOf(self.after_receipt(self.publishers.published("poison"))))

    def after_receipt(self, answer: Deferred[bool]) -> Deferred[bool]:
        """Let the time pass that a publish waits."""
        self.clock.advance(DELIVERY_WAIT_SECONDS)
        return answer

    def test_brokers_are_apart(self) -> None:
        """One that hangs costs the other nothing; both must have it."""
        slow, quick = SlowBroker("HUNG"), MemoryBroker()
        quick.startService()
        self.publishers = self.start(slow, quick)
        for version in (1, 2, 3):
            answer = self.publish(version)
            self.assertNoResult(answer)
            self.clock.advance(DELIVERY_WAIT_SECONDS)
            self.assertFalse(self.successResultOf(answer))
            self.assertEqual(read(quick.server.kept["default"]).configuration.version, version)
        slow.take()
        self.clock.advance(0)
        slow.take()
        self.assertTrue(self.successResultOf(self.publishers.published("default")))
        self.assertEqual(slow.asked, [("default", 1), ("default", 3)])

    def test_nothing_piles_up_behind_a_hang(self) -> None:
        """Neither timers nor those who waited."""
        for version in range(1, 101):
            self.publish(version)
            self.clock.advance(DELIVERY_WAIT_SECONDS)
        (broker_publisher,) = list(self.publishers)
        self.assertEqual((broker_publisher.waiting(), broker_publisher._receipts), (1, {"default": []}))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_trouble_is_said_once(self) -> None:
        lines: list[LogEvent] = []
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        self.publish(1)
        for _ in range(10):
            self.broker.refuse()
            self.clock.advance(RETRY_MAX_SECONDS)
        self.assertEqual([line["reason"] for line in lines], ["It refuses."])
        self.broker.take()
        self.publish(2)
        self.broker.refuse()
        self.assertEqual(len(lines), 2)

    def test_stop(self) -> None:
        self.successResultOf(self.publishers.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.successResultOf(self.after_receipt(self.publish(1))))
        self.assertEqual(self.broker.asked, [])

    def test_stop_while_one_is_under_way(self) -> None:
        """It is waited for, and so is the newer one behind it."""
        self.publish(1)
        self.publish(2)
        self.clock.advance(DELIVERY_WAIT_SECONDS)
        stopped = self.publishers.stopService()
        self.assertNoResult(stopped)
        self.broker.take()
        self.assertNoResult(stopped)
        self.broker.take()
        self.successResultOf(stopped)
        self.assertEqual((self.broker.asked[-1], self.clock.getDelayedCalls()), (("default", 2), []))

    def test_stop_while_the_broker_hangs(self) -> None:
        self.publish(1)
        self.clock.advance(DELIVERY_WAIT_SECONDS)
        stopped = self.publishers.stopService()
        self.clock.advance(STOP_FLUSH_SECONDS)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_it_waits_to_try_again(self) -> None:
        self.publish(1)
        self.clock.advance(DELIVERY_WAIT_SECONDS)
        self.broker.refuse()
        self.successResultOf(self.publishers.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_restart_repeats_the_current_configuration(self) -> None:
        """A crash may have come between the commit and the telling."""
        harness = ControllerHarness(brokers=[self.broker])
        self.assertEqual(self.broker.asked, [], "nobody published what a new database begins with")
        self.successResultOf(harness.store.publish(a_draft()))
        after = SlowBroker()
        ControllerHarness(store=harness.store, brokers=[after])
        self.assertEqual(after.asked, [("default", 2)])

    def test_courier_is_a_service(self) -> None:
        self.assertTrue(all(isinstance(each, Service) and each.running for each in self.publishers))


class ReturnTests(SynchronousTestCase):
    """What a broker gets again after its return, as its other clients come back later than the controller."""

    def setUp(self) -> None:
        self.clock, self.broker = Clock(), SlowBroker()
        self.broker.startService()
        self.current = [encoded(5)]
        backoff = Backoff(Random(1), RETRY_MAX_SECONDS)
        self.broker_publisher = BrokerPublisher(self.clock, self.broker, backoff, current=lambda: iter(self.current))
        self.publishers = Publishers(self.clock, Snapshot(tuple), [self.broker_publisher])
        self.broker.watch(self.broker_publisher.broker_returned)
        self.publishers.startService()

    def published_at(self, seconds: float) -> list[tuple[str, int]]:
        """What it gets until this time after its return, if it takes all of it."""
        before = len(self.broker.asked)
        self.clock.advance(seconds - self.clock.seconds())
        while self.broker.owed:
            self.broker.take()
            self.clock.advance(0)
        return self.broker.asked[before:]

    def test_again_and_again(self) -> None:
        self.broker.server.come_back()
        self.assertEqual(self.published_at(1.9), [])
        for seconds in AGAIN_AFTER:
            self.assertEqual(self.published_at(seconds), [("default", 5)], seconds)
        self.assertEqual(self.published_at(3600), [])

    def test_what_is_current_then(self) -> None:
        self.broker.server.come_back()
        self.current = [encoded(7), encoded(2, namespace="blue")]
        self.assertEqual(self.published_at(AGAIN_AFTER[0]), [("default", 7), ("blue", 2)])

    def test_news_come_first(self) -> None:
        """A publish waits for the one repetition under way, and not for all of them."""
        self.current = [encoded(1, namespace=f"n{number}") for number in range(50)]
        self.broker.server.come_back()
        self.clock.advance(AGAIN_AFTER[0])
        self.publishers.post(encoded(6))
        answer = self.publishers.published("default")
        self.broker.take()
        self.broker.take()
        self.assertTrue(self.successResultOf(answer))
        self.assertEqual(self.broker.asked[:3], [("n0", 1), ("default", 6), ("n1", 1)])

    def test_lost_once_more(self) -> None:
        """What was planned is given up; the next return plans anew."""
        self.broker.server.come_back()
        self.assertEqual(self.published_at(AGAIN_AFTER[0]), [("default", 5)])
        self.broker.server.fail("It is down again.")
        self.assertEqual(self.published_at(9), [])
        self.broker.server.come_back()
        self.assertEqual(self.published_at(9 + 1.9), [])
        for seconds in AGAIN_AFTER:
            self.assertEqual(self.published_at(9 + seconds), [("default", 5)], seconds)
        self.assertEqual(self.published_at(3600), [])

    def test_lost_while_it_is_sent(self) -> None:
        self.current = [encoded(5), encoded(2, namespace="blue")]
        self.broker.server.come_back()
        self.clock.advance(AGAIN_AFTER[0])
        self.broker.refuse()
        self.assertEqual((self.broker.asked, self.broker_publisher.failures), ([("default", 5)], 1))

    def test_stop(self) -> None:
        for seconds in (0, AGAIN_AFTER[0]):
            self.broker.server.come_back()
            self.clock.advance(seconds)
            stopped = maybeDeferred(self.publishers.stopService)
            self.clock.advance(STOP_FLUSH_SECONDS)
            self.successResultOf(stopped)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.publishers.startService()

    def test_only_what_is_published(self) -> None:
        """What a new database begins with is nobody's publish; a namespace that was retired is no more."""
        harness = ControllerHarness()
        self.assertEqual(list(harness.snapshot.published()), [])
        self.successResultOf(Deferred.fromCoroutine(harness.configs.publish(a_draft())))
        (found,) = harness.snapshot.published()
        self.assertEqual(found.configuration.version, 2)
        published = harness.snapshot.published()
        harness.snapshot.apply(Change(2, RETIRED, "default", None))
        self.assertEqual(list(published), [])
