"""Values that tell how far a version has come among the agents of its namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import frozen

from confd.reports import AgentRecord


@frozen
class Totals:
    """
    Agents of a namespace, counted by the outcome of one version.

    @ivar targeted: all agents of the namespace, silent ones included.
    """

    targeted: int
    applied: int
    failed: int
    applying: int

    def reached(self, quorum: float) -> bool | None:
        """
        Return whether enough agents have applied the version.

        @param quorum: percent of C{targeted}.
        @return: C{None} while the quorum is not reached and still can be; C{False} once too many agents have failed.
        """
        needed = quorum * self.targeted
        if 100 * self.applied >= needed:
            return True
        return False if 100 * (self.targeted - self.failed) < needed else None


@frozen
class Percentiles:
    """Milliseconds of the agents that applied a version; C{None} where no time was measured."""

    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@frozen
class OpenRollout:
    """
    A rollout that delivers another version to some agents of a namespace.

    @ivar candidate: number of the version that its members are served.
    @ivar members: number of agents that are served the candidate.
    """

    id: int
    candidate: int
    members: int


@frozen
class ConvergenceSummary(Percentiles):
    """
    Describe the convergence of one version. The percentiles are of the time from its POST until it was applied.

    @ivar passed: agents that went on to a newer version without applying this one.
    @ivar hops: percentiles of commit, notify, agent, worker and ack.
    @ivar curve_ms: times from POST to applied, ascending, evenly picked.
    @ivar rollout: of the current version while a rollout delivers a candidate to members. All counts leave its members
        out.
    """

    namespace: str
    version: int
    epoch: int
    tag: str
    published_at: datetime
    applied: int
    failed: int
    applying: int
    silent: int
    pending: int
    passed: int
    hops: Mapping[str, Percentiles]
    curve_ms: Sequence[float]
    rollout: OpenRollout | None = None

    @property
    def targeted(self) -> int:
        """Return the number of agents in all states."""
        return self.applied + self.failed + self.applying + self.silent + self.pending + self.passed


@frozen
class LaggingAgent:
    """
    An agent that is behind on a version.

    @ivar state: C{failed}, C{silent}, C{applying} or C{pending}.
    @ivar error: why the version failed on the agent; empty where it did not.
    """

    agent: AgentRecord
    state: str
    error: str
