"""A controller that answers polls while it loads a large fleet."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed

from confd.controller.agents.lookups import MAX_WAITING
from confd.errors import Unavailable
from confd.testing import MemoryStore, a_draft
from confd.web.auth.basic import digest_of
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.controller.rollouts.case import RolloutTestCase
from tests.conversation import Reply


class SlowLoad:
    """
    A store that reads the rows of the fleet at once, and answers when a test lets it.

    @ivar waiting: reads that are done, and their answers.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.waiting: list[tuple[Deferred[Any], Deferred[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def load_agents(self, *arguments: Any) -> Deferred[Any]:
        return self._wait(self.store.load_agents(*arguments))

    def load_outcomes(self, *arguments: Any) -> Deferred[Any]:
        return self._wait(self.store.load_outcomes(*arguments))

    def answer(self) -> None:
        """Answer the oldest read."""
        read, answer = self.waiting.pop(0)
        read.chainDeferred(answer)

    def answer_all(self) -> None:
        """Answer all reads, and those that follow."""
        while self.waiting:
            self.answer()

    def _wait(self, read: Deferred[Any]) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.waiting.append((read, answer))
        return answer


class WhileLoadingTests(RolloutTestCase):
    """A controller that has read its configurations, and not its agents; another one uses the same store."""

    def setUp(self) -> None:
        super().setUp()
        joined = self.harness.caller().post("/api/v1/register", json={"agent_id": "own"}, auth=AGENT)
        self.own = "own", joined.json["token"]
        self.first = self.harness

    def restart_slowly(self) -> None:
        """Start another controller, whose reads of the fleet are not answered."""
        self.slow = SlowLoad(self.first.store)
        self.harness = ControllerHarness(self.slow, clock=self.first.clock)
        self.addCleanup(self.harness.stop)

    def ask(self, method: str, path: str, auth: tuple[str, str] = ADMIN, **rest: Any) -> Reply:
        """Send one request to the controller that is loading."""
        caller = self.harness.caller()
        reply = caller.request(method, path, auth=auth, **rest)
        caller.hang_up()
        return reply

    def test_polls_are_answered(self) -> None:
        self.restart_slowly()
        path = "/api/v1/config"
        named = self.ask("GET", path, AGENT, headers={"X-Agent-ID": self.ids[0]})
        unknown = self.ask("GET", path, AGENT, headers={"X-Agent-ID": "unknown"})
        replies = [self.ask("GET", path, AGENT), named, self.ask("GET", path, self.own), unknown]
        self.assertEqual([each.status for each in replies], [200] * 4)
        self.assertEqual([each.headers.get("x-agent-known") for each in replies], [None, None, None, "false"])
        self.assertEqual(self.ask("GET", "/ready/read").status, 200)

    def test_polls_count(self) -> None:
        """The memory shows a poll that came before the row of its agent."""
        self.restart_slowly()
        self.first.clock.advance(10)
        self.ask("GET", "/api/v1/config", self.own)
        at = self.harness.now()
        self.slow.answer_all()
        self.assertEqual(self.harness.registry.get("own").last_poll, at)
        self.harness.clock.advance(1)
        self.assertEqual(self.successResultOf(self.first.store.find("own")).last_poll, at)
        reply = self.ask("POST", "/api/v1/register", AGENT, json={"agent_id": "own"})
        self.assertEqual((reply.status, reply.code), (409, "agent_alive"))

    def test_everything_else_waits(self) -> None:
        self.restart_slowly()
        report = {"agent_id": self.ids[0], "version": self.first.tag(), "state": "applied"}
        asked = [
            ("GET", "/api/v1/agents", ADMIN, {}),
            ("GET", "/api/v1/config/convergence", ADMIN, {}),
            ("POST", "/api/v1/config", ADMIN, {"json": {"url": "https://example.com"}}),
            ("POST", "/api/v1/register", AGENT, {"json": {"agent_id": "new"}}),
            ("POST", "/api/v1/report", AGENT, {"json": report}),
        ]
        for method, path, auth, rest in asked:
            reply = self.ask(method, path, auth, **rest)
            self.assertEqual((reply.status, reply.code), (503, "starting"), path)
        self.assertIn("agents are not loaded", self.ask("GET", "/ready").body.decode())
        self.slow.answer_all()
        self.assertEqual(
            [self.ask(method, path, auth, **rest).status for method, path, auth, rest in asked[:4]], [200] * 4
        )
        self.assertEqual(self.ask("GET", "/ready").status, 200)

    def test_wrong_credentials_are_refused(self) -> None:
        self.restart_slowly()
        for auth in (("own", "wrong"), ("nobody", "wrong"), (self.ids[0], ""), ("\udcff", "x")):
            encoded = auth[0].encode(errors="surrogateescape").decode("latin-1"), auth[1]
            self.assertEqual(self.ask("GET", "/api/v1/config", encoded).status, 401, auth)

    def test_blocked_agents_are_refused(self) -> None:
        self.admin("DELETE", "/api/v1/agents/own?block=true")
        self.restart_slowly()
        reply = self.ask("GET", "/api/v1/config", AGENT, headers={"X-Agent-ID": "own"})
        self.assertEqual((reply.status, reply.code), (403, "agent_blocked"))
        self.assertEqual(self.ask("GET", "/api/v1/config", self.own).status, 401)

    def test_tokens_end_at_once(self) -> None:
        """A token that was good a moment ago is looked up again after a change."""
        self.restart_slowly()
        self.assertEqual(self.ask("GET", "/api/v1/config", self.own).status, 200)
        self.successResultOf(self.first.store.forget("own"))
        self.assertEqual(self.ask("GET", "/api/v1/config", self.own).status, 401)
        self.slow.answer_all()
        self.assertEqual(self.ask("GET", "/api/v1/config", self.own).status, 401)
        self.assertIsNone(self.harness.registry.find("own"))

    def test_agent_of_a_page_is_known(self) -> None:
        """A poll asks the store for no agent that the load has read."""
        self.restart_slowly()
        self.slow.answer()
        asked: list[str] = []
        self.slow.find = lambda agent_id: asked.append(agent_id) or succeed(None)  # type: ignore[attr-defined]
        named = self.ask("GET", "/api/v1/config", AGENT, headers={"X-Agent-ID": self.ids[0]})
        own = self.ask("GET", "/api/v1/config", self.own)
        self.assertEqual([each.status for each in (named, own)], [200, 200])
        self.assertEqual((named.headers.get("x-agent-known"), asked), (None, []))
        self.slow.answer_all()
        self.assertEqual(self.harness.registry.get(self.ids[0]).last_poll, self.harness.now())

    def test_page_that_a_change_overtakes_counts_for_nothing(self) -> None:
        """The page has the row of before the change, and comes after it."""
        self.restart_slowly()
        self.successResultOf(self.first.store.reset_token("own"))
        self.slow.answer()
        self.assertEqual(self.ask("GET", "/api/v1/config", self.own).status, 401)

    def test_token_that_no_page_has_is_looked_up(self) -> None:
        """The agent may have got it from another controller a moment ago."""
        record = self.successResultOf(self.first.store.find("own"))
        self.restart_slowly()
        self.slow.answer()
        replaced = succeed(evolve(record, token=digest_of(b"own", b"new")))
        self.slow.find = lambda agent_id: replaced  # type: ignore[attr-defined]
        replies = [self.ask("GET", "/api/v1/config", ("own", token)).status for token in ("new", "wrong", self.own[1])]
        self.assertEqual(replies, [200, 401, 401])

    def test_row_that_a_change_overtakes_is_read_again(self) -> None:
        self.restart_slowly()
        find, waiting = self.first.store.find, list[tuple[Deferred[Any], Deferred[Any]]]()

        def slow(agent_id: str) -> Deferred[Any]:
            answer: Deferred[Any] = Deferred()
            waiting.append((find(agent_id), answer))
            return answer

        self.slow.find = slow  # type: ignore[attr-defined]
        looked_up = Deferred.fromCoroutine(self.harness.registry.look_up("own"))
        self.successResultOf(self.first.store.forget("own"))
        while waiting:
            found, answer = waiting.pop(0)
            found.chainDeferred(answer)
        self.assertIsNone(self.successResultOf(looked_up))

    def test_look_ups_are_limited(self) -> None:
        self.restart_slowly()
        self.slow.find = lambda agent_id: Deferred()  # type: ignore[attr-defined]
        lookups = self.harness.registry.lookups
        waiting = [Deferred.fromCoroutine(lookups.find(f"a{number}")) for number in range(MAX_WAITING)]
        self.failureResultOf(Deferred.fromCoroutine(lookups.find("b")), Unavailable)
        self.assertEqual([each.called for each in waiting], [False] * MAX_WAITING)

    def test_members_are_served_the_candidate(self) -> None:
        self.start()
        members = self.exposed()
        self.assertEqual(len(members), 1)
        self.restart_slowly()
        self.assertEqual([each for each in self.ids if self.served(each) == 2], members)
        # The two others ask for the candidate: an agent is never served less than it names.
        candidate = self.first.tag()[:-1] + "2"
        self.assertEqual([self.poll(each, candidate).status for each in self.ids], [304] * 3)
        self.slow.answer_all()
        self.assertEqual(self.exposed(), self.ids)

    def test_configurations_follow_the_feed(self) -> None:
        self.restart_slowly()
        self.successResultOf(self.first.store.publish(a_draft(2)))
        self.assertEqual(self.served(self.ids[0]), 2)
        self.slow.answer_all()
        self.assertEqual(self.harness.convergence.progress("default", 2).tag.version, 2)

    def test_another_load_begins_again(self) -> None:
        """Where the store cannot tell what changed meanwhile, the reads so far count for nothing."""
        self.restart_slowly()
        contents = self.successResultOf(self.first.store.contents())
        self.slow.answer()
        self.harness.loading.begin(contents)
        self.assertIsNotNone(self.harness.loading.problem())
        self.slow.answer_all()
        self.assertIsNone(self.harness.loading.problem())
