"""Tests of L{confd.controller.fronts.writer} and of what it is made of: the writer and its fronts, in memory."""

from __future__ import annotations

from operator import ge
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.fronts.control import Forget, Remember
from confd.controller.fronts.outpost import PATIENCE, PROMPT
from confd.jsontext import document
from confd.metrics import Metrics
from confd.testing.examples import a_draft
from confd.web.eventstream import HEARTBEAT
from confd.web.eventstream import PATIENCE as UNREAD
from confd.web.guard import Credential, Role
from confd.web.memo import Memo
from confd.web.site import Limits
from tests.controller.fronts.branch import Branch
from tests.controller.house import ADMIN, AGENT, House
from tests.controller.test_memo import Twins, make_same_tests, site_of
from tests.conversation import Conversation
from tests.test_metrics import samples

#: What may happen, and how often by comparison.
EVENTS = ("poll", "poll", "publish", "publish", "up", "up", "down", "down", "all")

#: Bytes that arrive at once.
SIZES = (1, 40, 700, 100_000, 100_000)

CONFIG, STREAM = "/api/v1/config", "/api/v1/stream"


class FrontTwins(Twins):
    """One controller behind two doors, one of them a front's."""

    def __init__(self) -> None:
        super().__init__()
        edge, site = site_of(self.house, self.memo)
        self.branch = Branch(self.house, site, edge)
        self.sites = site, self.sites[1]

    def connect(self, peer: Any) -> tuple[Conversation, ...]:
        """One connection goes over the front."""
        return self.branch.caller(peer), Conversation(self.sites[1], self.house.clock, peer)

    def wait(self, seconds: float) -> None:
        """Let time pass at all."""
        self.branch.wait(seconds)

    def check(self, case: SynchronousTestCase) -> None:
        """Once all is said, and reported."""
        self.branch.turn()
        self.branch.wait(1)
        super().check(case)


class FrontSameTests(make_same_tests(FrontTwins)):  # type: ignore[misc]
    """What a front answers or passes on is what the writer would say: partial, pipelined and hostile requests."""


class OrderTests(SynchronousTestCase):
    """In whatever order, and in whatever pieces, what is said arrives."""

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 1), st.sampled_from(SIZES)), max_size=60))
    def test_no_old_answer(self, events: list[tuple[str, int, int]]) -> None:
        """A poll that begins after a publish was answered gets it, or what came later, over either front."""
        house = House()
        branch = Branch(house, house.site, house.edge, 2)
        callers = [branch.caller(number=number) for number in range(2)]
        for caller in callers:
            # Both of them begin with something that is remembered.
            caller.get(CONFIG, auth=AGENT)
        least: list[list[int]] = [[1], [1]]
        publishers: list[Conversation] = []
        for child in branch.children:
            child.stop()
        answered = 1
        for what, number, size in events:
            if what == "poll":
                least[number].append(answered)
                callers[number].ask("GET", CONFIG, auth=AGENT)
            elif what == "publish":
                publishers.append(house.caller())
                publishers[-1].ask("POST", CONFIG, json={"url": "http://127.0.0.1/"}, auth=ADMIN)
            elif what == "all":
                for child in branch.children * 2:
                    child.down.step(size)
                    child.up.step(size)
            else:
                child = branch.children[number]
                (child.up if what == "up" else child.down).step(size)
                branch.turn()
            answered = max([answered, *(reply.json["version"] for each in publishers for reply in each.replies())])
        for child in branch.children:
            child.go_on()
        for _ in range(sum(map(len, least)) + 1):
            branch.turn()
        for caller, floors in zip(callers, least, strict=True):
            versions = [reply.json["version"] for reply in caller.replies()]
            self.assertEqual(len(versions), len(floors))
            self.assertTrue(all(map(ge, versions, floors)), (versions, floors))
        self.assertEqual([each.replies()[0].status for each in publishers], [200] * len(publishers))
        branch.close()


