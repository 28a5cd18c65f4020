"""
Tests of L{confd.controller.streams.event_feed}, L{confd.controller.streams.namespace_feed} and
L{confd.controller.api.events}, over HTTP.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.sse import Parser
from confd.controller.streams.event_feed import MAX_SUBSCRIBERS
from confd.controller.streams.namespace_feed import (
    AGENTS,
    CONFIG,
    CONVERGENCE,
    MAX_AGENTS_PER_EVENT,
    MAX_LAGGARDS_PER_EVENT,
    PERIOD_SECONDS,
    Coalescer,
)
from confd.web.api.streaming import HEARTBEAT_SECONDS, STALLED_MAX_SECONDS
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Conversation

EVENTS, CONFIG_PATH = "/api/v1/events", "/api/v1/config"


class EventsTestCase(SynchronousTestCase):
    """A controller, and people who watch it."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()
        self.settle()

    def settle(self) -> None:
        """Long enough for all that is due to be sent."""
        self.harness.clock.advance(1)

    def watch(self, query: str = "") -> Conversation:
        """Somebody who has just come."""
        caller = self.harness.caller()
        caller.ask("GET", EVENTS + query, auth=ADMIN)
        return caller

    def publish(self, number: int = 1, namespace: str = "default") -> str:
        """One more version; returns its tag."""
        path = f"{CONFIG_PATH}?namespace={namespace}&comment=no.{number}"
        reply = self.harness.caller().post(path, json={"url": f"http://{number}/"}, auth=ADMIN)
        self.assertEqual(reply.status, 200)
        return self.harness.tag(namespace)

    def events(self, caller: Conversation, kind: str | None = None) -> list[tuple[str, Any]]:
        """What somebody got so far, by name."""
        (reply,) = caller.replies()
        self.assertEqual(reply.status, 200, reply)
        found = [(event.name, json.loads(event.data)) for event in Parser(1 << 24).feed(reply.body)]
        return [event for event in found if kind in (None, event[0])]

    def sent(self, caller: Conversation, kind: str) -> list[Any]:
        """The contents of one kind of events."""
        return [value for _, value in self.events(caller, kind)]


