"""Values that are gathered in memory, and written together."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import Unavailable
from confd.runtime.write_behind import WriteBehind

FULL = Unavailable("storage_unavailable", "the disk is full")


class WriteBehindTests(SynchronousTestCase):
    """L{WriteBehind}."""

    def setUp(self) -> None:
        self.clock, self.written = Clock(), list[Any]()
        self.answers: list[Deferred[None]] = []
        self.values: WriteBehind[str, int] = WriteBehind(self.clock, 1.0, self.write, "sums", lambda a, b: a + b)
        self.values.startService()

    def write(self, values: Any) -> Deferred[None]:
        self.written.append(dict(values))
        return self.answers.pop(0) if self.answers else succeed(None)

    def put(self, **values: int) -> None:
        for key, value in values.items():
            self.values.put(key, value)

    def test_writes_all_values_of_an_interval_together(self) -> None:
        self.put(a=1, b=2)
        self.clock.advance(0.5)
        self.put(a=3)
        self.assertEqual((len(self.values), self.values.get("a"), self.written), (2, 4, []))
        self.clock.advance(0.5)
        self.assertEqual((len(self.values), self.values.get("a"), self.written), (0, None, [{"a": 4, "b": 2}]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_shows_values_that_are_being_written(self) -> None:
        self.answers = [Deferred()]
        writing = self.answers[0]
        self.put(a=1)
        self.clock.advance(1)
        self.assertEqual((len(self.values), self.values.get("a")), (1, 1))
        self.put(b=2)
        self.clock.advance(5)
        self.assertEqual(self.written, [{"a": 1}])
        writing.callback(None)
        self.assertEqual((len(self.values), self.values.get("a")), (1, None))
        self.clock.advance(1)
        self.assertEqual(self.written, [{"a": 1}, {"b": 2}])

    def test_tries_again_what_could_not_be_written(self) -> None:
        self.answers = [fail(FULL), Deferred()]
        again = self.answers[1]
        self.put(a=1)
        self.clock.advance(1)
        self.put(a=2, b=5)
        self.clock.advance(1)
        self.put(a=10)
        again.errback(FULL)
        self.clock.advance(1)
        self.assertEqual(self.written, [{"a": 1}, {"a": 3, "b": 5}, {"a": 13, "b": 5}])

    def test_reports_a_defect_and_goes_on(self) -> None:
        self.answers = [fail(ZeroDivisionError())]
        self.put(a=1)
        self.clock.pump([1, 1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.written, [{"a": 1}, {"a": 1}])

    def test_flush_waits_for_the_write_under_way_and_for_what_came_since(self) -> None:
        self.answers = [Deferred(), Deferred()]
        first, second = self.answers
        self.put(a=1)
        self.clock.advance(1)
        self.put(b=2)
        flushed = self.values.flush()
        first.callback(None)
        self.assertNoResult(flushed)
        second.callback(None)
        self.successResultOf(flushed)
        self.assertEqual(self.written, [{"a": 1}, {"b": 2}])

    def test_stop_waits_for_the_write_under_way_and_writes_what_is_left(self) -> None:
        self.answers = [Deferred()]
        writing = self.answers[0]
        self.put(a=1)
        self.clock.advance(1)
        self.put(b=2)
        stopped = self.values.stopService()
        self.assertNoResult(stopped)
        writing.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.written, [{"a": 1}, {"b": 2}])

    def test_writes_at_once_after_the_stop(self) -> None:
        self.successResultOf(self.values.stopService())
        self.put(a=1)
        self.assertEqual(self.written, [{"a": 1}])

    def test_stop_reports_what_is_lost(self) -> None:
        self.answers = [fail(FULL)]
        self.put(a=1, b=2)
        with capturedLogs() as logs:
            self.successResultOf(self.values.stopService())
        self.assertEqual([(each["count"], each["what"]) for each in logs], [(2, "sums")])
