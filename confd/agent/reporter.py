"""
Report to the controller the state of the newest configuration.

A report is complete and is made at the moment of sending, so it is never out of date and needs no earlier report. It is
sent once, at a random moment in the window of the controller. It is sent again after a failure, after a registration,
and now and then in any case: the controller rejects a report that it already has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.agent.registration import RegistrationService
from confd.agent.version_guard import VersionGuard
from confd.agent.worker_sync import WorkerSync
from confd.errors import ConfdError, Conflict, NotFound, Unprocessable
from confd.interfaces import IControllerClient
from confd.reports import Report, ReportState, Timings
from confd.runtime.problem import Problem
from confd.runtime.timing import Backoff, Periodic

#: Seconds after which a delivery in progress is reported.
APPLYING_AFTER_SECONDS = 0.5

#: Shortest time between a report and its repetition, for a controller that was restored from a backup.
REPEAT_AFTER_SECONDS = 600.0

#: Seconds after which an agent reports again to a controller without an endpoint for reports.
UNSUPPORTED_RETRY_SECONDS = 3600.0

#: Longest time that the last report may take when the agent stops.
STOP_GRACE_SECONDS = 2.0

#: Results of a report.
SENT, REPEATED, REFUSED, FAILED = "sent", "repeated", "refused", "failed"


@frozen(eq=False)
class ReportSource:
    """Make the current report of the agent."""

    _version_guard: VersionGuard
    _worker_sync: WorkerSync
    _amend: Callable[[Report | None], Report | None] = lambda report: report

    def __call__(self) -> Report | None:
        """Return the report on the rejected configuration, else on the newest one; C{None} before the first one."""
        report, objection = self._amend(self._worker_sync.report()), self._version_guard.objection
        if report is None or objection is None:
            return report
        return evolve(
            report,
            tag=objection.tag,
            state=ReportState.FAILED,
            error=objection.reason,
            verified=True,
            spent=Timings(),
        )


class Reporter(Service):
    """
    Send reports to the controller.

    @ivar reports: Number of reports by result.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        controller: IControllerClient,
        registration_service: RegistrationService,
        backoff: Backoff,
        random: Random,
        report_source: Callable[[], Report | None],
        session: str,
    ) -> None:
        """
        @param registration_service: Holds the id of the agent and the window.
        @param backoff: Delays after failed reports.
        @param random: Chooses the moment within the window.
        @param report_source: Returns the current report; C{None} if the agent has nothing to report.
        @param session: Identifies this process of the agent.
        """
        self.reports: Counter[str] = Counter({SENT: 0, REPEATED: 0, REFUSED: 0, FAILED: 0})
        self._clock, self._controller, self._registration_service = clock, controller, registration_service
        self._backoff, self._random, self._report_source, self._session = backoff, random, report_source, session
        self._sequence = 0
        #: The last report that was sent, and whether the controller has it or will never take it.
        self._last: Report | None = None
        self._settled = False
        self._timer: IDelayedCall | None = None
        #: End of the pause that a controller asked for.
        self._not_before = clock.seconds()
        #: Whether the timer is for a new final state, at its moment within the window.
        self._prompt = False
        #: Whether the controller has no endpoint for reports.
        self._unsupported = False
        self._sending: Deferred[None] | None = None
        self._problem = Problem("reports", self.log)
        self._reminder = Periodic(clock, self._remind, lambda: REPEAT_AFTER_SECONDS * random.uniform(1, 2))

    def changed(self) -> None:
        """Send a report soon if the state has changed since the last one."""
        report = self._due()
        if report is None or self._sending is not None:
            return
        prompt = report.state.final and _without_age(report) != self._last
        if self._timer is None or (prompt and not self._prompt):
            delay = self._random.uniform(0, self._registration_service.report_window)
            self._set_timer(delay + (0 if prompt else APPLYING_AFTER_SECONDS), prompt)

    def registered(self) -> None:
        """Report again after a registration: the controller may have forgotten earlier reports."""
        self._cancel_timer()
        self._last, self._settled, self._unsupported = None, False, False
        self.changed()

    def startService(self) -> None:
        super().startService()
        self._reminder.startService()

    def stopService(self) -> Deferred[None]:
        """Send the last report; fires within L{STOP_GRACE_SECONDS} seconds."""
        super().stopService()
        self._reminder.stopService()
        self._cancel_timer()
        return Deferred.fromCoroutine(self._flush()).addTimeout(STOP_GRACE_SECONDS, self._clock, lambda *_: None)

    def _remind(self) -> None:
        self._settled = False
        self.changed()

    async def _flush(self) -> None:
        deadline = self._clock.seconds() + STOP_GRACE_SECONDS
        if self._sending is not None:
            await self._sending
        if self._clock.seconds() < deadline:
            await self._send()

    def _due(self) -> Report | None:
        """Return the report to send; C{None} if the agent cannot report or the controller has the report."""
        report = self._report_source() if self._registration_service.may_report and not self._unsupported else None
        return None if report is None or (self._settled and _without_age(report) == self._last) else report

    def _set_timer(self, delay: float, prompt: bool) -> None:
        self._cancel_timer()
        if self.running:
            delay = max(delay, self._not_before - self._clock.seconds())
            self._timer, self._prompt = self._clock.callLater(delay, self._send_now), prompt

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send_now(self) -> None:
        self._timer = None
        self._unsupported = False
        self._sending = sending = Deferred.fromCoroutine(self._send())
        sending.addErrback(self._failed)
        sending.addCallback(self._ended)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        self.log.failure("a report was not sent and will be retried", failure)
        self._set_timer(self._backoff.next(), prompt=False)

    def _ended(self, _: object) -> None:
        self._sending = None
        self.changed()

    async def _send(self) -> None:
        report = self._due()
        if report is None:
            return
        last = _without_age(report)
        if last != self._last:
            self._sequence += 1
        # The controller may receive this report although its answer is lost.
        self._last, self._settled = last, False
        report = evolve(report, session=self._session, sequence=self._sequence)
        try:
            self._registration_service.report_window = await self._controller.report(
                report, self._registration_service.agent_id
            )
        except ConfdError as error:
            result = self._classify_failure(error)
        else:
            result = SENT
            self._problem.end()
            self._backoff.reset()
            self._registration_service.confirm(known=True)
        self.reports[result] += 1
        # A registration in the meantime makes the report due again.
        self._settled = result != FAILED and self._last is last

    def _classify_failure(self, error: ConfdError) -> str:
        if isinstance(error, Conflict) and error.code in ("repeated_report", "out_of_order"):
            return REPEATED
        self._problem.begin(error.message)
        if isinstance(error, (Conflict, Unprocessable)) or error.code in ("unknown_version", "unknown_namespace"):
            return REFUSED
        if error.code == "unknown_agent":
            self._registration_service.confirm(known=False)
        elif isinstance(error, NotFound):
            self._unsupported = True
            self._set_timer(UNSUPPORTED_RETRY_SECONDS, prompt=False)
        else:
            delay = self._backoff.next(error.retry_after)
            if error.retry_after:
                self._not_before = self._clock.seconds() + delay
            self._set_timer(delay, prompt=False)
        return FAILED


def _without_age(report: Report) -> Report:
    """Return a report without the time since the outcome, which differs at each moment of sending."""
    return evolve(report, spent=evolve(report.spent, waited=None))