class EventsTests(EventsTestCase):
    """GET C{/api/v1/events}."""

    def test_beginning(self) -> None:
        """The current configuration, who made it, and how far it has come."""
        self.harness.join()
        caller = self.watch()
        (first, config), (second, convergence) = self.events(caller)
        self.assertEqual((first, second), (CONFIG, CONVERGENCE))
        current = self.harness.snapshot.require("default").configuration
        self.assertEqual(
            {name: config[name] for name in ("namespace", "version", "epoch", "tag", "checksum")},
            {
                "namespace": "default",
                "version": 1,
                "epoch": 1,
                "tag": self.harness.tag(),
                "checksum": current.document.checksum,
            },
        )
        self.assertLessEqual({"author", "comment", "created_at"}, set(config))
        asked = self.harness.caller().get("/api/v1/config/convergence", auth=ADMIN).json
        self.assertEqual(convergence, asked)
        self.assertEqual((convergence["targeted"], convergence["pending"]), (1, 1))

    def test_answer(self) -> None:
        (reply,) = self.watch().replies()
        self.assertEqual(reply.headers["content-type"], "text/event-stream")
        self.assertEqual(reply.headers["cache-control"], "no-store, no-transform")
        self.assertEqual(reply.headers["x-accel-buffering"], "no")
        self.assertFalse(reply.whole)

    def test_publish(self) -> None:
        """The new version, and that nobody has it yet, in the next turn of the reactor."""
        caller = self.watch()
        self.settle()
        tag = self.publish(7)
        self.harness.clock.advance(0)
        config, convergence = self.sent(caller, CONFIG)[-1], self.sent(caller, CONVERGENCE)[-1]
        self.assertEqual((config["tag"], config["comment"], config["author"]), (tag, "no.7", "admin"))
        self.assertEqual((convergence["tag"], convergence["applied"]), (tag, 0))

    def test_report(self) -> None:
        """An agent that applies it appears as in the list of agents, and so is the convergence."""
        agent_id = self.harness.join(hostname="box")
        caller = self.watch()
        self.settle()
        self.harness.report(agent_id, self.publish())
        self.settle()
        self.assertEqual(self.sent(caller, CONVERGENCE)[-1]["applied"], 1)
        last = self.sent(caller, AGENTS)[-1]
        self.assertEqual(last["agents"], self.harness.caller().get("/api/v1/agents", auth=ADMIN).json)
        self.assertEqual((last["agents"][0]["state"], last["forgotten"], last["more"]), ("applied", [], False))

    def test_agents_come_and_go(self) -> None:
        """Those that are forgotten, or move to another namespace, are named."""
        self.harness.caller().post("/api/v1/namespaces", json={"name": "b", "config": {"url": "http://b/"}}, auth=ADMIN)
        caller = self.watch()
        one, two = self.harness.join(), self.harness.join()
        self.settle()
        came = {agent["id"] for sent in self.sent(caller, AGENTS) for agent in sent["agents"]}
        self.assertEqual(came, {one, two})
        self.assertEqual(self.harness.caller().delete(f"/api/v1/agents/{one}", auth=ADMIN).status, 200)
        self.harness.join(agent_id=two, namespace="b")
        self.settle()
        forgotten = [agent_id for sent in self.sent(caller, AGENTS) for agent_id in sent["forgotten"]]
        self.assertEqual(forgotten, [one, two])

    def test_silence(self) -> None:
        """An agent that falls silent is news; one that polls is none."""
        agent_id = self.harness.join()
        self.settle()
        caller = self.watch()
        self.harness.caller().get(CONFIG_PATH, auth=AGENT, headers={"X-Agent-ID": agent_id})
        self.settle()
        self.assertEqual(self.sent(caller, AGENTS), [])
        self.harness.clock.pump([1] * 100)
        self.assertEqual([agent["state"] for agent in self.sent(caller, AGENTS)[-1]["agents"]], ["silent"])

    def test_namespaces_are_apart(self) -> None:
        self.harness.caller().post("/api/v1/namespaces", json={"name": "b", "config": {"url": "http://b/"}}, auth=ADMIN)
        ours, theirs = self.watch(), self.watch("?namespace=b")
        self.settle()
        self.publish()
        self.harness.join(namespace="b")
        self.settle()
        self.assertEqual([len(self.sent(caller, CONFIG)) for caller in (ours, theirs)], [2, 1])
        self.assertEqual([len(self.sent(caller, AGENTS)) for caller in (ours, theirs)], [0, 1])

    def test_a_namespace_that_is_retired(self) -> None:
        self.harness.caller().post("/api/v1/namespaces", json={"name": "b", "config": {"url": "http://b/"}}, auth=ADMIN)
        ours, theirs = self.watch(), self.watch("?namespace=b")
        self.assertEqual(self.harness.caller().delete("/api/v1/namespaces/b", auth=ADMIN).status, 200)
        self.assertEqual([caller.replies()[0].whole for caller in (ours, theirs)], [False, True])
        self.assertEqual(self.harness.caller().get(f"{EVENTS}?namespace=b", auth=ADMIN).code, "unknown_namespace")

    def test_a_namespace_that_is_made_while_we_run(self) -> None:
        """The current configuration there was published before anybody subscribed; the store knows it."""
        self.harness.caller().post("/api/v1/namespaces", json={"name": "b", "config": {"url": "http://b/"}}, auth=ADMIN)
        caller = self.watch("?namespace=b")
        self.assertEqual(self.sent(caller, CONFIG)[0]["namespace"], "b")

    def test_who_may_watch(self) -> None:
        for auth, status in ((None, 401), (("admin", "wrong"), 401), (AGENT, 403)):
            self.assertEqual(self.harness.caller().get(EVENTS, auth=auth).status, status)
        self.assertEqual(self.harness.caller().get(f"{EVENTS}?namespace=nowhere", auth=ADMIN).code, "unknown_namespace")
        self.assertEqual(len(self.harness.event_feed), 0)

    def test_head(self) -> None:
        """It gets the headers, and its connection is free again."""
        caller = self.harness.caller()
        reply = caller.request("HEAD", EVENTS, auth=ADMIN)
        self.assertEqual((reply.status, reply.headers["content-type"]), (200, "text/event-stream"))
        self.assertEqual(caller.get("/health").status, 200)
        self.assertEqual(len(self.harness.event_feed), 0)

    def test_heartbeats(self) -> None:
        caller = self.watch()
        self.harness.clock.pump([1] * int(2 * HEARTBEAT_SECONDS))
        self.assertEqual(len(self.events(caller, "heartbeat")), 2)


