"""
Health after apply: whether the programs that took a configuration still run well.

A probe answers whether a program started. Health answers whether it still runs a minute later, so that a rollout can
stop. The agent itself never rolls back because of health.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.errors import Unprocessable
from confd.interfaces import HealthCheck, IHealth
from confd.reports import Report, ReportState
from confd.runtime.timing import Periodic


@define(eq=False)
class Monitored:
    """
    One output and its health.

    @ivar name: of the output.
    @ivar check: how the output is asked.
    @ivar run: runs the check once; fails with L{Unprocessable} and one sentence.
    @ivar content: returns what identifies the content of the output now.
    @ivar keep: remembers across restarts why the output is unhealthy; an empty text is healthy.
    @ivar remembered: returns what was kept before a restart.
    @ivar words: why the output is unhealthy; empty while it is healthy.
    @ivar failures: failed runs in a row.
    """

    name: str
    check: HealthCheck
    run: Callable[[], Deferred[None]]
    content: Callable[[], str]
    keep: Callable[[str], Deferred[None]]
    remembered: Callable[[], str]
    words: str = ""
    failures: int = field(default=0, init=False)
    #: The content that health was judged of; empty before the first apply.
    seen: str = field(default="", init=False)
    #: Whether the content is new, so that the first run comes after one interval.
    fresh: bool = field(default=False, init=False)

    @property
    def healthy(self) -> bool:
        """Whether the check has not failed too often since the content changed."""
        return not self.words or (self.seen != "" and self.content() != self.seen)


@implementer(IHealth)
class HealthMonitor(Service):
    """Runs the health checks of all outputs while the newest configuration is applied."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        outputs: Sequence[Monitored],
        report: Callable[[], Report | None],
        changed: Callable[[], None],
        several: bool = False,
    ) -> None:
        """
        @param outputs: in the order of the set.
        @param report: returns the result of the newest configuration, regardless of health.
        @param changed: called at each transition.
        @param several: whether sentences name the output.
        """
        self.outputs = outputs
        self._report, self._changed, self._several = report, changed, several
        self._repairs = 0
        self._running: set[Deferred[None]] = set()
        self._loops = [
            Periodic(clock, lambda each=each: self._round(each), lambda each=each: each.check.interval)  # type: ignore[misc]
            for each in outputs
        ]

    def startService(self) -> None:
        """Begin to check."""
        super().startService()
        for loop in self._loops:
            loop.startService()

    def stopService(self) -> Deferred[None] | None:
        """Stop; a run under way ends at once."""
        super().stopService()
        self.interrupt()
        for loop in self._loops:
            loop.stopService()
        return None

    def interrupt(self) -> None:
        """End the runs under way, which then do not count: an apply begins."""
        for each in list(self._running):
            each.cancel()

    def problem(self) -> str | None:
        """Return the sentence of the first unhealthy output."""
        unhealthy = [each for each in self.outputs if not each.healthy]
        if not unhealthy:
            return None
        first, others = unhealthy[0], len(unhealthy) - 1
        times = first.check.failures
        failed = "once" if times == 1 else f"{times} times in a row"
        more = f" So did {others} other output{'s' if others > 1 else ''}." if others else ""
        prefix = f"{first.name}: " if self._several else ""
        return f"{prefix}Applied, but the health check failed {failed}: {first.words}{more}"

    def amend(self, report: Report | None) -> Report | None:
        """Return a report with the health of the outputs: C{applied} becomes C{failed} while one is unhealthy."""
        problem = self.problem()
        if problem is None or report is None or report.state is not ReportState.APPLIED:
            return report
        return evolve(report, state=ReportState.FAILED, error=problem)

    def refresh(self) -> None:
        """Follow the newest configuration: an apply ends the runs, and new content starts healthy."""
        report = self._report()
        if report is None or report.state is not ReportState.APPLIED:
            self.interrupt()
            return
        for output, loop in zip(self.outputs, self._loops, strict=True):
            content = output.content()
            if content == output.seen:
                continue
            first, output.seen, output.failures = not output.seen, content, 0
            if first:
                output.words = output.remembered()
            elif output.words:
                output.words = ""
                output.keep("")
            # What was unhealthy before a restart of the agent is checked at once.
            output.fresh = not output.words
            if self.running:
                loop.stopService()
                loop.startService()

    async def _round(self, output: Monitored) -> None:
        report = self._report()
        if report is None or report.state is not ReportState.APPLIED or not output.seen:
            # Drift and failed applies come first: health pauses.
            return
        if output.fresh:
            output.fresh = False
            return
        if report.repairs != self._repairs:
            self._repairs = report.repairs
            for each in self.outputs:
                each.failures = 0
        run = output.run()
        self._running.add(run)
        try:
            await run
        except CancelledError:
            return
        except Unprocessable as error:
            output.failures += 1
            if output.failures >= output.check.failures and output.healthy:
                await self._turn(output, error.message.removeprefix("The health check "))
        else:
            output.failures = 0
            if not output.healthy:
                await self._turn(output, "")
        finally:
            self._running.discard(run)

    async def _turn(self, output: Monitored, words: str) -> None:
        """Make an output healthy or unhealthy."""
        output.words = words
        if words:
            self.log.warn("output {output}: {reason}", output=output.name, reason=words)
        else:
            self.log.info("output {output}: recovered", output=output.name)
        self._changed()
        await output.keep(words)
