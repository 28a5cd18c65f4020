"""Reads of single rows that share their statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.store.batched_reads import MAX_BATCH_ROWS, BatchedReads
from confd.errors import Unavailable


class BatchedReadsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.under_way: list[tuple[Sequence[str], Deferred[Mapping[str, int]]]] = []
        self.reads = BatchedReads[str, int](self.read)

    def read(self, keys: Sequence[str]) -> Deferred[Mapping[str, int]]:
        answer: Deferred[Mapping[str, int]] = Deferred()
        self.under_way.append((keys, answer))
        return answer

    def answer(self, rows: Mapping[str, int]) -> Sequence[str]:
        """Answer the read that is under way; return its keys."""
        ((keys, answer),) = self.under_way
        self.under_way.clear()
        answer.callback(rows)
        return keys

    def test_first_row_is_read_at_once(self) -> None:
        found = self.reads.find("a")
        self.assertEqual(self.answer({"a": 1}), ["a"])
        self.assertEqual(self.successResultOf(found), 1)
        self.assertEqual(self.under_way, [])

    def test_rows_that_come_during_a_read_share_the_next_one(self) -> None:
        """A read that is under way is not good enough for a later question: its row may be old."""
        first = self.reads.find("a")
        later = [self.reads.find(each) for each in ("b", "a", "b", "c")]
        self.answer({"a": 1})
        self.assertEqual(self.successResultOf(first), 1)
        self.assertEqual(self.answer({"a": 2, "b": 3}), ["b", "a", "c"])
        self.assertEqual([self.successResultOf(each) for each in later], [3, 2, 3, None])

    def test_batches_are_small(self) -> None:
        found = [self.reads.find(str(number)) for number in range(MAX_BATCH_ROWS + 2)]
        sizes = []
        while self.under_way:
            sizes.append(len(self.answer({})))
        self.assertEqual(sizes, [1, MAX_BATCH_ROWS, 1])
        self.assertEqual([self.successResultOf(each) for each in found], [None] * len(found))

    def test_failure_reaches_its_batch_only(self) -> None:
        first, second = self.reads.find("a"), self.reads.find("b")
        ((_, read),) = self.under_way
        self.under_way.clear()
        read.errback(Unavailable("storage_unavailable", "No database."))
        self.failureResultOf(first, Unavailable)
        self.answer({"b": 1})
        self.assertEqual(self.successResultOf(second), 1)

    def test_read_that_raises_fails(self) -> None:
        def read(keys: Sequence[str]) -> Deferred[Mapping[str, int]]:
            raise Unavailable("starting", "Not open.")

        reads = BatchedReads[str, int](read)
        for _ in range(2):
            self.failureResultOf(reads.find("a"), Unavailable)

    def test_cancelled_question_disturbs_no_other(self) -> None:
        first, second = self.reads.find("a"), self.reads.find("a")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.answer({"a": 1})
        self.answer({"a": 1})
        self.assertEqual(self.successResultOf(second), 1)
