"""Crashes at the steps where a claim without a reload could arise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.outputs.machine import Machine, command, configuration

V1, V2, V3 = configuration(1, {"a": 1}), configuration(2, {"a": 2}), configuration(3, {"a": 1})


class Crash(BaseException):
    """The agent was killed."""


class CrashTests(SynchronousTestCase):
    """A reload is owed after a crash between the change of the file and the end of the reload."""

    def setUp(self) -> None:
        self.machine = Machine(self.mktemp())
        self.machine.add("x.json", reload=command(self.machine.script("reload")))
        self.machine.start()
        self.successResultOf(self.machine.set.deliver(V1))
        self.machine.ran()

    def crash(self, configuration: object, names: list[str]) -> None:
        """
        Apply a configuration, kill the agent before a step, and start it again.

        @param names: of the file work, in order; the last one does not happen.
        """
        left = list(names)

        def in_thread(work: Callable[..., Any], *rest: object) -> Deferred[Any]:
            if left and work.__name__ == left[0]:
                left.pop(0)
                if not left:
                    raise Crash
            return maybeDeferred(work, *rest)

        self.machine.in_thread = in_thread
        self.failureResultOf(self.machine.set.deliver(configuration), Crash)  # type: ignore[arg-type]
        self.machine.in_thread = maybeDeferred
        self.machine.start()

    def applied_after(self, configuration: object) -> list[str]:
        """Apply a configuration, and return the commands that ran for it."""
        self.machine.ran()
        self.successResultOf(self.machine.set.deliver(configuration))  # type: ignore[arg-type]
        return self.machine.ran()

    def test_before_the_reload(self) -> None:
        self.crash(V2, ["commit", "checked"])
        self.assertEqual(self.machine.text("x.json"), '{"a":2}')
        self.assertEqual(self.applied_after(V2), ['reload {"a":2}'])

    def test_before_the_marker_is_written_and_again_before_the_reload_of_the_old_content(self) -> None:
        """The marker of the old content does not count: the program has read the new one in between."""
        self.crash(V2, ["commit", "checked", "change"])
        self.assertEqual(self.machine.ran(), ['reload {"a":2}'])
        self.crash(V3, ["commit", "checked"])
        self.assertEqual(self.machine.text("x.json"), '{"a":1}')
        self.assertEqual(self.applied_after(V3), ['reload {"a":1}'])