class BranchCase(SynchronousTestCase):
    """A house with one front."""

    def setUp(self) -> None:
        self.house = House(limits=Limits(connections=100, from_one=2))
        self.site = self.house.site
        self.branch = Branch(self.house, self.site, self.house.edge)
        self.addCleanup(self.branch.close)
        self.agent = self.house.join()

    def open(self) -> int:
        """How many connections of clients are open."""
        return len(self.site.places)

    def poll(self, caller: Conversation, **headers: str) -> int:
        """The status of a poll of the agent that has what is in force at the beginning."""
        sent = {"X-Agent-ID": self.agent, "If-None-Match": "1"} | headers
        return caller.get(CONFIG, auth=AGENT, headers=sent).status

    def remembered(self) -> int:
        """How many answers the front was told."""
        return sum(isinstance(each, Remember) for each in self.branch.children[-1].said)

    def publish(self) -> Conversation:
        """Publish, and do not wait for the answer."""
        caller = self.house.caller()
        caller.ask("POST", CONFIG, json={"url": "http://127.0.0.1/"}, auth=ADMIN)
        return caller


class PollTests(BranchCase):
    """Polls over a front."""

    def test_remembered(self) -> None:
        """The second time the front answers, and the writer does not hear of it but from the report."""
        caller = self.branch.caller()
        self.assertEqual([self.poll(caller) for _ in range(3)], [304] * 3)
        before = self.polls()
        self.branch.wait(1)
        self.assertEqual((before, self.polls()), (1, 3))

    def polls(self) -> float:
        """How many were counted."""
        metrics = Metrics()
        self.site.traffic.expose(metrics)
        labels = (("method", "GET"), ("route", CONFIG), ("status", "304"))
        return samples(metrics.exposition())["confd_http_requests_total", labels]

    def test_poll_is_noted(self) -> None:
        """An agent that a front answers was heard of."""
        caller = self.branch.caller()
        self.poll(caller)
        for _ in range(10):
            self.branch.wait(10)
            self.assertEqual(self.poll(caller), 304)
        self.branch.wait(1)
        self.assertEqual((self.house.registry.live("default"), self.remembered()), (1, 1))

    def test_told_once(self) -> None:
        """Several who ask for the same before it is remembered."""
        callers = [self.branch.caller() for _ in range(3)]
        for each in callers:
            super(type(each), each).send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            Conversation.ask(each, "GET", CONFIG, auth=AGENT)
        self.branch.turn()
        self.assertEqual(self.remembered(), 1)

    def test_no_answer_after_a_publish(self) -> None:
        """It is answered when the front has forgotten, and no sooner."""
        caller = self.branch.caller()
        self.poll(caller)
        self.branch.children[0].stop()
        publisher = self.publish()
        self.assertIsNone(publisher.answer())
        self.assertEqual(self.house.tag().split(".")[-1], "2")
        self.branch.children[0].go_on()
        self.branch.turn()
        answer = publisher.answer()
        assert answer is not None
        self.assertEqual((answer.status, self.poll(caller)), (200, 200))

    def test_nothing_to_forget(self) -> None:
        """A front that remembers nothing is not waited for."""
        self.branch.children[0].stop()
        answer = self.publish().answer()
        assert answer is not None
        self.assertEqual(answer.status, 200)

    def test_hung(self) -> None:
        """A front that does not say that it forgot is killed; then the publish is answered, and another one begins."""
        caller = self.branch.caller()
        self.poll(caller)
        self.branch.children[0].stop()
        publisher = self.publish()
        self.branch.wait(PROMPT + 1)
        self.assertTrue(self.branch.children[0].killed)
        answer = publisher.answer()
        assert answer is not None
        self.assertEqual(answer.status, 200)
        self.branch.wait(1)
        self.assertEqual(len(self.branch.children), 2)
        self.assertEqual(self.poll(self.branch.caller()), 200)
        self.assertEqual(self.branch.fronts.up, 1)
        self.flushLoggedErrors()

    def test_silent(self) -> None:
        """One that says nothing at all is killed, too."""
        self.branch.children[0].stop()
        self.branch.wait(PATIENCE - 1)
        self.assertFalse(self.branch.children[0].killed)
        self.branch.wait(2)
        self.assertTrue(self.branch.children[0].killed)

    def test_writer_stood_still(self) -> None:
        """It is no fault of a front if the writer does not listen for a while."""
        self.house.clock.advance(2 * PATIENCE)
        self.branch.turn()
        self.assertFalse(self.branch.children[0].killed)

    def test_forgotten_agent(self) -> None:
        """Nor is one that was forgotten known at a front when that is answered; other answers stay."""
        caller, other = self.branch.caller(), self.house.join()
        self.poll(caller)
        self.poll(caller, **{"X-Agent-ID": other})
        self.assertEqual(self.house.caller().delete(f"/api/v1/agents/{self.agent}", auth=ADMIN).status, 200)
        self.branch.turn()
        last = caller.get(CONFIG, auth=AGENT, headers={"X-Agent-ID": self.agent, "If-None-Match": "1"})
        self.assertEqual(last.headers["x-agent-known"], "false")
        self.assertEqual(
            [len(each.ids or ()) for each in self.branch.children[0].said if isinstance(each, Forget)], [1]
        )

    def test_token(self) -> None:
        """A token that was replaced is refused at once, whichever process is asked."""
        joined = self.house.caller().post("/api/v1/register", json={}, auth=AGENT).json
        own, caller = (joined["agent_id"], joined["token"]), self.branch.caller()
        self.assertEqual([caller.get(CONFIG, auth=own).status for _ in range(2)], [200, 200])
        self.house.caller().post("/api/v1/register", json={"agent_id": own[0]}, auth=AGENT)
        self.branch.turn()
        self.assertEqual(caller.get(CONFIG, auth=own).status, 401)

    def test_other_address(self) -> None:
        """An answer is good for the address that it was made for."""
        self.poll(self.branch.caller())
        self.poll(self.branch.caller(IPv4Address("TCP", "192.0.2.7", 1)))
        self.assertEqual(self.remembered(), 2)


