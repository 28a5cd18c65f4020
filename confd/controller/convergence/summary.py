"""One version's convergence, as people are shown it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from confd.codec.headers import rfc3339
from confd.controller.agents.registry import Registry
from confd.controller.api.schemas import ConvergenceBody, Laggard, Quantiles
from confd.controller.convergence.version import VersionProgress
from confd.model import Tag
from confd.reports import AgentRecord, ReportState

#: Agents that are named, and latencies that are drawn.
MAX_LAGGARDS, MAX_CURVE_POINTS = 100, 100

#: What can be said of an agent, the most urgent first; the last two do not lag.
_STATES = ("failed", "silent", "applying", "pending", "applied", "passed")

_HOPS = ("commit", "notify", "agent", "worker", "ack")


def summarize(
    namespace: str, progress: VersionProgress, in_force: bool, registry: Registry, named: int = MAX_LAGGARDS
) -> ConvergenceBody:
    """
    Where everyone is.

    @param in_force: whether no newer version is there that an agent may have gone on to.
    @param named: how many laggards are, at most.
    """
    groups = _groups(namespace, progress, in_force, registry)
    took = progress.ordered("took")
    return {
        "namespace": namespace,
        "version": progress.tag.version,
        "epoch": progress.tag.epoch,
        "tag": str(progress.tag),
        "published_at": rfc3339(progress.published_at),
        "targeted": sum(map(len, groups.values())),
        "applied": len(groups["applied"]),
        "failed": len(groups["failed"]),
        "applying": len(groups["applying"]),
        "silent": len(groups["silent"]),
        "pending": len(groups["pending"]),
        "passed": len(groups["passed"]),
        **_quantiles(took),
        "hops": {hop: _quantiles(progress.ordered(hop)) for hop in _HOPS},
        "curve_ms": [round(each, 3) for each in _evenly(took)],
        "laggards": list(islice(_laggards(groups, progress, registry), named)),
    }


def repeated(told: ConvergenceBody, progress: VersionProgress) -> ConvergenceBody:
    """A picture again, for the version after it: nobody reported of either one, and nothing changed meanwhile."""
    tag = progress.tag
    return {
        **told,
        "version": tag.version,
        "epoch": tag.epoch,
        "tag": str(tag),
        "published_at": rfc3339(progress.published_at),
    }


def running(record: AgentRecord) -> Tag | None:
    """What its worker has, as far as it is known."""
    report = record.report
    if report is None:
        return None
    tag: Tag | None = report.tag if report.state is ReportState.APPLIED else report.holds
    return tag


def running_version(record: AgentRecord) -> int | None:
    """The number of it; C{None} where it is a version of another cluster."""
    tag, report = running(record), record.report
    return None if tag is None or report is None or tag.cluster != report.tag.cluster else tag.version


def _groups(namespace: str, progress: VersionProgress, in_force: bool, registry: Registry) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {state: [] for state in _STATES}
    liveness, outcomes, tag = registry.liveness(namespace), progress.outcomes, progress.tag
    silent, order, find = liveness.silent, (tag.epoch, tag.version), registry.find
    for agent_id in liveness:
        outcome = outcomes.get(agent_id)
        if outcome is not None and outcome.state.final:
            state = outcome.state.value
        elif not in_force and _went_on(find(agent_id), order):
            state = "passed"
        elif agent_id in silent:
            state = "silent"
        else:
            state = "pending" if outcome is None else "applying"
        groups[state].append(agent_id)
    return groups


def _went_on(record: AgentRecord | None, order: tuple[int, int]) -> bool:
    report = None if record is None else record.report
    return report is not None and (report.tag.epoch, report.tag.version) > order


def _laggards(groups: dict[str, list[str]], progress: VersionProgress, registry: Registry) -> Iterator[Laggard]:
    for state in _STATES[:-2]:
        for agent_id in sorted(groups[state]):
            record, outcome = registry.get(agent_id), progress.outcomes.get(agent_id)
            yield {
                "id": agent_id,
                "hostname": record.hostname,
                "state": state,
                "version": running_version(record),
                "error": (outcome and outcome.error) or None,
                "last_seen": rfc3339(record.last_seen),
            }


def _quantiles(ordered: Sequence[float]) -> Quantiles:
    return {
        "p50_ms": _quantile(ordered, 0.5),
        "p99_ms": _quantile(ordered, 0.99),
        "max_ms": _quantile(ordered, 1.0),
    }


def _quantile(ordered: Sequence[float], part: float) -> float | None:
    return round(ordered[math.ceil(part * len(ordered)) - 1], 3) if ordered else None


def _evenly(ordered: Sequence[float]) -> Sequence[float]:
    """At most L{MAX_CURVE_POINTS} of them, the first and the last among these."""
    if len(ordered) <= MAX_CURVE_POINTS:
        return ordered
    return [ordered[number * (len(ordered) - 1) // (MAX_CURVE_POINTS - 1)] for number in range(MAX_CURVE_POINTS)]
