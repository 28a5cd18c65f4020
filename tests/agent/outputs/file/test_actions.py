"""Commands and requests after a reload."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.outputs.file.actions import PROBE_PAUSE_SECONDS, ActionRunner
from confd.agent.outputs.file.commands import CommandResult
from confd.errors import Unprocessable
from tests.agent.outputs.machine import command


class ProbeTests(SynchronousTestCase):
    """L{ActionRunner.probe}."""

    def setUp(self) -> None:
        self.clock, self.attempts = Clock(), list[Deferred[CommandResult]]()

    def probe(self, within: float) -> Deferred[None]:
        """Probe with a command whose results come from C{attempts}."""

        def run(*_: object) -> Deferred[CommandResult]:
            self.attempts.append(Deferred())
            return self.attempts[-1]

        return ActionRunner(self.clock, run, {}).probe("x", command("/bin/probe"), {}, 10.0, within, True)

    def end(self, status: int | None, after: float = 0.0) -> None:
        """End the newest attempt after so many seconds; without a status it had to be killed."""
        self.clock.advance(after)
        self.attempts[-1].callback(CommandResult(status))

    def test_an_attempt_that_the_deadline_cuts_short_hides_no_reason(self) -> None:
        probing = self.probe(PROBE_PAUSE_SECONDS + 0.2)
        self.end(1)
        self.clock.advance(PROBE_PAUSE_SECONDS)
        self.end(None, after=0.2)
        error = self.failureResultOf(probing, Unprocessable).value
        self.assertIn("did not succeed within 0.7 s: ended with status 1.", error.message)

    def test_the_only_attempt_is_cut_short(self) -> None:
        probing = self.probe(1.0)
        self.end(None, after=1.0)
        error = self.failureResultOf(probing, Unprocessable).value
        self.assertIn("did not end within 1 s", error.message)
