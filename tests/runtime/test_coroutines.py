"""Tests of L{confd.runtime.coroutines}: a coroutine does the same as in a L{Deferred} of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.coroutines import begin

#: What a coroutine awaits: a result or an error, there already or later, and whether it handles an error.
WAITS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=5)


class Script:
    """
    A coroutine that awaits what it is told.

    @ivar trace: what came of each wait.
    @ivar pending: what it has not been given yet.
    """

    def __init__(self, waits: list[tuple[bool, bool, bool]], fails: bool) -> None:
        self._waits, self._fails = waits, fails
        self.trace: list[str] = []
        self.pending: list[tuple[Deferred[object], object]] = []

    def _wait(self, number: int, errs: bool, later: bool) -> Deferred[object]:
        result = ZeroDivisionError(number) if errs else number
        if not later:
            return fail(result) if isinstance(result, Exception) else succeed(result)
        waited: Deferred[object] = Deferred()
        self.pending.append((waited, result))
        return waited

    async def run(self) -> None:
        for number, (errs, later, handles) in enumerate(self._waits):
            try:
                self.trace.append(f"got {await self._wait(number, errs, later)}")
            except BaseException as error:
                self.trace.append(f"caught {error!r}")
                if not handles:
                    raise
        if self._fails:
            raise KeyError("the end")


def in_a_deferred(work: Any, failed: Callable[[Failure], None]) -> Deferred[None]:
    """Run a coroutine in a L{Deferred}."""
    return Deferred.fromCoroutine(work).addErrback(failed)


def outcome(start: Callable[..., Any], script: Script, cancel_at: int | None) -> list[str]:
    """Return all that a coroutine did, and the error with which it ended."""
    errors: list[str] = []
    work = start(script.run(), lambda failure: errors.append(repr(failure.value)))
    step = 0
    while script.pending:
        waited, result = script.pending.pop(0)
        if step == cancel_at and work is not None:
            work.cancel()
        else:
            waited.callback(result)
        step += 1
    return script.trace + errors


class BeginTests(SynchronousTestCase):
    """L{begin}."""

    @given(WAITS, st.booleans(), st.none() | st.integers(0, 4))
    def test_a_coroutine_does_the_same_as_in_a_deferred(
        self, waits: list[tuple[bool, bool, bool]], fails: bool, cancel_at: int | None
    ) -> None:
        begun = outcome(begin, Script(waits, fails), cancel_at)
        self.assertEqual(begun, outcome(in_a_deferred, Script(waits, fails), cancel_at))

    def test_a_coroutine_that_waits_for_nothing_has_ended(self) -> None:
        failures: list[Failure] = []
        self.assertIsNone(begin(Script([(False, False, False)], False).run(), failures.append))
        self.assertEqual(failures, [])
        self.assertIsNone(begin(Script([], True).run(), failures.append))
        [failure] = failures
        failure.trap(KeyError)
        self.assertIn("in run", failure.getTraceback())

    def test_a_cancelled_wait_is_cancelled(self) -> None:
        script, failures = Script([(False, True, False)], False), []  # type: Script, list[Failure]
        work = begin(script.run(), failures.append)
        assert work is not None
        work.cancel()
        [failure] = failures
        failure.trap(CancelledError)
        self.assertTrue(script.pending[0][0].called)
        self.assertEqual(script.trace, ["caught CancelledError()"])
