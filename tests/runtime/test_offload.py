"""Tests of L{confd.runtime.offload}."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.offload import LARGE_BYTES, Offload, OrderedOffload
from tests.agent.fakes import HeldThreads


class OffloadTests(SynchronousTestCase):
    """L{Offload}, and what L{OrderedOffload} shares with it."""

    def setUp(self) -> None:
        self.threads = HeldThreads()

    def test_small_work_runs_at_once(self) -> None:
        for kind in (Offload, OrderedOffload):
            running = Deferred.fromCoroutine(kind(self.threads).run(LARGE_BYTES - 1, len, "four"))
            self.assertEqual((self.successResultOf(running), len(self.threads.held)), (4, 0), kind)

    def test_large_work_runs_in_a_thread(self) -> None:
        for kind in (Offload, OrderedOffload):
            running = Deferred.fromCoroutine(kind(self.threads).run(LARGE_BYTES, len, "four"))
            self.assertNoResult(running)
            self.threads.run()
            self.assertEqual(self.successResultOf(running), 4, kind)


class OrderedOffloadTests(SynchronousTestCase):
    """L{OrderedOffload}."""

    def setUp(self) -> None:
        self.threads = HeldThreads()
        self.offload = OrderedOffload(self.threads)
        self.ended: list[object] = []

    def run_work(self, size: int, what: object) -> Deferred[Any]:
        """Run work that returns C{what}, and keep the order in which callers go on."""

        async def call() -> None:
            self.ended.append(await self.offload.run(size, lambda: what))

        return Deferred.fromCoroutine(call())

    def test_small_work_waits_for_large_work_before_it(self) -> None:
        for size, what in ((LARGE_BYTES, "large"), (1, "small"), (LARGE_BYTES, "second large"), (2, "second small")):
            self.run_work(size, what)
        self.assertEqual((self.ended, self.offload.pending, self.offload.pending_bytes), ([], 4, 2 * LARGE_BYTES + 3))
        self.assertEqual(len(self.threads.held), 1, "one at a time")
        self.assertEqual(self.threads.run_all(), 4)
        self.assertEqual(self.ended, ["large", "small", "second large", "second small"])
        self.assertEqual((self.offload.pending, self.offload.pending_bytes), (0, 0))

    def test_a_call_by_a_caller_that_goes_on_waits_behind_the_others(self) -> None:
        async def twice() -> None:
            self.ended.append(await self.offload.run(LARGE_BYTES, lambda: "first"))
            self.ended.append(await self.offload.run(1, lambda: "last"))

        Deferred.fromCoroutine(twice())
        self.run_work(1, "second")
        self.threads.run_all()
        self.assertEqual(self.ended, ["first", "second", "last"])

    def test_a_failure_is_that_of_its_caller_alone(self) -> None:
        failing = Deferred.fromCoroutine(self.offload.run(LARGE_BYTES, lambda: 1 // 0))
        self.run_work(1, "next")
        self.threads.run_all()
        self.failureResultOf(failing, ZeroDivisionError)
        self.assertEqual(self.ended, ["next"])

    def test_a_call_that_is_cancelled_does_not_run(self) -> None:
        self.run_work(LARGE_BYTES, "first")
        cancelled = self.run_work(LARGE_BYTES, "cancelled")
        self.run_work(1, "last")
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(self.threads.run_all(), 2)
        self.assertEqual(self.ended, ["first", "last"])

    def test_cancel_ends_all_calls_and_later_ones_wait_for_the_thread(self) -> None:
        calls = [self.run_work(LARGE_BYTES, "in the thread"), self.run_work(1, "waiting")]
        self.offload.cancel()
        for call in calls:
            self.failureResultOf(call, CancelledError)
        self.run_work(1, "later")
        self.assertEqual(self.ended, [])
        self.threads.run_all()
        self.assertEqual((self.ended, self.offload.pending), (["later"], 0))
