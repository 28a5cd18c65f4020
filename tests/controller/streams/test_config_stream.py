"""Tests of L{confd.controller.streams.config_stream} and L{confd.controller.api.stream}, over HTTP in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.codec.bodies import parse_served
from confd.codec.signing import SigningKey
from confd.codec.sse import Parser
from confd.controller.configs.snapshot import Snapshot
from confd.controller.streams.config_stream import SUBSCRIBERS_PER_TURN, ConfigStream, Subscriber
from confd.model import Configuration
from confd.web.api.streaming import (
    HEARTBEAT_SECONDS,
    MIN_BYTES_PER_SECOND,
    STALLED_MAX_SECONDS,
    EventStream,
    Streams,
)
from tests.agent.fakes import configuration
from tests.budgets import budget
from tests.controller.changes import contents_of, revision_change
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Conversation

STREAM, CONFIG = "/api/v1/stream", "/api/v1/config"
KEY = SigningKey.generate()


class StreamTests(SynchronousTestCase):
    """GET C{/api/v1/stream}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def listen(self, known: str | None = None, query: str = "", **headers: str) -> Conversation:
        """A reader that has just come."""
        caller = self.harness.caller()
        if known is not None:
            headers["Last-Event-ID"] = known
        caller.ask("GET", STREAM + query, auth=AGENT, headers=headers)
        return caller

    def publish(self, number: int = 1) -> str:
        """One more version; returns its tag."""
        caller = self.harness.caller()
        self.assertEqual(caller.post(CONFIG, json={"url": f"http://{number}/"}, auth=ADMIN).status, 200)
        caller.hang_up()
        return self.harness.tag()

    def test_answer(self) -> None:
        caller = self.listen()
        (reply,) = caller.replies()
        self.assertEqual(reply.headers["content-type"], "text/event-stream")
        self.assertEqual(reply.headers["cache-control"], "no-store, no-transform")
        self.assertEqual(reply.headers["x-accel-buffering"], "no")
        self.assertFalse(reply.whole)

    def test_head_is_complete_and_opens_no_stream(self) -> None:
        caller = self.harness.caller()
        caller.ask("HEAD", STREAM, auth=AGENT)
        reply = caller.answer()
        assert reply is not None
        self.assertEqual((reply.status, reply.headers["content-type"], reply.body), (200, "text/event-stream", b""))
        self.assertEqual(len(self.harness.config_stream), 0)
        self.publish()
        self.assertEqual(caller.get(CONFIG, auth=AGENT).status, 200)

    def test_an_event_is_the_body_of_a_poll(self) -> None:
        polled = self.harness.caller().get(CONFIG, auth=AGENT)
        (event,) = self.listen().events()
        self.assertEqual((event.name, event.id, event.data), ("config", self.harness.tag(), polled.body))
        self.assertEqual(parse_served(event.data).keys, (self.harness.identity.keys[0].public,))

    def test_each_change(self) -> None:
        caller = self.listen()
        published = [self.harness.tag(), *(self.publish(number) for number in range(3))]
        self.assertEqual(caller.tags(), published)

    def test_last_event_id(self) -> None:
        """Nothing before the next change for who has the current one, else the current one at once."""
        tag = self.harness.tag()
        caller = self.listen(tag)
        self.assertEqual(caller.events(), [])
        self.assertEqual(caller.tags(), [], "although the headers are there")
        newer = self.publish()
        self.assertEqual(caller.tags(), [newer])
        for known in ("", "1", "99999999.1.1", tag, f'"{newer}"', "\xfc".encode().decode("latin-1")):
            self.assertEqual(self.listen(known).tags(), [newer], known)

    def test_other_system(self) -> None:
        """Who holds a document of another system keeps it until something is published."""
        caller, fresh = self.listen("5"), self.listen("")
        self.assertEqual((caller.tags(), fresh.tags()), ([], [self.harness.tag()]))
        newer = self.publish()
        self.assertEqual(caller.tags(), [newer])
        self.assertEqual(self.listen("5").tags(), [newer])

    def test_who_may_listen(self) -> None:
        caller = self.harness.caller()
        self.assertEqual(caller.get(STREAM).status, 401)
        self.assertEqual(caller.get(STREAM, auth=("agent", "wrong")).status, 401)
        self.assertEqual(caller.get(f"{STREAM}?namespace=nowhere", auth=AGENT).code, "unknown_namespace")
        caller.ask("GET", STREAM, auth=ADMIN)
        self.assertEqual(caller.replies()[-1].status, 200)
        self.assertEqual(len(self.harness.config_stream), 1)

    def test_starting(self) -> None:
        harness = ControllerHarness(started=False)
        harness.config_stream.startService()
        self.assertEqual(harness.caller().get(STREAM, auth=AGENT).code, "starting")

    def test_namespaces_are_apart(self) -> None:
        self.harness.caller().post("/api/v1/namespaces", json={"name": "b", "config": {"url": "http://b/"}}, auth=ADMIN)
        ours, theirs = self.listen(), self.listen(query="?namespace=b")
        self.publish()
        self.assertEqual(([tag[-1] for tag in ours.tags()], len(theirs.tags())), (["1", "2"], 1))

    def test_an_agent_that_listens_is_alive(self) -> None:
        agent_id = self.harness.join()
        self.listen(**{"X-Agent-ID": agent_id})
        self.assertIsNotNone(self.harness.registry.get(agent_id).last_poll)

    def test_heartbeats(self) -> None:
        caller = self.listen(self.harness.tag())
        self.harness.clock.advance(HEARTBEAT_SECONDS - 0.1)
        self.assertEqual(caller.events(), [])
        self.harness.clock.advance(0.1)
        first = self.harness.tag()
        second = self.publish()
        self.harness.clock.advance(HEARTBEAT_SECONDS)
        beats = [event.data.decode() for event in caller.events() if event.name == "heartbeat"]
        self.assertEqual(beats, [first, second])

    def test_a_stream_is_small(self) -> None:
        """With more than 30 attributes Python gives each request a whole dictionary of its own."""
        (request,) = self.listen().wire.protocol.requests
        self.assertLess(len(vars(request)), 30)

    def test_hang_up(self) -> None:
        """Nothing is left of a reader that went, or of one that is cut."""
        callers = [self.listen()]
        timers = len(self.harness.clock.getDelayedCalls())
        callers += [self.listen() for _ in range(4)]
        self.assertEqual(len(self.harness.config_stream), 5)
        for caller in callers[:3]:
            caller.hang_up()
        callers[3].wire.stall()
        self.publish()
        callers[3].hang_up()
        self.assertEqual(len(self.harness.config_stream), 1)
        self.assertEqual(len(self.harness.clock.getDelayedCalls()), timers)
        tag = self.publish()
        self.assertEqual(callers[4].tags()[-1], tag)

    def test_a_slow_reader_is_owed_the_newest_only(self) -> None:
        caller, other = self.listen(), self.listen()
        caller.wire.stall()
        second, *_, last = [self.publish(number) for number in range(20)]
        self.assertEqual(len(other.tags()), 21)
        self.assertLess(len(caller.wire.unsent), 1024, "nothing is queued for it")
        caller.wire.flow()
        self.assertEqual(caller.tags()[1:], [second, last])
        self.harness.clock.advance(60)
        self.assertFalse(caller.closed)
        self.assertEqual(caller.tags()[1:], [second, last])

    def test_a_reader_that_was_slow_and_missed_nothing(self) -> None:
        caller = self.listen(self.harness.tag())
        caller.wire.stall()
        self.harness.clock.advance(HEARTBEAT_SECONDS)
        caller.wire.flow()
        self.assertEqual(caller.tags(), [])

    def test_a_reader_that_takes_nothing_is_cut(self) -> None:
        """After 10 seconds, wherever they fall between the heartbeats; no one else is."""
        other = self.listen()
        for offset in (0.0, 3.0, 9.9):
            caller = self.listen()
            caller.wire.stall()
            self.harness.clock.advance(offset)
            self.publish()
            self.harness.clock.advance(STALLED_MAX_SECONDS - 0.1)
            self.assertFalse(caller.closed)
            self.harness.clock.advance(0.1)
            self.harness.clock.advance(0)
            self.assertTrue(caller.wire.aborted and caller.closed)
            self.assertEqual(len(self.harness.config_stream), 1)
        self.assertFalse(other.closed)

    def test_a_slow_link_has_time_for_a_large_event(self) -> None:
        reader, clock = FakeRequest(), Clock()
        stream = EventStream(Streams(clock), reader, "default")
        stream.begin()
        stream.write(b"x" * 4 * MIN_BYTES_PER_SECOND)
        stream.pauseProducing()
        clock.advance(STALLED_MAX_SECONDS + 3)
        self.assertFalse(reader.transport.aborted)
        clock.advance(1)
        self.assertTrue(reader.transport.aborted)

    def test_a_reader_that_catches_its_breath_in_time(self) -> None:
        caller = self.listen()
        for _ in range(3):
            caller.wire.stall()
            self.publish()
            self.harness.clock.advance(STALLED_MAX_SECONDS - 0.1)
            caller.wire.flow()
        self.harness.clock.advance(60)
        self.assertFalse(caller.closed)
        self.assertEqual(caller.tags()[-1], self.harness.tag())

    def test_a_namespace_that_is_retired(self) -> None:
        """Its streams are ended, and the others go on."""
        for name in ("a", "z"):
            config = {"name": name, "config": {"url": "http://x/"}}
            self.harness.caller().post("/api/v1/namespaces", json=config, auth=ADMIN)
        doomed = [self.listen(query=f"?namespace={name}") for name in ("a", "z", "a")]
        other = self.listen()
        doomed[2].wire.stall()
        self.harness.clock.advance(HEARTBEAT_SECONDS)
        for name in ("a", "z"):
            self.assertEqual(self.harness.caller().delete(f"/api/v1/namespaces/{name}", auth=ADMIN).status, 200)
        doomed[2].wire.flow()
        self.harness.clock.advance(HEARTBEAT_SECONDS)
        self.assertEqual([caller.replies()[0].whole for caller in doomed], [True] * 3)
        self.assertEqual(len(self.harness.config_stream), 1)
        self.harness.clock.advance(HEARTBEAT_SECONDS)
        self.assertEqual(len([event for event in other.events() if event.name == "heartbeat"]), 3)

    def test_stop(self) -> None:
        """All streams end in order, those that take nothing are cut, and the site has nothing to wait for."""
        callers = [self.listen() for _ in range(3)]
        callers[1].wire.stall()
        self.publish()
        self.assertIsNone(self.harness.config_stream.stopService())
        drained = self.harness.site.drain()
        self.harness.clock.advance(0)
        self.assertEqual([caller.closed for caller in callers], [True] * 3)
        self.assertEqual([caller.replies()[0].whole for caller in callers], [True, False, True])
        self.assertTrue(callers[1].wire.aborted)
        self.successResultOf(drained)
        self.assertEqual(len(self.harness.config_stream), 0)

    def test_nobody_joins_while_it_stops(self) -> None:
        self.assertIsNone(self.harness.config_stream.stopService())
        reply = self.harness.caller().get(STREAM, auth=AGENT)
        self.assertEqual((reply.status, reply.code, len(self.harness.config_stream)), (503, "stopping", 0))

    def test_head(self) -> None:
        """It gets the headers, and its connection is free again."""
        caller = self.harness.caller()
        reply = caller.request("HEAD", STREAM, auth=AGENT)
        self.assertEqual((reply.status, reply.headers["content-type"]), (200, "text/event-stream"))
        self.assertEqual(caller.request("HEAD", f"{STREAM}?namespace=nowhere", auth=AGENT).status, 404)
        self.assertEqual(caller.get(CONFIG, auth=AGENT).status, 200)
        self.assertEqual(len(self.harness.config_stream), 0)

    def test_http_1_0(self) -> None:
        """No chunks; the end of the connection is the end of the stream."""
        caller = self.harness.caller()
        caller.send(b"GET /api/v1/stream HTTP/1.0\r\nAuthorization: Basic YWdlbnQ6c2VjcmV0MTIz\r\n\r\n")
        second = self.publish()
        (reply,) = caller.replies()
        self.assertNotIn("transfer-encoding", reply.headers)
        self.assertEqual([event.id for event in Parser(9999).feed(reply.body)][-1], second)
        self.harness.config_stream.stopService()
        self.harness.clock.advance(0)
        self.assertTrue(caller.closed and caller.replies()[0].whole)

    def test_rotated_keys_are_no_change(self) -> None:
        caller = self.listen()
        self.assertEqual(self.harness.caller().post("/api/v1/signing-key/rotate", auth=ADMIN).status, 200)
        self.assertEqual(len(caller.events()), 1)
        self.publish()
        keys = parse_served(caller.events()[-1].data).keys
        self.assertEqual(keys, tuple(key.public for key in self.harness.identity.keys))


