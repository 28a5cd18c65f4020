"""Tests of L{confd.web.health}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.web.health import Health, Readiness
from tests.conversation import Conversation, serve
from tests.web.sample_api import AUTH


class Part:
    """A part that has a problem or not."""

    def __init__(self) -> None:
        self.said: str | None = None

    def problem(self) -> str | None:
        return self.said


class OpsTests(SynchronousTestCase):
    """L{Health} and L{Readiness} of a role with two parts."""

    def setUp(self) -> None:
        self.store, self.broker = Part(), Part()
        clock = Clock()
        parts = {"store": self.store, "broker": self.broker}
        self.caller = Conversation(serve(clock, AUTH, Health(), Readiness(parts)), clock)

    def test_health_is_200_with_any_query_and_any_problem(self) -> None:
        self.store.said = "The disk is full."
        for path in ("/health", "/health?x=1", "/health?x=1&x=2"):
            self.assertEqual(self.caller.get(path).json, {"status": "ok"})

    def test_health_is_503_while_the_process_starts(self) -> None:
        clock = Clock()
        caller = Conversation(serve(clock, AUTH, Health(self.store)), clock)
        self.store.said = "The controller is starting."
        reply = caller.get("/health")
        self.assertEqual((reply.status, reply.code), (503, "starting"))
        self.store.said = None
        self.assertEqual(caller.get("/health").json, {"status": "ok"})

    def test_ready_is_200_while_no_part_has_a_problem(self) -> None:
        self.assertEqual(self.caller.get("/ready?probe").json, {"status": "ready"})

    def test_ready_is_503_with_the_problem_of_each_part(self) -> None:
        self.store.said, self.broker.said = "The disk is full.", "The broker is down."
        reply = self.caller.get("/ready")
        self.assertEqual((reply.status, reply.code, reply.headers["retry-after"]), (503, "not_ready", "1"))
        self.assertEqual(reply.json["error"], "The disk is full. The broker is down.")
        self.assertEqual(
            reply.json["details"],
            [
                {"part": "store", "message": "The disk is full."},
                {"part": "broker", "message": "The broker is down."},
            ],
        )
        self.store.said = self.broker.said = None
        self.assertEqual(self.caller.get("/ready").status, 200)
