"""Tokens of agents, and agents that are kept out: over HTTP in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.rows import KnownAgents
from confd.controller.agents.tokens import AgentTokens
from confd.errors import Conflict, Forbidden
from confd.model import Registration
from confd.reports import HeardElsewhere
from confd.testing.examples import a_draft, an_agent
from confd.testing.memory import MemoryStore
from confd.web.auth.basic import digest_of
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

CONFIG, STREAM, REPORT, REGISTER = "/api/v1/config", "/api/v1/stream", "/api/v1/report", "/api/v1/register"

BLUE = {"url": "https://example.com"}

WRONG = ("agent", "not-the-password")


class AgentTokensTestCase(SynchronousTestCase):
    """A joined controller."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def enrol(self, auth: tuple[str, str] = AGENT, **fields: Any) -> Reply:
        """Register."""
        return self.harness.caller().post(REGISTER, json=fields, auth=auth)

    def own(self, **fields: Any) -> tuple[str, str]:
        """Register; return what the agent shows from then on."""
        joined = self.enrol(**fields).json
        return joined["agent_id"], joined["token"]

    def poll(self, auth: tuple[str, str], agent_id: str | None = None) -> Reply:
        """Ask for the configuration."""
        headers = {} if agent_id is None else {"X-Agent-ID": agent_id}
        return self.harness.caller().get(CONFIG, auth=auth, headers=headers)

    def report(self, auth: tuple[str, str], agent_id: str) -> Reply:
        """Report that the current configuration is being applied; let the report be written."""
        caller = self.harness.caller()
        body = {"agent_id": agent_id, "version": self.harness.tag(), "state": "applying"}
        caller.ask("POST", REPORT, json=body, auth=auth)
        self.harness.clock.advance(1)
        reply = caller.answer()
        assert reply is not None
        return reply

    def restarted(self) -> ControllerHarness:
        """Another controller on the same store."""
        self.successResultOf(self.harness.stop())
        return ControllerHarness(self.harness.store)

    def forget(self, agent_id: str, query: str = "") -> Reply:
        """Delete an agent."""
        return self.harness.caller().delete(f"/api/v1/agents/{agent_id}{query}", auth=ADMIN)