class BoundTests(EventsTestCase):
    """Subscribers cost little, whatever happens."""

    def test_few_events(self) -> None:
        """A flood of changes is sent a few times a second, and so is its end."""
        agents = [self.harness.join() for _ in range(5)]
        self.settle()
        caller = self.watch()
        self.settle()
        kinds = (CONFIG, AGENTS, CONVERGENCE)
        before = {kind: len(self.sent(caller, kind)) for kind in kinds}
        for number in range(100):
            self.publish(number)
            self.harness.report(agents[number % 5], self.harness.tag())
        seconds = self.harness.clock.seconds()
        self.settle()
        for kind in kinds:
            with self.subTest(kind=kind):
                period = PERIOD_SECONDS[kind]
                more = len(self.sent(caller, kind)) - before[kind]
                self.assertLessEqual(more, (self.harness.clock.seconds() - seconds + 2) / period + 2)
                self.assertGreater(more, 1)
        self.assertEqual(self.sent(caller, CONFIG)[-1]["tag"], self.harness.tag())
        self.assertEqual(self.sent(caller, CONVERGENCE)[-1]["applied"], 1)

    def test_many_agents(self) -> None:
        """Some are described; that there are more is said."""
        caller = self.watch()
        for _ in range(MAX_AGENTS_PER_EVENT + 50):
            self.harness.join()
        self.settle()
        first, sent = self.sent(caller, AGENTS)
        self.assertEqual((len(first["agents"]), first["more"]), (1, False))
        self.assertEqual((len(sent["agents"]), sent["more"]), (MAX_AGENTS_PER_EVENT, True))
        self.assertEqual(len(self.sent(caller, CONVERGENCE)[-1]["laggards"]), MAX_LAGGARDS_PER_EVENT)

    def test_a_slow_watcher_gets_the_newest_only(self) -> None:
        """Nothing is queued; of agents it hears that there was something, and asks again."""
        slow, quick = self.watch(), self.watch()
        self.settle()
        slow.wire.stall()
        self.publish(0)
        self.settle()
        held = len(slow.wire.unsent)
        for number in range(1, 9):
            self.publish(number)
            self.harness.join()
            self.settle()
        self.assertEqual(len(slow.wire.unsent), held)
        slow.wire.flow()
        self.assertEqual(self.sent(slow, CONFIG)[-1], self.sent(quick, CONFIG)[-1])
        self.assertEqual(self.sent(slow, CONVERGENCE)[-1], self.sent(quick, CONVERGENCE)[-1])
        self.assertEqual(self.sent(slow, AGENTS), [{"agents": [], "forgotten": [], "more": True}])
        self.assertLess(len(self.events(slow)), len(self.events(quick)))

    def test_a_watcher_that_takes_nothing_is_cut(self) -> None:
        caller = self.watch()
        caller.wire.stall()
        self.publish()
        self.settle()
        self.harness.clock.advance(STALLED_MAX_SECONDS)
        self.harness.clock.advance(0)
        self.assertTrue(caller.wire.aborted and caller.closed)
        self.assertEqual(len(self.harness.event_feed), 0)

    def test_so_many_and_no_more(self) -> None:
        """One more is asked to come back; when one goes, there is room again."""
        callers = [self.watch() for _ in range(MAX_SUBSCRIBERS)]
        reply = self.harness.caller().get(EVENTS, auth=ADMIN)
        self.assertEqual((reply.status, reply.code), (429, "too_many_watchers"))
        self.assertIn("retry-after", reply.headers)
        callers[0].hang_up()
        self.assertEqual(self.watch().replies()[0].status, 200)

    def test_hang_up(self) -> None:
        """Nothing is left of those who went, and nothing is made for nobody."""
        timers = len(self.harness.clock.getDelayedCalls())
        for _ in range(3):
            self.watch().hang_up()
        self.harness.registry.changes.notify("default", "nobody")
        self.harness.convergence.changes.notify("default")
        self.assertEqual(len(self.harness.event_feed), 0)
        self.settle()
        self.assertEqual(len(self.harness.clock.getDelayedCalls()), timers)

    def test_stop(self) -> None:
        """All end in order, and nobody joins any more."""
        callers = [self.watch() for _ in range(3)]
        self.publish()
        self.assertIsNone(self.harness.event_feed.stopService())
        self.assertEqual([caller.replies()[0].whole for caller in callers], [True] * 3)
        self.assertEqual(self.harness.caller().get(EVENTS, auth=ADMIN).code, "stopping")

    def test_starting(self) -> None:
        harness = ControllerHarness(started=False)
        harness.event_feed.startService()
        self.assertEqual(harness.caller().get(EVENTS, auth=ADMIN).code, "starting")


class ThrottleTests(SynchronousTestCase):
    """L{Coalescer}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.done: list[float] = []
        self.takes = 0.0
        self.throttle = Coalescer(self.clock, 1.0, self.act)

    def act(self) -> None:
        self.done.append(self.clock.seconds())
        self.clock.rightNow += self.takes

    def test_soon_then_seldom(self) -> None:
        for _ in range(50):
            self.throttle.call()
            self.clock.advance(0.1)
        self.assertEqual([round(each) for each in self.done], [0, 1, 2, 3, 4])

    def test_a_tenth_of_the_time(self) -> None:
        """What takes long is done less often."""
        self.takes = 0.5
        for _ in range(200):
            self.throttle.call()
            self.clock.advance(0.1)
        self.assertTrue(all(later - sooner >= 5 for sooner, later in zip(self.done, self.done[1:], strict=False)))

    def test_stop(self) -> None:
        self.throttle.call()
        self.throttle.stop()
        self.throttle.stop()
        self.clock.advance(9)
        self.assertEqual((self.done, self.clock.getDelayedCalls()), ([], []))
