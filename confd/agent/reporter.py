"""
Says to the controller what became of a configuration.

What is to be said is asked for at the moment of saying it, so that it is always the latest and nothing that has passed;
a report says the whole of it, so that none needs the one before. It is said once, spread over the window that the
controller names; again where it did not arrive, or where the controller forgot the agent; and now and then in any case:
what the controller has already it refuses as repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

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

#: Seconds before it is worth a report that something is still being done.
APPLYING_AFTER_SECONDS = 0.5

#: Seconds until what was said is said again, at least: a controller that was restored from a backup has forgotten it.
REPEAT_AFTER_SECONDS = 600.0

#: Seconds until a controller that takes no reports is tried again.
UNSUPPORTED_RETRY_SECONDS = 3600.0

#: Seconds that the last report gets when the agent stops.
STOP_GRACE_SECONDS = 2.0

#: What can come of a report.
SENT, REPEATED, REFUSED, FAILED = "sent", "repeated", "refused", "failed"


@frozen(eq=False)
class ReportSource:
    """What the agent has to say."""

    _version_guard: VersionGuard
    _worker_sync: WorkerSync

    def __call__(self) -> Report | None:
        """Of what a controller offers in vain, else of what the worker is to have; C{None} before there is anything."""
        report, objection = self._worker_sync.report(), self._version_guard.objection
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
    Keeps the controller informed.

    @ivar reports: how often each came of a report.
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
        @param registration_service: the name to report under, and the window.
        @param backoff: between reports that do not arrive.
        @param random: where in the window a report is sent.
        @param report_source: what there is to say at the moment.
        @param session: made anew at each start of the agent.
        """
        self.reports: Counter[str] = Counter({SENT: 0, REPEATED: 0, REFUSED: 0, FAILED: 0})
        self._clock, self._controller, self._registration_service = clock, controller, registration_service
        self._backoff, self._random, self._report_source, self._session = backoff, random, report_source, session
        self._sequence = 0
        #: What was sent last, and whether it needs no more sending.
        self._tried: Report | None = None
        self._settled = False
        self._timer: IDelayedCall | None = None
        #: A controller asked for a pause until then.
        self._not_before = clock.seconds()
        #: Whether it is for something new, and has its place in the window.
        self._prompt = False
        #: The controller takes no reports.
        self._deaf = False
        self._sending: Deferred[Any] | None = None
        self._problem = Problem("reports", self.log)
        self._reminder = Periodic(clock, self._remind, lambda: REPEAT_AFTER_SECONDS * random.uniform(1, 2))

    def changed(self) -> None:
        """There may be something else to say."""
        report = self._due()
        if report is None or self._sending is not None:
            return
        prompt = report.state.final and _lasting(report) != self._tried
        if self._timer is None or (prompt and not self._prompt):
            delay = self._random.uniform(0, self._registration_service.report_window)
            self._set_timer(delay + (0 if prompt else APPLYING_AFTER_SECONDS), prompt)

    def joined(self) -> None:
        """The agent is registered: what the controller was told before, it may have forgotten."""
        self._cancel_timer()
        self._tried, self._settled, self._deaf = None, False, False
        self.changed()

    def startService(self) -> None:
        """Begin to report."""
        super().startService()
        self._reminder.startService()

    def stopService(self) -> Deferred[None]:
        """Fires when all is said, after L{STOP_GRACE_SECONDS} seconds at most."""
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
        """What is to be said, if it is not said yet and there is somebody to say it to."""
        report = self._report_source() if self._registration_service.member and not self._deaf else None
        return None if report is None or (self._settled and _lasting(report) == self._tried) else report

    def _set_timer(self, delay: float, prompt: bool) -> None:
        self._cancel_timer()
        if self.running:
            delay = max(delay, self._not_before - self._clock.seconds())
            self._timer, self._prompt = self._clock.callLater(delay, self._turn), prompt

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._timer = None
        self._deaf = False
        self._sending = sending = Deferred.fromCoroutine(self._send())
        sending.addErrback(lambda failure: failure.trap(CancelledError))
        sending.addErrback(self._failed)
        sending.addCallback(self._ended)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("a report was not sent; it is tried again", failure)
        self._set_timer(self._backoff.next(), prompt=False)

    def _ended(self, _: object) -> None:
        self._sending = None
        self.changed()

    async def _send(self) -> None:
        report = self._due()
        if report is None:
            return
        tried = _lasting(report)
        if tried != self._tried:
            self._sequence += 1
        # What was settled before is not: this may arrive although no answer comes.
        self._tried, self._settled = tried, False
        report = evolve(report, session=self._session, sequence=self._sequence)
        try:
            self._registration_service.report_window = await self._controller.report(
                report, self._registration_service.agent_id
            )
        except ConfdError as error:
            result = self._not_taken(error)
        else:
            result = SENT
            self._problem.end()
            self._backoff.reset()
            self._registration_service.heard(known=True)
        self.reports[result] += 1
        # Unless the controller forgot it meanwhile.
        self._settled = result != FAILED and self._tried is tried

    def _not_taken(self, error: ConfdError) -> str:
        if isinstance(error, Conflict) and error.code in ("repeated_report", "out_of_order"):
            return REPEATED
        self._problem.begin(error.message)
        if isinstance(error, (Conflict, Unprocessable)) or error.code in ("unknown_version", "unknown_namespace"):
            return REFUSED
        if error.code == "unknown_agent":
            self._registration_service.heard(known=False)
        elif isinstance(error, NotFound):
            self._deaf = True
            self._set_timer(UNSUPPORTED_RETRY_SECONDS, prompt=False)
        else:
            delay = self._backoff.next(error.retry_after)
            if error.retry_after:
                self._not_before = self._clock.seconds() + delay
            self._set_timer(delay, prompt=False)
        return FAILED


def _lasting(report: Report) -> Report:
    """What does not change with the moment at which it is said."""
    return evolve(report, spent=evolve(report.spent, waited=None))