class TokenTests(AgentTokensTestCase):
    """A token speaks for one agent."""

    def test_everything_an_agent_does(self) -> None:
        """It polls, listens, reports and registers with it, named in a header or not."""
        own = self.own()
        for named in (None, own[0]):
            self.assertEqual(self.poll(own, named).status, 200)
        self.assertEqual(self.report(own, own[0]).status, 200)
        self.assertIsNotNone(self.harness.registry.get(own[0]).last_poll)
        listener = self.harness.caller()
        listener.ask("GET", STREAM, auth=own)
        self.assertEqual(listener.replies()[0].status, 200)
        for fields in ({}, {"agent_id": own[0]}):
            reply = self.enrol(own, **fields)
            self.assertEqual((reply.status, reply.json["agent_id"]), (200, own[0]))
            self.assertNotIn("token", reply.json, "it keeps the one it has")
        self.assertEqual(self.poll(own).status, 200)

    def test_nothing_for_others(self) -> None:
        """API1: every path that names an agent, with the token of another one."""
        own, (other, _) = self.own(), self.own()
        for reply in (
            self.poll(own, other),
            self.harness.caller().get(STREAM, auth=own, headers={"X-Agent-ID": other}),
            self.report(own, other),
            self.enrol(own, agent_id=other),
        ):
            self.assertEqual((reply.status, reply.code), (403, "other_agent"))
        self.assertIsNone(self.harness.registry.get(other).last_poll)

    def test_nothing_for_operators(self) -> None:
        """API5: it is an agent's and no more."""
        own = self.own()
        caller = self.harness.caller()
        replies = [
            caller.get("/api/v1/agents", auth=own),
            caller.post(CONFIG, json={"url": "http://x/"}, auth=own),
            caller.delete(f"/api/v1/agents/{own[0]}", auth=own),
            caller.get("/api/v1/blocked", auth=own),
        ]
        self.assertEqual([reply.status for reply in replies], [403] * 4)

    def test_any_id(self) -> None:
        """Ids that look like something else: with colons, or like an operator's name."""
        for agent_id in ("a:b:c", ":", "admin", "agent"):
            own = self.own(agent_id=agent_id)
            self.assertEqual(self.poll(own, agent_id).status, 200, agent_id)
            self.assertEqual(self.harness.caller().get("/api/v1/agents", auth=own).status, 403, agent_id)

    def test_wrong(self) -> None:
        own, other = self.own(), self.own()
        for auth in ((own[0], other[1]), (own[0], ""), (own[0], own[1].lower()), ("agent", own[1])):
            self.assertEqual(self.poll(auth).status, 401)

    def test_joining_anew_replaces_it(self) -> None:
        """With the shared identity: the agent may have lost what it had."""
        own = self.own()
        revalidate = self.own(agent_id=own[0])
        self.assertNotEqual(own[1], revalidate[1])
        self.assertEqual((self.poll(own).status, self.poll(revalidate).status), (401, 200))

    def test_only_a_digest_is_kept(self) -> None:
        """Neither the store nor any answer has it, and what the store has opens nothing."""
        agent_id, token = self.own()
        [record] = self.successResultOf(self.harness.store.load_agents())
        self.assertEqual(record.token, digest_of(agent_id.encode(), token.encode()))
        self.assertNotIn(record.token.hex(), repr(record))
        shown = self.harness.caller().get(f"/api/v1/agents/{agent_id}", auth=ADMIN).body
        self.assertNotIn(token.encode(), shown)
        self.assertNotIn("token", json.loads(shown))
        self.assertEqual(self.poll((agent_id, record.token.hex())).status, 401)

    def test_restart(self) -> None:
        """It is good after a restart, too, and while agents are not loaded no caller hears that it is not."""
        own = self.own()
        self.harness = self.restarted()
        self.assertEqual(self.poll(own, own[0]).status, 200)
        self.harness = ControllerHarness(self.harness.store, started=False)
        self.assertEqual((self.poll(own).status, self.poll(own).code), (503, "starting"))

    def test_polls_leave_it(self) -> None:
        """What is written behind has the token in it."""
        own = self.own()
        for _ in range(3):
            self.poll(own, own[0])
            self.harness.clock.advance(2)
        self.harness = self.restarted()
        self.assertEqual(self.poll(own).status, 200)


