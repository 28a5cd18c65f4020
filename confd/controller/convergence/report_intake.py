"""Reports come in: written many at a time, judged by the store, and answered once they are on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.changes import Committed, ReceivedReport, ReportVerdict
from confd.controller.agents.registry import Registry
from confd.controller.convergence.tracker import Convergence
from confd.controller.interfaces import IReportStore
from confd.errors import ConfdError, Conflict, Unavailable
from confd.reports import Report, ReportState, unknown_agent

#: Seconds in which reports gather for one transaction while none is under way.
GATHER_SECONDS = 0.002

#: Reports that may wait for their transaction.
MAX_WAITING = 10_000

_Waiting = list[tuple[ReceivedReport, Deferred[None]]]


class ReportIntake(Service):
    """
    Takes reports, each once and in order.

    A report that is refused, or cannot be written, changes nothing: the agent reports again.

    @ivar taken: reports so far, by state.
    """

    log = Logger()

    def __init__(
        self,
        store: IReportStore,
        registry: Registry,
        convergence: Convergence,
        clock: IReactorTime,
        now: Callable[[], datetime],
    ) -> None:
        self._store, self._registry, self._convergence = store, registry, convergence
        self._clock, self._now = clock, now
        self._waiting: _Waiting = []
        self.taken = Counter({state.value: 0 for state in ReportState})
        self._timer: IDelayedCall | None = None
        self._writing = False
        self._drained: Deferred[None] | None = None

    def stopService(self) -> Deferred[None]:
        """Return a L{Deferred} that fires when all reports are written and answered."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._write()
        if not self._writing:
            return succeed(None)
        self._drained = Deferred()
        return self._drained

    def take(self, agent_id: str, namespace: str, report: Report) -> Deferred[None]:
        """
        Take a report.

        @return: fires once the report is on disk.
        @raise NotFound: C{unknown_agent}, C{unknown_namespace}, C{unknown_version}.
        @raise Conflict: C{other_namespace}; C{repeated_report}, C{out_of_order}.
        @raise Unavailable: the report could not be written.
        """
        there = self._registry.rows.namespace_of(agent_id)
        if there is None:
            raise unknown_agent(agent_id)
        if there != namespace:
            raise _other_namespace(namespace, f"belongs to {there!r}")
        tag = self._convergence.resolve(namespace, report.tag)
        if tag is not report.tag:
            report = evolve(report, tag=tag)
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too_many_reports", "Too many reports wait to be written; report again later.")
        answer: Deferred[None] = Deferred()
        received = ReceivedReport(agent_id, namespace, report, self._clock.seconds(), self._now())
        self._waiting.append((received, answer))
        if self._timer is None and not self._writing:
            self._timer = self._clock.callLater(GATHER_SECONDS, self._write)
        return answer

    def _write(self) -> None:
        self._timer = None
        self._writing = True
        waiting, self._waiting = self._waiting, []
        done = self._store.save_reports([received for received, _ in waiting])
        done.addCallbacks(self._written, self._failed, callbackArgs=(waiting,), errbackArgs=(waiting,))
        done.addErrback(lambda failure: self.log.failure("cannot answer reports that were written", failure))
        done.addBoth(self._next)

    def _written(self, committed: Committed[Sequence[ReportVerdict]], waiting: _Waiting) -> None:
        for (received, answer), verdict in zip(waiting, committed.value, strict=True):
            if verdict.kind == "taken":
                self.taken[received.report.state.value] += 1
                answer.callback(None)
            else:
                answer.errback(_refusal(received, verdict))

    def _failed(self, failure: Failure, waiting: _Waiting) -> None:
        for _, answer in waiting:
            answer.errback(failure.value)

    def _next(self, _: object) -> None:
        self._writing = False
        if self._waiting:
            self._write()
        elif self._drained is not None:
            self._drained.callback(None)


def _refusal(received: ReceivedReport, verdict: ReportVerdict) -> ConfdError:
    tag = received.report.tag
    if verdict.kind == "unknown_agent":
        return unknown_agent(received.agent_id)
    if verdict.kind == "other_namespace":
        return _other_namespace(received.namespace, "moved to another namespace")
    if verdict.kind == "repeated":
        return Conflict("repeated_report", f"This report of {tag} was taken before.")
    return Conflict("out_of_order", f"A later report of this agent was taken before this report of {tag}.")


def _other_namespace(namespace: str, sentence: str) -> Conflict:
    return Conflict("other_namespace", f"This agent {sentence}; register for {namespace!r}.")
