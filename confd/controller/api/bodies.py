"""Encode values of the domain as the bodies that L{confd.controller.api.schemas} declares."""

from __future__ import annotations

from collections.abc import Sequence

from confd.access.change_requests import Approval
from confd.codec.headers import rfc3339
from confd.controller.api.schemas import (
    AgentItem,
    AgentReport,
    ApprovalItem,
    ConvergenceBody,
    Laggard,
    PublishBody,
    Quantiles,
)
from confd.controller.convergence.progress import ConvergenceSummary, LaggingAgent, Percentiles
from confd.model import Revision, Tag
from confd.reports import AgentStatus, ReportState, VersionOutcome


def agent_item(status: AgentStatus) -> AgentItem:
    """Return an agent as the API shows it."""
    agent = status.agent
    report, running = agent.report, agent.running
    return {
        "id": agent.id,
        "registered_at": rfc3339(agent.registered_at),
        "last_poll": rfc3339(agent.last_poll),
        "metadata": agent.metadata,
        "hostname": agent.hostname,
        "namespace": agent.namespace,
        "strategy": agent.strategy,
        "state": status.state,
        "applied_version": agent.running_version,
        "applied_tag": None if running is None else str(running),
        "error": None if report is None else report.error or None,
        "verified": report.verified if report is not None and report.state is ReportState.APPLIED else None,
        "repairs": 0 if report is None else report.repairs,
        "reported_at": rfc3339(agent.reported_at),
        "duplicate": status.duplicate,
        "labels": dict(sorted(status.labels.items())),
    }


def agent_report(tag: Tag, outcome: VersionOutcome) -> AgentReport:
    """Return the outcome of one version on one agent as the API shows it."""
    return {
        "version": tag.version,
        "tag": str(tag),
        "state": outcome.state,
        "error": outcome.error or None,
        "verified": outcome.verified,
        "at": rfc3339(outcome.at),
        "ms": {"agent": outcome.agent, "worker": outcome.worker, "waited": outcome.ack},
    }


def convergence_body(summary: ConvergenceSummary, laggards: Sequence[LaggingAgent]) -> ConvergenceBody:
    """Return the convergence of a version as the API shows it."""
    body: ConvergenceBody = {
        "namespace": summary.namespace,
        "version": summary.version,
        "epoch": summary.epoch,
        "tag": summary.tag,
        "published_at": rfc3339(summary.published_at),
        "targeted": summary.targeted,
        "applied": summary.applied,
        "failed": summary.failed,
        "applying": summary.applying,
        "silent": summary.silent,
        "pending": summary.pending,
        "passed": summary.passed,
        **_quantiles(summary),  # type: ignore[typeddict-item]
        "hops": {hop: _quantiles(percentiles) for hop, percentiles in summary.hops.items()},
        "curve_ms": summary.curve_ms,
        "laggards": [_laggard(each) for each in laggards],
    }
    if summary.rollout is not None:
        rollout = summary.rollout
        body["rollout"] = {"id": rollout.id, "candidate": rollout.candidate, "members": rollout.members}
    return body


def approval_items(approvals: Sequence[Approval]) -> list[ApprovalItem]:
    """Return approvals as the API shows them."""
    return [
        {"subject": each.signer.subject, "who": each.signer.who, "at": rfc3339(each.at), "comment": each.comment}
        for each in approvals
    ]


def publish_body(revision: Revision, published: bool) -> PublishBody:
    """
    Return the answer to a publish.

    @param published: whether every broker has the version.
    """
    made = revision.configuration
    body: PublishBody = {
        "message": "Configuration updated successfully",
        "version": made.version,
        "epoch": made.epoch,
        "published": published,
    }
    if revision.rollback_of is not None:
        body["rollback_of"] = revision.rollback_of
    return body


def _quantiles(percentiles: Percentiles) -> Quantiles:
    return {"p50_ms": percentiles.p50_ms, "p99_ms": percentiles.p99_ms, "max_ms": percentiles.max_ms}


def _laggard(laggard: LaggingAgent) -> Laggard:
    agent = laggard.agent
    return {
        "id": agent.id,
        "hostname": agent.hostname,
        "state": laggard.state,
        "version": agent.running_version,
        "error": laggard.error or None,
        "last_seen": rfc3339(agent.last_seen),
    }