class ReplacementTests(AgentTokensTestCase):
    """Registrations with the shared identity, and the id of an agent that has a token."""

    interval = 30

    def alive(self, agent_id: str, **fields: Any) -> Reply:
        """Register with the shared identity, which is refused; return the refusal."""
        reply = self.enrol(agent_id=agent_id, **fields)
        self.assertEqual((reply.status, reply.code), (409, "agent_alive"), reply)
        return reply

    def reset(self, agent_id: str, auth: tuple[str, str] = ADMIN) -> Reply:
        """Void the token of an agent."""
        return self.harness.caller().post(f"/api/v1/agents/{agent_id}/reset", auth=auth)

    def test_token_in_use_stays_until_it_is_silent(self) -> None:
        uses = (
            lambda own: self.poll(own),
            lambda own: self.poll(own, own[0]),
            lambda own: self.report(own, own[0]),
            lambda own: self.enrol(own),
            lambda own: self.harness.caller().ask("GET", STREAM, auth=own),
        )
        for use in uses:
            own = self.own()
            use(own)
            self.harness.clock.advance(3 * self.interval - 2)
            refused = self.alive(own[0])
            self.assertEqual(refused.headers["retry-after"], str(self.interval))
            self.assertIn(f"confdctl agents reset {own[0]}", refused.body.decode())
            self.harness.clock.advance(3)
            again = self.own(agent_id=own[0])
            self.assertEqual((self.poll(own).status, self.poll(again).status), (401, 200))

    def test_answer_from_the_cache_is_a_use(self) -> None:
        own, caller = self.own(), self.harness.caller()
        for _ in range(6):
            self.harness.clock.advance(20)
            self.assertEqual(caller.get(CONFIG, auth=own, headers={"X-Agent-ID": own[0]}).status, 200)
        self.alive(own[0])

    def test_token_that_was_never_used_is_replaced(self) -> None:
        """The answer to the registration may have been lost."""
        first = self.own()
        second = self.own(agent_id=first[0])
        self.assertEqual([self.poll(each).status for each in (first, second)], [401, 200])
        self.alive(first[0])

    def test_life_without_the_token_does_not_keep_it(self) -> None:
        """An agent that lost its token polls and reports with the shared identity, and gets a token in the end."""
        own = self.own()
        self.poll(own)
        for number in range(3):
            self.alive(own[0])
            self.assertEqual(self.poll(AGENT, own[0]).status, 200)
            if not number:
                self.assertEqual(self.report(AGENT, own[0]).status, 200)
            self.harness.clock.advance(self.interval)
        self.own(agent_id=own[0])

    def test_use_of_the_old_token_says_nothing_of_the_new_one(self) -> None:
        own = self.own()
        self.poll(own)
        self.harness.clock.advance(4 * self.interval)
        self.own(agent_id=own[0])
        self.assertEqual(self.poll(own).status, 401)
        self.own(agent_id=own[0])

    def test_after_a_restart_a_token_counts_as_used_if_its_agent_was_heard_of(self) -> None:
        unused, used = self.own(), self.own()
        self.poll(used, used[0])
        self.harness = self.restarted()
        self.own(agent_id=unused[0])
        self.alive(used[0])
        self.harness.clock.advance(3 * self.interval + 1)
        self.own(agent_id=used[0])

    def test_use_that_another_controller_heard_keeps_a_token(self) -> None:
        own, other = self.own(), self.own()
        polls = dict.fromkeys((own[0], other[0], "unknown"), self.harness.now())
        self.harness.store.heard = lambda: succeed(HeardElsewhere(polls, {own[0], "unknown"}))
        self.harness.clock.advance(1)
        self.alive(own[0])
        self.own(agent_id=other[0])

    def test_agent_that_moves_with_the_shared_identity_waits(self) -> None:
        self.harness.caller().post("/api/v1/namespaces", json={"name": "blue", "config": BLUE}, auth=ADMIN)
        own = self.own()
        self.poll(own)
        moved = self.enrol(own, namespace="blue")
        self.assertEqual((moved.status, moved.code), (401, "token_of_other_namespace"))
        self.alive(own[0], namespace="blue")
        self.harness.clock.advance(3 * self.interval + 1)
        self.own(agent_id=own[0], namespace="blue")

    def test_reset_lets_the_next_registration_have_a_token(self) -> None:
        own = self.own()
        self.poll(own)
        self.assertEqual(self.reset(own[0]).status, 200)
        self.assertEqual(self.poll(own).status, 401)
        # The answer to the first registration is lost.
        self.own(agent_id=own[0])
        again = self.own(agent_id=own[0])
        self.assertEqual(self.poll(again).status, 200)
        self.alive(own[0])
        self.harness = self.restarted()
        self.assertEqual([self.poll(each).status for each in (own, again)], [401, 200])

    def test_reset_ends_the_stream(self) -> None:
        own, listener = self.own(), self.harness.caller()
        listener.ask("GET", STREAM, auth=own)
        self.reset(own[0])
        self.assertTrue(listener.replies()[0].whole)

    def test_reset_of_an_agent_without_a_token_changes_nothing(self) -> None:
        own = self.own()
        self.assertEqual([self.reset(own[0]).status for _ in range(2)], [200, 200])
        self.assertEqual((self.reset("nobody").status, self.reset("nobody").code), (404, "unknown_agent"))
        self.assertEqual(self.reset(own[0], AGENT).status, 403)

    def test_narrowed_identity_takes_no_agent_of_another_namespace(self) -> None:
        self.harness.caller().post("/api/v1/namespaces", json={"name": "blue", "config": BLUE}, auth=ADMIN)
        grants = [{"role": "agent", "namespaces": ["blue"]}]
        made = self.harness.caller().post("/api/v1/tokens", json={"name": "t", "grants": grants}, auth=ADMIN).json
        own, narrowed = self.own(), (made["id"], made["token"])
        refused = self.enrol(narrowed, agent_id=own[0], namespace="blue")
        self.assertEqual((refused.status, refused.code), (403, "other_agent"))
        self.assertEqual(self.harness.registry.get(own[0]).namespace, "default")
        self.assertEqual(self.enrol(narrowed, namespace="blue").status, 200)


