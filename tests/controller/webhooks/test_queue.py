"""Tests of L{confd.controller.webhooks.queue}: order, retries, and what survives a restart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.controller.store.sqlite.store import SqliteStore
from confd.controller.webhooks.queue import RETRY_MAX_SECONDS, QueueSender, QueueSenders
from confd.controller.webhooks.request import WebhookReceiver
from confd.errors import BadGateway
from confd.interfaces.webhooks import HOLD_SECONDS, MAX_QUEUED, MAX_QUEUED_HOURS
from confd.runtime.metrics import Metrics
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from tests.controller.store.fixtures import ended, new_path, started
from tests.promlint import lint
from tests.runtime.test_metrics import samples
from tests.worker.harness import OK, ScriptedUpstream, answer, reactor, turn

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

SECRET = "a secret of the test"


class FakeReceiver:
    """
    A receiver that answers as the test says.

    @ivar got: the events that it took.
    @ivar attempts: requests so far.
    @ivar error: the error to answer with; C{None} takes the event.
    @ivar hung: the requests without an answer; C{None} answers at once.
    """

    who = "WEBHOOK_URLS: hooks.test (number 1)"

    def __init__(self, number: int = 1) -> None:
        self.number, self.got, self.attempts = number, list[str](), 0
        self.error: BadGateway | None = None
        self.hung: list[Deferred[int]] | None = None

    def send(self, body: bytes, secret: str) -> Deferred[int]:
        assert secret == SECRET
        self.attempts += 1
        if self.hung is not None:
            answer: Deferred[int] = Deferred()
            answer.addCallback(lambda status: self.got.append(body.decode()) or status)
            self.hung.append(answer)
            return answer
        if self.error is not None:
            return fail(self.error)
        self.got.append(body.decode())
        return succeed(200)


class Case:
    """
    A store, and deliveries of its queues.

    @ivar wall_offset: seconds between the clock and the wall clock.
    """

    def __init__(self, receivers: int = 1) -> None:
        self.clock = Clock()
        self.store = MemoryStore(a_draft(poll_interval=30))
        self.store.queue_changes(receivers, lambda change, attempt: [], self.now)
        self.receivers = [FakeReceiver(number) for number in range(1, receivers + 1)]
        self.queued = 0
        self.start()

    @property
    def receiver(self) -> FakeReceiver:
        """The first receiver."""
        return self.receivers[0]

    def now(self) -> datetime:
        """Return the wall-clock time."""
        return START + timedelta(seconds=self.clock.seconds())

    def delivery(self, receiver: Any, holder: str = "a") -> QueueSender:
        """Return a delivery that is not started."""
        return QueueSender(self.clock, self.now, self.store, receiver, holder, lambda: SECRET, Random(1))

    def start(self) -> None:
        """Start as a new process does."""
        self.deliveries = QueueSenders([self.delivery(each) for each in self.receivers], self.now)
        self.deliveries.startService()

    def queue(self, count: int = 1) -> None:
        """Queue events, and say so."""
        for _ in range(count):
            self.queued += 1
            self.store.queue_event(str(self.queued).encode(), self.now())
        self.deliveries.wake()

    def numbers(self, count: int) -> Sequence[str]:
        """Return the first events."""
        return [str(number) for number in range(1, count + 1)]


class DeliveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.case = Case()
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def logged(self) -> list[str]:
        """Return the lines of deliveries."""
        return [str(each["log_format"]).format(**each) for each in self.events if "who" in each or "part" in each]

    def test_in_order(self) -> None:
        self.case.queue(3)
        self.assertEqual(self.case.receiver.got, self.case.numbers(3))
        self.case.queue()
        self.assertEqual(self.case.receiver.got, self.case.numbers(4))

    def test_failed_event_is_sent_again_before_the_others(self) -> None:
        self.case.receiver.error = BadGateway("webhook_failed", "It answers 500.")
        self.case.queue(2)
        self.assertEqual(self.case.receiver.attempts, 1)
        self.case.receiver.error = None
        self.case.clock.advance(RETRY_MAX_SECONDS)
        self.assertEqual(self.case.receiver.got, self.case.numbers(2))

    def test_new_events_do_not_hurry_a_receiver_that_failed(self) -> None:
        self.case.receiver.error = BadGateway("webhook_failed", "It answers 500.")
        self.case.queue()
        self.case.queue(50)
        self.assertEqual(self.case.receiver.attempts, 1)

    def test_retry_after(self) -> None:
        self.case.receiver.error = BadGateway("webhook_failed", "It answers 429.")
        self.case.receiver.error.retry_after = 100
        self.case.queue()
        self.case.receiver.error = None
        self.case.clock.advance(99)
        self.assertEqual(self.case.receiver.attempts, 1)
        self.case.clock.advance(26)
        self.assertEqual(self.case.receiver.got, ["1"])

    def test_pauses_grow_to_the_limit(self) -> None:
        self.case.receiver.error = BadGateway("webhook_failed", "It answers 500.")
        self.case.queue()
        for _ in range(40):
            self.case.clock.advance(RETRY_MAX_SECONDS)
        before = self.case.receiver.attempts
        for _ in range(36):
            self.case.clock.advance(100)
        self.assertLess(self.case.receiver.attempts - before, 40)
        self.assertGreaterEqual(self.case.receiver.attempts - before, 12)

    def test_receiver_that_hangs_delays_no_other(self) -> None:
        case = Case(2)
        case.receivers[0].hung = []
        case.queue(3)
        self.assertEqual((case.receivers[0].got, case.receivers[1].got), ([], case.numbers(3)))

    def test_event_under_way_is_sent_again_after_a_restart(self) -> None:
        self.case.receiver.hung = []
        self.case.queue(2)
        stopped = self.case.deliveries.stopService()
        self.successResultOf(stopped)
        self.case.receiver.hung = None
        self.case.start()
        self.assertEqual(self.case.receiver.got, self.case.numbers(2))

    def test_old_events_are_dropped_and_the_reason_is_logged_once(self) -> None:
        self.case.receiver.error = BadGateway("webhook_failed", "It answers 500.")
        self.case.queue(2)
        for _ in range(MAX_QUEUED_HOURS * 12 + 2):
            self.case.clock.advance(RETRY_MAX_SECONDS)
        self.assertEqual(self.shown("confd_webhook_dropped_total"), 2)
        self.assertEqual(self.shown("confd_webhook_waiting"), 0)
        self.assertEqual(
            self.logged(),
            [
                "webhook 1: It answers 500.",
                "WEBHOOK_URLS: hooks.test (number 1): 2 events were dropped unsent; a queue holds 1000 events for 24"
                " hours",
            ],
        )

    def test_full_queue_drops_the_oldest(self) -> None:
        self.case.receiver.error = BadGateway("webhook_failed", "It answers 500.")
        self.case.queue(MAX_QUEUED + 5)
        self.case.receiver.error = None
        self.case.clock.advance(RETRY_MAX_SECONDS)
        self.assertEqual(self.case.receiver.got, self.case.numbers(MAX_QUEUED + 5)[5:])

    def shown(self, name: str, **labels: str) -> float:
        """Return a metric of the first receiver."""
        metrics = Metrics()
        self.case.deliveries.expose(metrics)
        exposition = metrics.exposition()
        self.assertEqual(lint(exposition), [])
        return samples(exposition)[name, tuple(sorted({"number": "1", **labels}.items()))]

    def test_metrics(self) -> None:
        self.case.queue()
        self.case.receiver.error = BadGateway("webhook_failed", "It answers 500.")
        self.case.queue(2)
        self.case.clock.advance(0)
        self.assertEqual(self.shown("confd_webhook_deliveries_total", result="delivered"), 1)
        self.assertEqual(self.shown("confd_webhook_deliveries_total", result="failed"), 1)
        self.assertEqual(self.shown("confd_webhook_waiting"), 2)
        age = self.shown("confd_webhook_age_seconds")
        self.case.store.broken = "The disk is full."
        self.case.clock.advance(30)
        self.assertEqual(self.shown("confd_webhook_age_seconds"), age + 30)

    def test_store_that_cannot_be_written_sends_the_event_again_at_worst(self) -> None:
        self.case.receiver.hung = []
        self.case.queue(2)
        self.case.store.broken = "The disk is full."
        self.case.receiver.hung.pop().callback(200)
        self.case.receiver.hung = None
        self.case.clock.advance(1)
        self.case.store.broken = None
        self.case.clock.advance(RETRY_MAX_SECONDS)
        self.assertEqual(self.case.receiver.got, ["1", "2"])

    def test_empty_queue_is_not_read(self) -> None:
        reads: list[object] = []
        advance = self.case.store.advance
        self.case.store.advance = lambda *arguments: reads.append(arguments) or advance(*arguments)  # type: ignore
        self.case.clock.pump([60] * 600)
        self.assertEqual(reads, [])

    def test_second_controller_takes_over(self) -> None:
        self.case.receiver.hung = []
        self.case.queue()
        other = FakeReceiver()
        second = self.case.delivery(other, "b")
        second.startService()
        self.assertEqual(other.attempts, 0)
        self.case.deliveries.stopService()
        self.case.clock.advance(HOLD_SECONDS)
        self.case.clock.advance(HOLD_SECONDS)
        self.assertEqual(other.got, ["1"])

    @given(st.lists(st.sampled_from(["event", "event", "answer", "fail", "kill", "wait", "full disk", "free disk"])))
    def test_each_event_is_delivered_at_least_once_and_in_order(self, steps: Sequence[str]) -> None:
        case = Case()
        hung: list[Deferred[int]] = []
        case.receiver.hung = hung
        for step in [*steps, "free disk"]:
            if step == "event" and case.store.broken is None:
                case.queue()
            elif step in ("answer", "fail") and hung and not hung[-1].called:
                error = BadGateway("webhook_failed", "It answers 500.")
                hung[-1].errback(error) if step == "fail" else hung[-1].callback(200)
            elif step == "kill":
                # As kill -9: nothing is written.
                broken, case.store.broken = case.store.broken, "killed"
                case.deliveries.stopService()
                case.store.broken = broken
                case.start()
            elif step == "wait":
                case.clock.advance(RETRY_MAX_SECONDS)
            elif step == "full disk":
                case.store.broken = "The disk is full."
            elif step == "free disk":
                case.store.broken = None
        for each in hung:
            if not each.called:
                each.callback(200)
        case.receiver.hung = None
        for _ in range(3):
            case.clock.advance(RETRY_MAX_SECONDS * 1.25)
        self.assertEqual(list(dict.fromkeys(case.receiver.got)), case.numbers(case.queued))


class RealStoreTests(TestCase):
    """A database, and a receiver on a real port."""

    timeout = 30

    async def test_event_of_a_publish_survives_a_restart(self) -> None:
        """The first process is killed between the commit and the request."""
        path, event = new_path(self), json.dumps({"id": "1", "event": "published"}).encode()
        killed = started(self, path)
        killed.queue_changes(1, lambda change, attempt: [event], lambda: datetime.now(UTC))
        await killed.publish(a_draft(2))
        await ended(killed)
        upstream = ScriptedUpstream(answer(OK + b"Content-Length: 0\r\n\r\n"))
        port = reactor.listenTCP(0, upstream, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(upstream.close)
        store: SqliteStore = started(self, path)
        receiver = WebhookReceiver(reactor, 1, f"http://127.0.0.1:{port.getHost().port}/")
        delivery = QueueSender(reactor, lambda: datetime.now(UTC), store, receiver, "b", lambda: SECRET, Random(1))
        delivery.startService()
        while delivery.state.waiting or not upstream.asked:
            await turn()
        self.assertEqual(len(upstream.asked), 1)
        stopping = delivery.stopService()
        if stopping is not None:
            await stopping
