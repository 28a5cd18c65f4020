"""Summaries of the convergence of one version, and the agents that are behind on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from attrs import evolve

from confd.controller.agents.registry import Registry
from confd.controller.convergence.progress import ConvergenceSummary, LaggingAgent, OpenRollout, Percentiles
from confd.controller.convergence.version import VersionProgress
from confd.reports import AgentRecord, ReportState

MAX_CURVE_POINTS = 100

#: States of agents that are behind, the most urgent first.
_BEHIND = ("failed", "silent", "applying", "pending")

#: States of agents that neither applied the version nor failed.
_UNDECIDED = ("silent", "applying", "pending", "passed")

_HOPS = ("commit", "notify", "agent", "worker", "ack")


def summarize(
    namespace: str,
    progress: VersionProgress,
    current: bool,
    registry: Registry,
    among: frozenset[str] | None = None,
    rollout: OpenRollout | None = None,
) -> ConvergenceSummary:
    """
    Return the summary of one version.

    @param current: whether no newer version exists that an agent may have gone on to.
    @param among: ids of the agents to count; C{None} for all.
    @param rollout: the open rollout of the namespace.
    """
    undecided = _undecided(namespace, progress, current, registry, among)
    if among is not None:
        progress = progress.among(among)
    took, tag = progress.ordered("took"), progress.tag
    total = _quantiles(took)
    return ConvergenceSummary(
        total.p50_ms,
        total.p99_ms,
        total.max_ms,
        namespace=namespace,
        version=tag.version,
        epoch=tag.epoch,
        tag=str(tag),
        published_at=progress.published_at,
        applied=progress.applied,
        failed=progress.failed,
        **{state: len(agents) for state, agents in undecided.items()},
        hops={hop: _quantiles(progress.ordered(hop)) for hop in _HOPS},
        curve_ms=[round(each, 3) for each in _evenly(took)],
        rollout=rollout,
    )


def repeat(summary: ConvergenceSummary, progress: VersionProgress) -> ConvergenceSummary:
    """Return a summary for the version that follows: no agent reported of either version, and no agent changed."""
    tag = progress.tag
    return evolve(summary, version=tag.version, epoch=tag.epoch, tag=str(tag), published_at=progress.published_at)


def laggards(
    namespace: str,
    progress: VersionProgress,
    current: bool,
    registry: Registry,
    limit: int,
    among: frozenset[str] | None = None,
) -> Sequence[LaggingAgent]:
    """
    Return the agents that are behind on a version, the most urgent first, then by id.

    @param limit: agents at most.
    @param among: ids of the agents to look at; C{None} for all.
    """
    undecided = _undecided(namespace, progress, current, registry, among)
    return list(islice(_behind(progress, undecided, registry, among), limit))


def _behind(
    progress: VersionProgress, undecided: dict[str, list[str]], registry: Registry, among: frozenset[str] | None
) -> Iterator[LaggingAgent]:
    failed = (agent_id for agent_id, each in progress.outcomes.items() if each.state is ReportState.FAILED)
    groups = {"failed": [each for each in failed if among is None or each in among]} | undecided
    for state in _BEHIND:
        for agent_id in sorted(groups[state]):
            outcome = progress.outcomes.get(agent_id)
            yield LaggingAgent(registry.get(agent_id), state, "" if outcome is None else outcome.error)


def _undecided(
    namespace: str, progress: VersionProgress, current: bool, registry: Registry, among: frozenset[str] | None
) -> dict[str, list[str]]:
    """Return the agents that neither applied a version nor failed, by state; most often, these are few."""
    groups: dict[str, list[str]] = {state: [] for state in _UNDECIDED}
    liveness, outcomes, tag = registry.liveness(namespace), progress.outcomes, progress.tag
    silent, order, find = liveness.silent, (tag.epoch, tag.version), registry.find
    if progress.applied + progress.failed == len(liveness):
        return groups
    for agent_id in liveness if among is None else among.intersection(liveness):
        outcome = outcomes.get(agent_id)
        if outcome is not None and outcome.state is not ReportState.APPLYING:
            continue
        if not current and _went_on(find(agent_id), order):
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


def _quantiles(ordered: Sequence[float]) -> Percentiles:
    return Percentiles(_quantile(ordered, 0.5), _quantile(ordered, 0.99), _quantile(ordered, 1.0))


def _quantile(ordered: Sequence[float], part: float) -> float | None:
    return round(ordered[math.ceil(part * len(ordered)) - 1], 3) if ordered else None


def _evenly(ordered: Sequence[float]) -> Sequence[float]:
    """Return at most L{MAX_CURVE_POINTS} values, the first and the last included."""
    if len(ordered) <= MAX_CURVE_POINTS:
        return ordered
    return [ordered[number * (len(ordered) - 1) // (MAX_CURVE_POINTS - 1)] for number in range(MAX_CURVE_POINTS)]