class ForgottenTests(AgentTokensTestCase):
    """DELETE C{/api/v1/agents/{id}}."""

    def test_at_once(self) -> None:
        """Its token is refused, others' are not; its stream ends."""
        own, other = self.own(), self.own()
        listeners = []
        for each in (own, other):
            listener = self.harness.caller()
            listener.ask("GET", STREAM, auth=each)
            listeners.append(listener)
        self.assertEqual(self.forget(own[0]).status, 200)
        self.assertEqual([each.replies()[0].whole for each in listeners], [True, False])
        self.assertEqual((self.poll(own).status, self.poll(other).status), (401, 200))
        self.assertEqual(self.report(own, own[0]).status, 401)
        self.harness = self.restarted()
        self.assertEqual((self.poll(own).status, self.poll(other).status), (401, 200))

    def test_on_a_connection_that_is_kept(self) -> None:
        """What was right a moment ago on it is looked at each time."""
        own, caller = self.own(), self.harness.caller()
        headers = {"X-Agent-ID": own[0]}
        statuses = [caller.get(CONFIG, auth=own, headers=headers).status for _ in range(3)]
        self.forget(own[0])
        statuses += [caller.get(CONFIG, auth=own, headers=headers).status for _ in range(2)]
        self.assertEqual(statuses, [200] * 3 + [401] * 2)

    def test_comes_back_with_the_shared_password(self) -> None:
        own = self.own()
        self.forget(own[0])
        revalidate = self.own(agent_id=own[0])
        self.assertEqual((self.poll(own).status, self.poll(revalidate).status), (401, 200))