class FakeTransport:
    """A connection that takes bytes, and can be cut."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write, self.aborted = write, False

    def abortConnection(self) -> None:
        """Cut it."""
        self.aborted = True


class FakeRequest:
    """As much of a request as a reader needs; a crowd of real ones would take minutes."""

    method, chunked, sentLength = b"GET", 0, 0

    def __init__(self) -> None:
        self.channel = self
        self.transport = FakeTransport(self.write)
        self.producer: Any = None
        self.written = b""
        self.finished = False

    def setHeader(self, name: str, value: str) -> None:
        """Of no interest."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """To be paused by the test."""
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """No more."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """As L{twisted.web.http.Request.write} does."""
        if self.finished:
            raise RuntimeError("write after finish")
        self.written += data


class Crowd:
    """A hub with more readers than it serves in one turn of the reactor."""

    def __init__(self, size: int) -> None:
        self.clock = Clock()
        self.snapshot = Snapshot(lambda: (KEY,))
        self.snapshot.load(contents_of(configuration(1)))
        self.config_stream = ConfigStream(self.clock, self.snapshot)
        self.config_stream.startService()
        self.requests = [FakeRequest() for _ in range(size)]
        self.readers = [self.config_stream.join(request, "default", None) for request in self.requests]
        for request, reader in zip(self.requests, self.readers, strict=True):
            reader.done.addBoth(lambda _, request=request: setattr(request, "finished", True))

    def publish(self) -> None:
        """The next version."""
        made: Configuration = self.snapshot.require("default").configuration
        change = revision_change(configuration(made.version + 1))
        self.snapshot.apply(change)
        self.config_stream.apply(change)

    def turn(self) -> None:
        """One turn of the reactor: what is due now, and not yet what follows from it."""
        for call in self.clock.getDelayedCalls():
            if call.getTime() <= self.clock.seconds():
                act, arguments = call.func, call.args
                call.cancel()
                act(*arguments)

    def seen(self, number: int) -> list[int]:
        """The versions that a reader got."""
        events = Parser(1 << 20).feed(self.requests[number].written)
        return [int(event.id.rpartition(".")[2]) for event in events if event.name == "config"]


class CrowdTests(SynchronousTestCase):
    """L{ConfigStream}, with many readers."""

    def test_interface(self) -> None:
        verifyObject(IPushProducer, Crowd(1).readers[0])

    def test_the_clock_runs_on_while_they_are_sent(self) -> None:
        crowd = Crowd(2 * SUBSCRIBERS_PER_TURN + 1)
        crowd.publish()
        counts = [sum(len(crowd.seen(number)) == 2 for number in range(2 * SUBSCRIBERS_PER_TURN + 1))]
        for _ in range(2):
            crowd.turn()
            counts.append(sum(len(crowd.seen(number)) == 2 for number in range(2 * SUBSCRIBERS_PER_TURN + 1)))
        self.assertEqual(counts, [SUBSCRIBERS_PER_TURN, 2 * SUBSCRIBERS_PER_TURN, 2 * SUBSCRIBERS_PER_TURN + 1])

    def test_a_burst_of_publishes(self) -> None:
        """However many, there is one round under way: it takes the newest along, and another follows it."""
        crowd = Crowd(3 * SUBSCRIBERS_PER_TURN)
        timers = len(crowd.clock.getDelayedCalls())
        for _ in range(20):
            crowd.publish()
        crowd.turn()
        for _ in range(20):
            crowd.publish()
            self.assertEqual(len(crowd.clock.getDelayedCalls()), timers + 1)
        crowd.clock.advance(0)
        self.assertEqual(
            [crowd.seen(number) for number in (0, SUBSCRIBERS_PER_TURN, 2 * SUBSCRIBERS_PER_TURN)],
            [[1, 2, 41], [1, 21, 41], [1, 41]],
        )
        self.assertEqual(len(crowd.clock.getDelayedCalls()), timers)
        crowd.publish()
        crowd.clock.advance(0)
        self.assertEqual(
            [crowd.seen(number)[-1] for number in range(3 * SUBSCRIBERS_PER_TURN)], [42] * 3 * SUBSCRIBERS_PER_TURN
        )

    def test_a_reader_with_a_defect(self) -> None:
        """It harms nobody else, now or later."""
        crowd = Crowd(2 * SUBSCRIBERS_PER_TURN)
        crowd.requests[SUBSCRIBERS_PER_TURN + 5].transport.write = lambda _: 1 / 0  # type: ignore[assignment,method-assign]
        for _ in range(2):
            crowd.publish()
            crowd.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([crowd.seen(number)[-1] for number in (0, SUBSCRIBERS_PER_TURN + 6, -1)], [3, 3, 3])
        self.assertEqual(len(crowd.config_stream), 2 * SUBSCRIBERS_PER_TURN - 1)

    def test_a_heartbeat_reaches_all(self) -> None:
        crowd = Crowd(2 * SUBSCRIBERS_PER_TURN + 1)
        crowd.clock.pump([HEARTBEAT_SECONDS, 0, 0, 0])
        self.assertTrue(all(b"event: heartbeat\n" in request.written for request in crowd.requests))

    def test_those_that_leave_while_all_are_sent(self) -> None:
        crowd = Crowd(SUBSCRIBERS_PER_TURN + 3)
        crowd.publish()
        crowd.readers[-1].done.addErrback(lambda failure: failure.trap(CancelledError))
        crowd.readers[-1].done.cancel()
        crowd.readers[-2].end()
        crowd.clock.advance(0)
        self.assertEqual([crowd.seen(number) for number in (-1, -2, -3)], [[1], [1], [1, 2]])
        self.assertEqual(len(crowd.config_stream), SUBSCRIBERS_PER_TURN + 1)

    def test_stop_while_all_are_sent(self) -> None:
        crowd = Crowd(2 * SUBSCRIBERS_PER_TURN)
        crowd.publish()
        self.assertIsNone(crowd.config_stream.stopService())
        crowd.clock.pump([0] * 5)
        self.assertEqual((len(crowd.config_stream), crowd.clock.getDelayedCalls()), (0, []))

    def test_end_twice(self) -> None:
        crowd = Crowd(1)
        for _ in range(2):
            crowd.readers[0].end()
        self.assertTrue(crowd.requests[0].finished)

    @settings(max_examples=budget(15, 30), deadline=None)
    @given(st.lists(st.sampled_from(["publish", "turn", "stall", "flow", "leave"]), max_size=25), st.randoms())
    def test_never_an_older_one_after_a_newer(self, steps: list[str], random: Any) -> None:
        """However announcements, slices and slow readers interleave; in the end all who are there have the newest."""
        crowd = Crowd(SUBSCRIBERS_PER_TURN + 20)
        do: dict[str, Callable[[Subscriber], object]] = {
            "publish": lambda _: crowd.publish(),
            "turn": lambda _: crowd.turn(),
            "stall": Subscriber.pauseProducing,
            "flow": Subscriber.resumeProducing,
            "leave": Subscriber.end,
        }
        for step in steps:
            for reader in random.sample(crowd.readers, 1 if step in ("publish", "turn") else 15):
                do[step](reader)
        for reader in crowd.readers:
            if not reader.done.called:
                reader.resumeProducing()
        crowd.clock.pump([0] * 30)
        newest = crowd.snapshot.require("default").configuration.version
        for number, reader in enumerate(crowd.readers):
            seen = crowd.seen(number)
            self.assertEqual(seen, sorted(set(seen)))
            if not reader.done.called:
                self.assertEqual(seen[-1], newest)
        self.assertEqual(len(crowd.config_stream), sum(not reader.done.called for reader in crowd.readers))