class ConnectionTests(BranchCase):
    """Connections that a front holds."""

    def elsewhere(self, last: int = 7) -> IPv4Address:
        """The address of a client."""
        return IPv4Address("TCP", f"192.0.2.{last}", 50000)

    def test_limits(self) -> None:
        """They count once, wherever they are, whether the writer has heard of them or not."""
        first, second = (
            self.branch.caller(self.elsewhere()),
            Conversation(self.site, self.house.clock, self.elsewhere()),
        )
        third = self.branch.caller(self.elsewhere())
        self.assertEqual([first.closed, second.closed, third.closed], [False, False, True])
        self.assertEqual(first.get("/health").status, 200)
        self.assertEqual(self.open(), 2)
        first.hang_up()
        self.branch.turn()
        self.assertEqual(self.open(), 1)
        self.assertFalse(self.branch.caller(self.elsewhere()).closed)

    def test_address(self) -> None:
        """What the throttle and the audit see is the client's own."""
        wrong = "agent", "wrong"
        caller = self.branch.caller(self.elsewhere())
        self.assertEqual([caller.get(CONFIG, auth=wrong).status for _ in range(11)], [401] * 10 + [429])
        self.assertEqual(self.branch.caller(self.elsewhere(8)).get(CONFIG, auth=AGENT).status, 200)

    def test_dies(self) -> None:
        """A front that dies takes its connections with it, and frees their places."""
        caller = self.branch.caller()
        caller.send(b"GET /health HTTP/1.1\r\nHo")
        self.branch.children[0].kill()
        self.branch.turn()
        self.assertEqual(self.open(), 0)

    def test_silent_client(self) -> None:
        """Who says nothing is closed by the front; who polls is not, however long."""
        silent, polling = self.branch.caller(), self.branch.caller()
        for _ in range(8):
            self.assertEqual(self.poll(polling), 304)
            self.branch.wait(self.site.limits.idle_seconds / 2)
        self.assertEqual((silent.closed, polling.closed), (True, False))
        self.branch.wait(self.site.limits.idle_seconds)
        self.assertTrue(polling.closed)

    def test_silent_at_the_writer(self) -> None:
        """One whose last answer came from the writer is closed by it."""
        caller = self.branch.caller()
        caller.get("/health")
        self.branch.wait(self.site.limits.idle_seconds)
        self.assertTrue(caller.closed)
        self.assertEqual(self.open(), 0)

    def test_too_slow(self) -> None:
        """A request that does not go on is refused with words, and the connection half closed, then cut."""
        caller = self.branch.caller()
        caller.send(b"GET /hea")
        self.branch.wait(self.site.limits.header_seconds)
        self.assertEqual([each.status for each in caller.replies()], [408])
        self.assertEqual((caller.wire.ended, caller.closed), (True, False))
        self.branch.wait(self.site.limits.linger_seconds)
        self.assertTrue(caller.wire.aborted)

    def test_client_takes_nothing(self) -> None:
        """What it asks for meanwhile waits with it, and is not read; then all comes, in order."""
        self.publish_large()
        caller = self.branch.caller()
        caller.wire.stall()
        ask = b"GET /api/v1/config HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YWdlbnQ6c2VjcmV0MTIz\r\n\r\n"
        caller.send(ask * 6)
        self.assertFalse(caller.wire.reading)
        self.assertLess(len(caller.wire.unsent), 200_000)
        caller.wire.flow()
        self.branch.turn()
        self.branch.wait(1)
        self.assertEqual([each.status for each in caller.replies()], [200] * 6)
        self.assertTrue(caller.wire.reading)

    def publish_large(self) -> None:
        """A document of 100 kB."""
        value = {"url": "http://127.0.0.1/", "pad": "x" * 100_000}
        self.successResultOf(self.house.configs.publish(a_draft(document=document(value)), 0.0))

    def test_large_body(self) -> None:
        """What is sent comes in pieces, and arrives."""
        body = b'{"url": "http://127.0.0.1/", "pad": "' + b"x" * 300_000 + b'"}'
        caller = self.branch.caller()
        head = f"POST {CONFIG} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YWRtaW46YWRtaW4xMjM=\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        caller.send(head.encode() + body)
        self.assertEqual([each.status for each in caller.replies()], [200])
        self.assertTrue(caller.wire.reading)

    def test_writer_takes_nothing(self) -> None:
        """A client is held back when what it sent is not taken."""
        caller = self.branch.caller()
        self.branch.children[0].stop()
        for _ in range(3):
            Conversation.send(caller, b"x" * 40_000)
        self.assertFalse(caller.wire.reading)

    def test_drain(self) -> None:
        """At the end nothing new is taken, what is idle is closed, and what is asked is answered."""
        idle, known = self.branch.caller(), self.branch.caller()
        known.get("/health")
        known.send(b"GET /health HTTP/1.1\r\nHo")
        self.branch.fronts.stopService()
        drained = self.site.drain()
        self.branch.turn()
        self.assertEqual((self.branch.children[0].listening, idle.closed), (False, True))
        self.assertNoResult(drained)
        known.send(b"st: a\r\n\r\n")
        self.assertEqual([each.headers.get("connection") for each in known.replies()], [None, "close"])
        self.successResultOf(drained)

    def test_drain_waits(self) -> None:
        """What a front has accepted before it heard of the end is answered, too."""
        child, caller = self.branch.children[0], self.branch.caller()
        child.stop()
        caller.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        stopped = self.branch.fronts.stopService()
        self.branch.turn()
        self.assertNoResult(stopped)
        child.go_on()
        self.branch.turn()
        self.successResultOf(stopped)
        self.assertEqual([each.status for each in caller.replies()], [200])

    def test_hung_at_the_end_at_once(self) -> None:
        """One that does not say that it heard of the end is not waited for."""
        self.branch.children[0].stop()
        stopped = self.branch.fronts.stopService()
        self.branch.wait(PROMPT + 1)
        self.successResultOf(stopped)
        self.assertEqual(len(self.branch.children), 1)