class BlockedTests(AgentTokensTestCase):
    """Who is to stay out."""

    def blocked(self) -> list[str]:
        """Their ids."""
        found: list[str] = self.harness.caller().get("/api/v1/blocked", auth=ADMIN).json["items"]
        return found

    def test_stays_out(self) -> None:
        """Whatever it tries under its id, and also after a restart; others do not notice."""
        own, other = self.own(), self.own()
        self.assertEqual(self.forget(own[0], "?block=true").json, {"message": f"Agent {own[0]} blocked"})
        for _ in range(2):
            self.assertEqual(self.poll(own).status, 401)
            for reply in (
                self.enrol(agent_id=own[0]),
                self.poll(AGENT, own[0]),
                self.report(AGENT, own[0]),
                self.harness.caller().get(STREAM, auth=AGENT, headers={"X-Agent-ID": own[0]}),
            ):
                self.assertEqual((reply.status, reply.code), (403, "agent_blocked"))
            self.assertEqual((self.poll(other).status, self.blocked()), (200, [own[0]]))
            self.harness = self.restarted()

    def test_shared_password_changed(self) -> None:
        """Who was blocked gets in by no other name, once it is: those with tokens go on."""
        own, other = self.own(), self.own()
        self.forget(own[0], "?block=true")
        self.assertEqual(self.enrol(WRONG).status, 401)
        self.assertEqual(self.poll(other).status, 200)

    def test_lifted(self) -> None:
        own = self.own()
        self.forget(own[0], "?block=true")
        reply = self.harness.caller().delete(f"/api/v1/blocked/{own[0]}", auth=ADMIN)
        self.assertEqual((reply.status, self.blocked()), (200, []))
        revalidate = self.own(agent_id=own[0])
        self.assertEqual((self.poll(own).status, self.poll(revalidate).status), (401, 200))
        reply = self.harness.caller().delete(f"/api/v1/blocked/{own[0]}", auth=ADMIN)
        self.assertEqual((reply.status, reply.code), (404, "not_blocked"))

    def test_unknown(self) -> None:
        """One that is forgotten already can be blocked all the same; what is no id cannot."""
        own = self.own()
        self.forget(own[0])
        self.assertEqual(self.forget(own[0]).code, "unknown_agent")
        self.assertEqual(self.forget(own[0], "?block=true").status, 200)
        self.assertEqual(self.enrol(agent_id=own[0]).code, "agent_blocked")
        self.assertEqual(self.forget("no%20id", "?block=true").code, "unknown_agent")

    def test_meanwhile(self) -> None:
        """Blocked while its registration is being written: it is not in, and not after a restart."""
        store, waiting = MemoryStore(a_draft(poll_interval=30)), Deferred()
        harness = self.harness = ControllerHarness(store)
        register = store.register

        def slow(*arguments: Any) -> Deferred[Any]:
            return waiting.addCallback(lambda _: register(*arguments))

        store.register = slow  # type: ignore[method-assign]
        joining = Deferred.fromCoroutine(harness.registry.register(Registration(agent_id="a"), b"\x01" * 32))
        self.forget("a", "?block=true")
        store.register = register  # type: ignore[method-assign]
        waiting.callback(None)
        self.failureResultOf(joining, Forbidden)
        self.assertIsNone(harness.registry.find("a"))
        self.assertIsNone(harness.registry.agent_tokens.holder("a", b"\x01" * 32))
        self.assertEqual(self.successResultOf(store.load_agents()), [])

    def test_storage_fails(self) -> None:
        """What is not on disk is not so."""
        own = self.own()
        self.harness.store.broken = "The disk is full."
        self.assertEqual(self.forget(own[0], "?block=true").status, 503)
        self.assertEqual((self.poll(own).status, self.blocked()), (200, []))


class HolderTests(SynchronousTestCase):
    """L{AgentTokens}, by itself."""

    def test_moves_with_the_row(self) -> None:
        rows = KnownAgents()
        agent_tokens = AgentTokens(lambda: 0.0, rows.compact)
        for token in (b"1", b"2"):
            rows.put(an_agent("a", token=token))
        rows.put(an_agent("b"))
        self.assertEqual([agent_tokens.holder("a", each) for each in (b"1", b"2")], [None, ("a", "default")])
        self.assertEqual([agent_tokens.holder("b", each) for each in (b"2", b"")], [None, None])
        rows.remove("a")
        self.assertIsNone(agent_tokens.holder("a", b"2"))

    def test_controllers_hear_of_each_other_with_a_delay(self) -> None:
        """A short poll interval is no reason to replace a token that another controller saw a moment ago."""
        now = 0.0
        rows = KnownAgents()
        rows.put(an_agent("a", token=b"1"))
        agent_tokens = AgentTokens(lambda: now, rows.compact)
        agent_tokens.use("a")
        now = 4.0
        agent_tokens.check_replacement("a", 1, shared=False)
        self.assertRaises(Conflict, agent_tokens.check_replacement, "a", 1, shared=True)
        now = 6.0
        agent_tokens.check_replacement("a", 1, shared=True)

    def test_tokens_are_long(self) -> None:
        issued = {AgentTokens(lambda: 0.0, lambda agent_id: None).issue("a") for _ in range(100)}
        self.assertEqual({len(token) for token, _ in issued}, {43})
        self.assertEqual(len(issued), 100)
