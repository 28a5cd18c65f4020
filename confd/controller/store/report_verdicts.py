"""
Judge reports: pure functions, which every store calls inside the transaction that stores them.

All reports of a transaction are judged in the order of their arrival, each against what the ones before it left.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Literal

from attrs import evolve

from confd.changes import ReceivedReport, ReportVerdict
from confd.model import Tag
from confd.reports import Report, ReportState, Timings, VersionOutcome

#: By namespace and version: when the POST arrived, in seconds of the monotonic clock, and the milliseconds until the
#: commit; C{None} for what this process does not know. By namespace, version and agent, for a member of a rollout: when
#: it was exposed.
TimesKey = tuple[str, int] | tuple[str, int, str]
PublishTimes = Mapping[TimesKey, tuple[float | None, float | None]]


def judge_reports(
    reports: Sequence[ReceivedReport],
    agents: MutableMapping[str, tuple[str, Report | None]],
    outcomes: MutableMapping[tuple[str, int], VersionOutcome],
    times: PublishTimes,
) -> Sequence[ReportVerdict]:
    """
    Return the verdict on each report.

    @param agents: namespace and last report of each agent by id; follows the reports that are taken.
    @param outcomes: by agent and version; follows the reports that are taken.
    """
    verdicts = []
    for received in reports:
        key = received.agent_id, received.report.tag.version
        verdict = _judge(received, agents.get(received.agent_id), outcomes.get(key), times)
        if verdict.outcome is not None:
            agents[received.agent_id] = received.namespace, received.report
            outcomes[key] = verdict.outcome
        verdicts.append(verdict)
    return verdicts


def _judge(
    received: ReceivedReport,
    agent: tuple[str, Report | None] | None,
    before: VersionOutcome | None,
    times: PublishTimes,
) -> ReportVerdict:
    if agent is None:
        return ReportVerdict("unknown_agent")
    namespace, last = agent
    if namespace != received.namespace:
        return ReportVerdict("other_namespace")
    kind = check_order(received.report, last)
    if kind != "taken":
        return ReportVerdict(kind)
    version = received.report.tag.version
    known = times.get((namespace, version, received.agent_id)) or times.get((namespace, version))
    posted, commit_ms = known or (None, None)
    return ReportVerdict(kind, outcome_of(received, before, posted, commit_ms), before)


def check_order(report: Report, last: Report | None) -> Literal["taken", "repeated", "out_of_order"]:
    """
    Tell whether a report may follow the last report of its agent.

    Where the agent counts its reports, the numbers of a session decide. Where it does not: a report is not repeated,
    goes back to no older version, and a final state of a version is not followed by C{applying}.
    """
    if last is None or (report.session and report.session != last.session):
        return "taken"
    if report.session:
        repeated, late = report.sequence == last.sequence, report.sequence < last.sequence
    else:
        content, before = (evolve(each, spent=Timings(), session="", sequence=0) for each in (report, last))
        undone = report.tag == last.tag and last.state.final and report.state is ReportState.APPLYING
        repeated, late = content == before, undone or _order(report.tag) < _order(last.tag)
    return "repeated" if repeated else "out_of_order" if late else "taken"


def outcome_of(
    received: ReceivedReport, before: VersionOutcome | None, posted: float | None, commit_ms: float | None
) -> VersionOutcome:
    """
    Return the outcome that a report makes of its version on its agent.

    @param before: the outcome so far. The times of the first C{applied} stay.
    @param posted: when the POST of the version arrived, in seconds of the monotonic clock; C{None} if unknown.
    @param commit_ms: from there to the commit of the version; C{None} if unknown.
    """
    report, spent = received.report, received.report.spent
    took = commit = notify = None
    agent, worker, ack = spent.agent, spent.worker, spent.waited
    if before is not None and before.took is not None:
        took, commit, notify = before.took, before.commit, before.notify
        agent, worker, ack = before.agent, before.worker, before.ack
    elif report.state is ReportState.APPLIED and posted is not None:
        took, commit = max(0.0, 1000 * (received.arrived - posted) - (ack or 0.0)), commit_ms
        if agent is not None and worker is not None and commit is not None:
            notify = max(0.0, took - commit - agent - worker)
    return VersionOutcome(
        report.state, received.at, report.error, report.verified, took, commit, notify, agent, worker, ack
    )


def _order(tag: Tag) -> tuple[int, int]:
    return tag.epoch, tag.version