class StreamTests(BranchCase):
    """Streams over a front."""

    def listen(self, **headers: str) -> Conversation:
        """A reader that has just come, and is the front's."""
        caller = self.branch.caller()
        caller.ask("GET", STREAM, auth=AGENT, headers={"X-Agent-ID": self.agent, **headers})
        self.branch.turn()
        return caller

    def test_handed_over(self) -> None:
        """The front goes on with it, and the writer has no request of it any more."""
        caller = self.listen()
        self.assertEqual(
            (len(self.house.hub), len(self.branch.children[-1].exchange.fanout), self.branch.fronts.readers()),
            (1, 1, 1),
        )
        self.assertEqual(self.branch.fronts._fronts[1]._wires, {})
        tags = [self.house.tag()]
        for _ in range(3):
            self.publish()
            self.branch.turn()
            tags.append(self.house.tag())
        self.assertEqual(caller.tags(), tags)
        self.branch.wait(HEARTBEAT)
        self.assertEqual([each.data.decode() for each in caller.events() if each.name == "heartbeat"][-1], tags[-1])
        caller.hang_up()
        self.branch.turn()
        self.assertEqual((len(self.house.hub), len(self.branch.children[-1].exchange.fanout)), (0, 0))

    def test_published_meanwhile(self) -> None:
        """What is published between its beginning and its hand-over is told once."""
        caller = self.branch.caller()
        self.branch.children[0].down.stopped = True
        caller.ask("GET", STREAM, auth=AGENT)
        self.publish()
        self.branch.children[0].go_on()
        self.branch.turn()
        self.assertEqual([each.split(".")[-1] for each in caller.tags()], ["1", "2"])

    def test_old_http(self) -> None:
        """A stream that is not chunked ends where its connection does."""
        caller = self.branch.caller()
        caller.send(b"GET /api/v1/stream HTTP/1.0\r\nAuthorization: Basic YWdlbnQ6c2VjcmV0MTIz\r\n\r\n")
        self.publish()
        self.branch.turn()
        self.assertEqual(len(caller.tags()), 2)
        self.branch.fronts.stopService()
        self.branch.turn()
        self.assertTrue(caller.closed)
        self.assertFalse(caller.wire.aborted)

    def test_agent_is_deleted(self) -> None:
        """Its stream ends in order; that of another goes on."""
        caller = self.listen()
        self.agent, gone = self.house.join(), self.agent
        other = self.listen()
        self.house.caller().delete(f"/api/v1/agents/{gone}", auth=ADMIN)
        self.branch.turn()
        self.assertEqual([each.replies()[0].whole for each in (caller, other)], [True, False])

    def test_password_is_another(self) -> None:
        """Streams of whoever had the old one end, and no answer to it is given again."""
        agents, admins = self.listen(), self.branch.caller()
        admins.ask("GET", STREAM, auth=ADMIN)
        polling = self.branch.caller()
        self.assertEqual([self.poll(polling) for _ in range(2)], [304, 304])
        callers = self.house.guard.renew(
            [Credential.of("agent", "another", Role.AGENT), Credential.of(*ADMIN, Role.ADMIN)]
        )
        self.branch.fronts.cut(callers)
        self.branch.turn()
        self.assertEqual((agents.closed, admins.closed), (True, False))
        self.assertEqual(self.poll(polling), 401)

    def test_slow_reader(self) -> None:
        """One that takes nothing is owed the newest, and cut after a while."""
        slow, quick = self.listen(), self.listen()
        slow.wire.stall()
        for _ in range(3):
            self.publish()
            self.branch.turn()
        self.assertEqual(len(quick.tags()), 4)
        slow.wire.flow()
        self.branch.turn()
        self.assertEqual([each.split(".")[-1] for each in slow.tags()], ["1", "2", "4"])
        slow.wire.stall()
        self.publish()
        self.branch.turn()
        self.branch.wait(UNREAD)
        self.assertEqual((slow.closed, quick.closed), (True, False))

    def test_retired(self) -> None:
        """Streams of a namespace that is retired end."""
        made = {"name": "edge", "config": {"url": "http://127.0.0.1/"}}
        self.house.caller().post("/api/v1/namespaces", json=made, auth=ADMIN)
        caller = self.branch.caller()
        caller.ask("GET", f"{STREAM}?namespace=edge", auth=AGENT)
        self.branch.turn()
        self.assertEqual(self.house.caller().delete("/api/v1/namespaces/edge", auth=ADMIN).status, 200)
        self.branch.wait(HEARTBEAT)
        self.assertTrue(caller.replies()[0].whole)

    def test_head(self) -> None:
        """An answer without a body is no stream."""
        caller = self.branch.caller()
        caller.ask("HEAD", STREAM, auth=AGENT)
        self.branch.turn()
        self.assertEqual((caller.replies()[0].status, len(self.house.hub)), (200, 0))
        self.assertEqual(caller.get("/health").status, 200)

    def test_hung_at_the_end(self) -> None:
        """A front that hangs does not keep a controller from ending."""
        self.listen()
        self.branch.children[0].stop()
        self.branch.fronts.stopService()
        drained = self.site.drain()
        self.branch.wait(self.site.limits.drain_seconds)
        self.successResultOf(drained)

    def test_drain(self) -> None:
        """At the end each is ended in order."""
        caller = self.listen()
        self.branch.fronts.stopService()
        drained = self.site.drain()
        self.branch.turn()
        self.assertTrue(caller.replies()[0].whole)
        self.successResultOf(drained)


class MemoTests(BranchCase):
    """What a front remembers has its room."""

    def test_bounded(self) -> None:
        """When it is full, all of it is forgotten."""
        outpost = self.branch.fronts._fronts[1]
        outpost.ledger._room = 20_000
        caller = self.branch.caller()
        for number in range(60):
            self.poll(caller, **{"If-None-Match": str(number + 2)})
        self.assertIn(len(self.branch.children[-1].exchange._answers), range(1, 20))
        self.assertIsInstance(self.site.memo, Memo)
