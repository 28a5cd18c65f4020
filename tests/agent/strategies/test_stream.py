"""Tests of L{confd.agent.strategies.stream}."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.strategies.stream import SILENCE_MAX_SECONDS, Stream
from confd.codec import bodies, sse
from confd.errors import Malformed, TooMany, Unavailable
from confd.interfaces import POLL
from confd.model import Configuration, ServedConfig, Tag
from confd.runtime.timing import Backoff
from confd.testing import MemorySink, make_istrategy_tests
from tests.agent.fakes import AGENT_ID, KEY, FakeController, configuration

HINT = ("hint",)
DOWN = Unavailable("down", "No controller answers.")

#: Seconds that the first and the longest pause between two connections take at most.
FIRST, LONGEST = 4.0, 30.0


class KnowingSink(MemorySink):
    """A sink that has a version, and decodes bodies."""

    tag: Tag | None = configuration(5).tag

    def known(self) -> Tag | None:
        return self.tag

    def served(self, raw: bytes, named: str) -> Deferred[str | None]:
        return execute(self._served, raw, named)

    def _served(self, raw: bytes, named: str) -> None:
        self.heard.append(("served", bodies.parse_served(raw, "default", named)))


def event(made: Configuration) -> bytes:
    """Return the event of a configuration."""
    return sse.frame("config", bodies.configuration_body(made, [KEY.public]), str(made.tag))


def heartbeat(text: str) -> bytes:
    """Return a heartbeat."""
    return sse.frame("heartbeat", text.encode())


def away(_: SynchronousTestCase) -> tuple[Stream, Clock]:
    """Return a strategy whose controller is down."""
    clock = Clock()
    controller = FakeController(failure=DOWN)
    return Stream(clock, controller, "default", str, Backoff(Random(1), LONGEST, FIRST)), clock


class StreamContractTests(make_istrategy_tests(away)):  # type: ignore[misc]
    """The contract of strategies."""


class StreamTests(SynchronousTestCase):
    """L{Stream}, of an agent that knows version 5."""

    def setUp(self) -> None:
        self.clock, self.controller, self.sink = Clock(), FakeController(), KnowingSink()
        backoff = Backoff(Random(1), LONGEST, FIRST)
        self.strategy = Stream(self.clock, self.controller, "default", lambda: AGENT_ID, backoff)
        self.strategy.start(self.sink)

    def receive(self, raw: bytes) -> None:
        """Receive bytes on the newest stream; an error ends the stream, as L{IControllerClient} says."""
        _, received, ended = self.controller.streams[-1]
        received(raw).addErrback(ended.errback)

    @property
    def connections(self) -> int:
        """Number of connections."""
        return len(self.controller.streams)

    def pauses(self, times: int, break_off: Any) -> list[float]:
        """Return the seconds between connections."""
        found = []
        for _ in range(times):
            break_off()
            before, since = self.connections, self.clock.seconds()
            while self.connections == before:
                self.clock.advance(0.25)
            found.append(self.clock.seconds() - since)
        return found

    def test_it_connects_with_the_newest_tag(self) -> None:
        self.assertEqual(self.controller.streams[0][0], configuration(5).tag)
        self.sink.tag = configuration(6).tag
        self.controller.streams[0][2].callback(None)
        self.clock.advance(FIRST)
        self.assertEqual(self.controller.streams[1][0], configuration(6).tag)

    def test_a_configuration_reaches_the_sink(self) -> None:
        self.receive(event(configuration(6)))
        self.assertEqual(self.sink.heard, [("served", ServedConfig(configuration(6), (KEY.public,)))])

    def test_events_arrive_in_pieces_of_any_size(self) -> None:
        for byte in sse.COMMENT + event(configuration(6)) + event(configuration(7)):
            self.receive(bytes([byte]))
        self.assertEqual([served.configuration.version for _, served in self.sink.heard], [6, 7])

    def test_half_an_event_ends_with_its_connection(self) -> None:
        whole = event(configuration(6))
        self.receive(whole[:50])
        self.controller.streams[0][2].callback(None)
        self.clock.advance(FIRST)
        self.receive(whole)
        self.assertEqual(len(self.sink.heard), 1)

    def test_only_a_heartbeat_with_a_newer_tag_is_a_hint(self) -> None:
        """Equal, older and unknown tags are no hints."""
        known = configuration(5).tag
        for tag in (known, configuration(4).tag, "99999999.1.9", "7"):
            self.receive(heartbeat(str(tag)))
        self.assertEqual(self.sink.heard, [])
        self.receive(heartbeat(str(configuration(6).tag)))
        self.assertEqual(self.sink.heard, [HINT])
        self.sink.tag = None
        self.receive(heartbeat(str(known)))
        self.assertEqual(self.sink.heard, [HINT, HINT])

    def test_a_heartbeat_of_an_unpublished_version_is_no_hint_to_an_agent_of_the_go_system(self) -> None:
        """A poll would change nothing."""
        unpublished, published = str(Tag("9f8b6c1e", 1, 1)), str(Tag("9f8b6c1e", 1, 2))
        self.sink.tag = Tag("", 0, 41)
        for _ in range(3):
            self.receive(heartbeat(unpublished))
        self.assertEqual(self.sink.heard, [])
        self.receive(heartbeat(published))
        self.assertEqual(self.sink.heard, [HINT])
        self.sink.tag = None
        self.receive(heartbeat(unpublished))
        self.assertEqual(self.sink.heard, [HINT, HINT], "who holds nothing takes it")

    def test_a_heartbeat_of_version_1_in_another_namespace_is_a_hint(self) -> None:
        """Version 1 of another namespace was published."""
        strategy = Stream(self.clock, self.controller, "blue", lambda: AGENT_ID, Backoff(Random(1), LONGEST, FIRST))
        self.sink.tag = Tag("", 0, 41)
        strategy.start(self.sink)
        self.receive(heartbeat("9f8b6c1e.1.1"))
        self.assertEqual(self.sink.heard, [HINT])
        self.successResultOf(strategy.stop())

    def test_a_stream_without_an_id_reconnects_after_the_registration(self) -> None:
        """The controller can end only a stream that names its agent, after the agent is deleted."""
        names = [""]
        controller = FakeController()
        strategy = Stream(self.clock, controller, "default", lambda: names[-1], Backoff(Random(1), LONGEST, FIRST))
        strategy.start(self.sink)
        self.controller = controller
        beat = heartbeat(str(configuration(5).tag))
        self.receive(beat)
        self.assertEqual(self.connections, 1)
        names.append(AGENT_ID)
        with capturedLogs() as logs:
            self.receive(beat)
            self.clock.advance(0)
            self.receive(beat)
        self.assertEqual((self.connections, strategy.path()), (2, "STREAM"))
        self.assertEqual([each["log_level"].name for each in logs], ["debug"], "no trouble")
        self.successResultOf(strategy.stop())

    def test_unknown_events_are_ignored(self) -> None:
        self.receive(sse.frame("fanfare", b"{}") + b"retry: 1\n\n: hello\n\n")
        self.assertEqual((self.sink.heard, self.strategy.path()), ([], "STREAM"))

    def test_three_missing_heartbeats_end_the_connection(self) -> None:
        """The strategy reconnects."""
        self.receive(sse.COMMENT)
        self.clock.advance(SILENCE_MAX_SECONDS - 1)
        self.receive(heartbeat(str(configuration(5).tag)))
        self.clock.advance(SILENCE_MAX_SECONDS - 1)
        self.assertEqual((self.connections, self.strategy.path()), (1, "STREAM"))
        self.clock.advance(1)
        self.assertEqual(self.strategy.path(), POLL)
        self.clock.advance(FIRST)
        self.assertEqual(self.connections, 2)

    def test_a_silent_connection_ends(self) -> None:
        self.clock.advance(SILENCE_MAX_SECONDS)
        self.clock.advance(FIRST)
        self.assertEqual((self.connections, self.strategy.path()), (2, POLL))

    def test_a_malformed_event_ends_only_the_connection(self) -> None:
        """The delays grow."""
        forged = event(configuration(6)).replace(b"example.org", b"example.com")
        for rubbish in (sse.frame("config", b"{"), sse.frame("config", b"[]"), forged, heartbeat("ü"), heartbeat("")):
            pauses = self.pauses(8, lambda rubbish=rubbish: self.receive(rubbish))
            self.assertGreater(max(pauses), FIRST)
            self.assertLessEqual(max(pauses), LONGEST)
        self.assertEqual(self.sink.heard, [])
        self.receive(event(configuration(6)))
        self.assertEqual(len(self.sink.heard), 1)

    def test_an_endless_line_ends_the_connection(self) -> None:
        for _ in range(bodies.MAX_ANSWER_BYTES // 65536):
            self.receive(b"x" * 65536)
        self.assertEqual(self.strategy.path(), "STREAM")
        self.receive(b"x")
        self.assertEqual(self.strategy.path(), POLL)

    def test_delays_grow_while_the_controller_hangs_up(self) -> None:
        """The delays grow up to the cap, and a good event resets them."""
        self.assertGreater(max(self.pauses(12, lambda: self.controller.streams[-1][2].callback(None))), FIRST)
        self.receive(heartbeat(str(configuration(5).tag)))
        self.assertLessEqual(self.pauses(1, lambda: self.controller.streams[-1][2].errback(DOWN))[0], FIRST)

    def test_retry_after_is_the_shortest_delay(self) -> None:
        """The bound applies once; a stream that breaks off later has an ordinary delay."""
        for kind in (Unavailable, TooMany):
            busy = kind("busy", "Later.")
            busy.retry_after = 60
            (pause,) = self.pauses(1, lambda busy=busy: self.controller.streams[-1][2].errback(busy))
            self.assertTrue(60 <= pause <= 75, pause)
        (pause,) = self.pauses(1, lambda: self.controller.streams[-1][2].callback(None))
        self.assertLessEqual(pause, LONGEST)

    def test_a_defect_of_the_sink_is_logged_and_the_stream_reconnects(self) -> None:
        self.sink.served = lambda *_: 1 / 0  # type: ignore[method-assign]
        self.receive(event(configuration(6)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(FIRST)
        self.assertEqual((self.connections, self.strategy.path()), (2, POLL))

    def test_events_wait_for_a_large_one_before_them(self) -> None:
        """The heartbeat after a configuration that is being decoded is compared with that configuration."""
        decoding: Deferred[str | None] = Deferred()
        self.sink.served = lambda *_: decoding  # type: ignore[method-assign]
        self.receive(event(configuration(6)) + heartbeat(str(configuration(6).tag)))
        self.assertEqual(self.sink.heard, [])
        self.sink.tag = configuration(6).tag
        decoding.callback(None)
        self.assertEqual((self.sink.heard, self.connections), ([], 1))

    def test_a_large_event_that_is_malformed_ends_the_connection(self) -> None:
        decoding: Deferred[str | None] = Deferred()
        self.sink.served = lambda *_: decoding  # type: ignore[method-assign]
        self.receive(event(configuration(6)))
        self.assertEqual(self.strategy.path(), "STREAM")
        decoding.errback(Malformed("not_json", "The body is not JSON."))
        self.assertEqual(self.strategy.path(), POLL)
        self.clock.advance(FIRST)
        self.assertEqual(self.connections, 2)

    def test_path_is_the_stream_while_it_is_open(self) -> None:
        self.assertEqual(self.strategy.path(), POLL)
        self.receive(sse.COMMENT)
        self.assertEqual((self.strategy.path(), self.strategy.connections), ("STREAM", 1))
        self.controller.streams[0][2].callback(None)
        self.assertEqual((self.strategy.path(), self.strategy.connections), (POLL, 1))

    def test_stop_leaves_nothing_in_any_state(self) -> None:
        """The states are connecting, reading and waiting; a stop logs nothing."""
        lines: list[LogEvent] = []
        for prepare in (
            lambda: None,
            lambda: self.receive(sse.COMMENT),
            lambda: self.receive(event(configuration(6))[:40]),
            lambda: self.controller.streams[-1][2].callback(None),
        ):
            prepare()
            globalLogPublisher.addObserver(lines.append)
            self.successResultOf(self.strategy.stop())
            globalLogPublisher.removeObserver(lines.append)
            self.assertEqual((self.clock.getDelayedCalls(), self.strategy.path(), lines), ([], POLL, []))
            self.assertTrue(self.controller.streams[-1][2].called)
            self.strategy.start(self.sink)
        self.assertEqual(self.connections, 5)

    def test_a_problem_is_logged_once(self) -> None:
        lines: list[str] = []

        def remember(event: LogEvent) -> None:
            if event["log_level"].name == "warn":
                lines.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(remember)
        self.addCleanup(globalLogPublisher.removeObserver, remember)
        self.pauses(10, lambda: self.controller.streams[-1][2].errback(DOWN))
        self.assertEqual(len(lines), 1)
        self.assertIn("No controller answers.", lines[0])
