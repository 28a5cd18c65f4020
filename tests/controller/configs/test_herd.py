"""Tests of L{confd.controller.configs.herd}, and of a controller with a budget."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.retry_after import MAX_SECONDS
from confd.controller.configs.herd import HerdBudget, Pacer
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Conversation

CONFIG, STREAM, CLUSTER = "/api/v1/config", "/api/v1/stream", "/api/v1/cluster"


class PacerTests(SynchronousTestCase):
    """L{Pacer}."""

    @given(st.integers(1, 1000), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 20)), max_size=20))
    def test_rate(self, rate: int, steps: list[tuple[int, int]]) -> None:
        """A caller that waits as it is told never exceeds the rate by more than its last amount."""
        clock = Clock()
        pacer, booked = Pacer(clock, rate), 0
        for amount, pause in steps:
            clock.advance(max(pause, pacer.wait()))
            self.assertLessEqual(booked, rate * clock.seconds() + 1e-6)
            booked += amount
            pacer.book(amount)

    def test_unlimited(self) -> None:
        pacer = Pacer(Clock())
        self.assertEqual((pacer.book(10**12), pacer.wait()), (0.0, 0.0))
        self.assertGreater(pacer.slice, 10**12)


class SpreadTests(SynchronousTestCase):
    """L{HerdBudget.spread_ms}."""

    def test_spread(self) -> None:
        """The tighter limit decides, live controllers share it, and without a limit it is a second."""
        for requests, size_limit, members, size, controllers, expected in (
            (0, 0, 10_000, 10**6, 1, 1000),
            (500, 0, 10_000, 10**6, 1, 20_000),
            (0, 10**6, 100, 50_000, 1, 5000),
            (500, 10**6, 100, 50_000, 1, 5000),
            (500, 10**6, 100, 50_000, 5, 1000),
            (500, 10**6, 100, 10, 1, 200),
            (1000, 0, 1, 10, 1, 1),
            (7, 0, 0, 10, 1, 0),
        ):
            budget = HerdBudget(Clock(), requests, size_limit)
            self.assertEqual(budget.spread_ms(members, size, controllers), expected)


class StartTests(SynchronousTestCase):
    """Requests while the controller starts."""

    def waits(self, count: int, agent: bool = True, **settings: str) -> list[str]:
        """Return C{Retry-After} of each refusal."""
        caller = ControllerHarness(started=False, **settings).caller()
        headers = [{"X-Agent-ID": f"a{number}"} if agent else {} for number in range(count)]
        replies = [caller.get(CONFIG, auth=AGENT, headers=each) for each in headers]
        self.assertEqual({reply.code for reply in replies}, {"starting"})
        return [reply.headers["retry-after"] for reply in replies]

    def test_spread(self) -> None:
        """No second gets more agents than HERD_REQUESTS; no agent is sent away longer than it would believe."""
        seconds = Counter(self.waits(50, HERD_REQUESTS="20"))
        self.assertEqual(seconds, {"1": 20, "2": 20, "3": 10})
        self.assertEqual(self.waits(302, HERD_REQUESTS="1")[-1], f"{MAX_SECONDS:.0f}")

    def test_others(self) -> None:
        """People and programs without an id, and controllers without a budget, get a second as ever."""
        self.assertEqual(set(self.waits(50, agent=False, HERD_REQUESTS="20")), {"1"})
        self.assertEqual(set(self.waits(50)), {"1"})
        self.assertEqual(set(self.waits(50, HERD_BYTES="20")), {"1"})


class StreamTests(SynchronousTestCase):
    """Streams with HERD_BYTES."""

    def begin(self, **settings: str) -> tuple[ControllerHarness, list[Conversation]]:
        """Return a controller and its readers, which have all that is published."""
        harness = ControllerHarness(**settings)
        callers = [harness.caller() for _ in range(20)]
        for caller in callers:
            caller.ask("GET", STREAM, auth=AGENT, headers={"Last-Event-ID": harness.tag()})
            self.assertEqual(caller.tags(), [])
        return harness, callers

    def publish(self, harness: ControllerHarness, size: int = 1000) -> None:
        """Publish a document of some bytes."""
        reply = harness.caller().post(CONFIG, json={"url": "http://x/" + "x" * size}, auth=ADMIN)
        self.assertEqual(reply.status, 200)

    def reached(self, callers: list[Conversation], tag: str) -> int:
        """Return how many readers have a version."""
        return sum(tag in [event.id for event in caller.events()] for caller in callers)

    def test_paced(self) -> None:
        """A change takes the time that its bytes need; all readers get the newest, and heartbeats invite no one."""
        harness, callers = self.begin(HERD_BYTES="1000")
        self.publish(harness)
        tag, reached, seconds = harness.tag(), 0, 0
        while reached < len(callers):
            self.assertLess(seconds, 60)
            harness.clock.advance(1)
            seconds += 1
            before, reached = reached, self.reached(callers, tag)
            self.assertLessEqual(reached - before, 2, "an event is longer than its document of 1000 bytes")
            for caller in callers:
                names = [event.name for event in caller.events() if tag in (event.id, event.data.decode())]
                self.assertIn(names[:1], ([], ["config"]), "no heartbeat names a version before its turn")
        self.assertGreater(seconds, len(callers))
        harness.clock.advance(10)
        self.assertEqual({caller.events()[-1].data.decode() for caller in callers}, {tag})

    def test_newer_change(self) -> None:
        """Readers that still wait get the newest change only."""
        harness, callers = self.begin(HERD_BYTES="1000")
        for _ in range(5):
            self.publish(harness)
        for _ in range(120):
            harness.clock.advance(1)
        tags = [caller.tags() for caller in callers]
        self.assertEqual({each[-1] for each in tags}, {harness.tag()})
        self.assertLess(sum(map(len, tags)), 2 * len(callers) + 5)

    def test_unlimited(self) -> None:
        """Without a budget each reader has the change before the publish is answered."""
        harness, callers = self.begin(HERD_REQUESTS="1")
        self.publish(harness)
        self.assertEqual(self.reached(callers, harness.tag()), len(callers))


class ClusterTests(SynchronousTestCase):
    """GET C{/api/v1/cluster}."""

    def test_limits(self) -> None:
        """The limits are shown if one is set."""
        shown = [
            ControllerHarness(**settings).caller().get(CLUSTER, auth=ADMIN).json.get("herd")
            for settings in ({}, {"HERD_REQUESTS": "5"}, {"HERD_BYTES": "7"})
        ]
        self.assertEqual(shown, [None, {"requests": 5, "bytes": 0}, {"requests": 0, "bytes": 7}])
