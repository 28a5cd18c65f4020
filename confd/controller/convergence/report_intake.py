"""Reports come in: checked against what is known, written many at a time, and answered once they are on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.controller.agents.registry import Registry
from confd.controller.convergence.tracker import Convergence
from confd.controller.convergence.version import VersionProgress
from confd.controller.interfaces import IReportStore
from confd.errors import Conflict, Unavailable
from confd.model import Tag
from confd.reports import ReceivedReport, Report, ReportState, Timings, VersionOutcome

#: Seconds in which reports gather for one transaction, where none is under way in which they gather anyhow.
GATHER_SECONDS = 0.002

#: Reports that may wait for theirs.
MAX_WAITING = 10_000

T = TypeVar("T")
_Taken = list[tuple[ReceivedReport, Deferred[None]]]


class ReportIntake(Service):
    """
    Takes reports, each once and in order.

    What is refused, or cannot be written, changes nothing: the agent reports again.

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
        self._waiting: _Taken = []
        self._unwritten: dict[str, Report] = {}
        self.taken = Counter({state.value: 0 for state in ReportState})
        self._timer: IDelayedCall | None = None
        self._writing = False
        self._drained: Deferred[None] | None = None

    def stopService(self) -> Deferred[None]:
        """Fires when all that came in is written and answered."""
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

        @return: fires once it is on disk.
        @raise NotFound: C{unknown_agent}, C{unknown_namespace}, C{unknown_version}.
        @raise Conflict: C{other_namespace}; C{repeated_report}, C{out_of_order}.
        @raise Unavailable: it could not be written.
        """
        record = self._registry.get(agent_id)
        if record.namespace != namespace:
            raise Conflict(
                "other_namespace", f"This agent belongs to {record.namespace!r}; register for {namespace!r}."
            )
        tag = self._convergence.resolve(namespace, report.tag)
        if tag is not report.tag:
            report = evolve(report, tag=tag)
        check_order(report, self._unwritten.get(agent_id, record.report))
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too_many_reports", "Too many reports wait to be written; report again later.")
        self._unwritten[agent_id] = report
        answer: Deferred[None] = Deferred()
        self._waiting.append(
            (ReceivedReport(agent_id, namespace, report, self._outcome(agent_id, namespace, report)), answer)
        )
        self._schedule()
        return answer

    def _outcome(self, agent_id: str, namespace: str, report: Report) -> VersionOutcome:
        progress = self._convergence.progress(namespace, report.tag.version) or VersionProgress(report.tag, self._now())
        return progress.outcome(agent_id, report, self._clock.seconds(), self._now())

    def _schedule(self) -> None:
        if self._timer is None and not self._writing:
            self._timer = self._clock.callLater(GATHER_SECONDS, self._write)

    def _write(self) -> None:
        self._timer = None
        self._writing = True
        taken, self._waiting = self._waiting, []
        done: Deferred[Any] = self._store.save_reports([receipt for receipt, _ in taken])
        done.addBoth(self._forget, taken)
        done.addCallbacks(self._written, self._refused, callbackArgs=(taken,), errbackArgs=(taken,))
        done.addErrback(lambda failure: self.log.failure("reports were written, and are not shown", failure))
        done.addBoth(self._next)

    def _written(self, done: None, taken: _Taken) -> None:
        self.taken.update(receipt.report.state.value for receipt, _ in taken)
        self._convergence.record([receipt for receipt, _ in taken if self._registry.reported(receipt)])
        for _, answer in taken:
            answer.callback(None)

    def _refused(self, failure: Failure, taken: _Taken) -> None:
        for _, answer in taken:
            answer.errback(failure.value)

    def _forget(self, result: T, taken: _Taken) -> T:
        for receipt, _ in taken:
            if self._unwritten.get(receipt.agent_id) is receipt.report:
                del self._unwritten[receipt.agent_id]
        return result

    def _next(self, _: object) -> None:
        self._writing = False
        if self._waiting:
            self._write()
        elif self._drained is not None:
            self._drained.callback(None)


def check_order(report: Report, last: Report | None) -> None:
    """
    Whether a report may follow what its agent said last.

    Where the agent counts its reports, the numbers of a session decide. Where it does not: a report is not repeated,
    goes back to no older version, and what is done with a version is not undone by its beginning.

    @raise Conflict: C{repeated_report}, C{out_of_order}.
    """
    if last is None or (report.session and report.session != last.session):
        return
    repeated, late = _against_number(report, last) if report.session else _against_content(report, last)
    if repeated:
        raise Conflict("repeated_report", f"This report of {report.tag} was taken before.")
    if late:
        raise Conflict("out_of_order", f"A later report, of {last.tag}, was taken before this one of {report.tag}.")


def _against_number(report: Report, last: Report) -> tuple[bool, bool]:
    return report.sequence == last.sequence, report.sequence < last.sequence


def _against_content(report: Report, last: Report) -> tuple[bool, bool]:
    said, before = (evolve(each, spent=Timings(), session="", sequence=0) for each in (report, last))
    undone = report.tag == last.tag and last.state.final and report.state is ReportState.APPLYING
    return said == before, undone or _order(report.tag) < _order(last.tag)


def _order(tag: Tag) -> tuple[int, int]:
    return tag.epoch, tag.version
