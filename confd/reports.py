"""Reports of agents on the result of a configuration (the states of OpAMP)."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from datetime import datetime

from attrs import asdict, field, frozen

from confd.codec import strict_json
from confd.codec.labels import NO_LABELS
from confd.errors import Conflict, Forbidden, NotFound
from confd.model import Registration, Tag

#: Limits of a report: characters of an error, and milliseconds of a time.
_LONGEST_ERROR, _LONGEST_MS = 1024, 86_400_000


class ReportState(enum.Enum):
    """The state of a configuration on an agent."""

    #: Each report looks its state up, and an enumeration computes its hash in Python.
    __hash__ = object.__hash__

    APPLYING = "applying"
    #: Read back from the worker, or taken at its 200 where it cannot be.
    APPLIED = "applied"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Return whether no other state follows by itself."""
        return self is not ReportState.APPLYING


@frozen
class Timings:
    """
    Durations on the agent, in milliseconds of its monotonic clock.

    @ivar agent: from receiving the configuration to handing it to the worker.
    @ivar worker: from there until it was applied, or failed.
    @ivar waited: from there until the report was sent.
    """

    agent: float | None = None
    worker: float | None = None
    waited: float | None = None


@frozen
class Report:
    """
    The report of an agent on one configuration.

    @ivar tag: the configuration.
    @ivar error: why it failed, as the worker or the agent says.
    @ivar verified: whether the agent read it back from the worker.
    @ivar holds: the version that the worker has, of any cluster; C{None} for none.
    @ivar holds_cluster_id: the full name of that cluster.
    @ivar repairs: repairs of the worker since the agent started.
    @ivar session: new at each start of the agent; empty if it does not count its reports.
    @ivar sequence: counts the reports of a session from 1.
    """

    tag: Tag
    state: ReportState
    error: str = ""
    verified: bool = True
    holds: Tag | None = None
    holds_cluster_id: str = ""
    repairs: int = 0
    spent: Timings = field(factory=Timings)
    session: str = ""
    sequence: int = 0


def report_body(report: Report, agent_id: str, namespace: str) -> bytes:
    """Return the body of POST C{/api/v1/report} without empty fields."""
    spent = asdict(report.spent)
    fields = {
        "agent_id": agent_id,
        "namespace": namespace,
        "version": str(report.tag),
        "state": report.state.value,
        "error": report.error[:_LONGEST_ERROR],
        "holds": str(report.holds or ""),
        "holds_cluster_id": report.holds_cluster_id,
        "repairs": report.repairs,
        "ms": {hop: round(min(ms, _LONGEST_MS), 3) for hop, ms in spent.items() if ms is not None},
        "session": report.session,
        "sequence": report.sequence,
    }
    return strict_json.encode({name: value for name, value in fields.items() if value} | {"verified": report.verified})


@frozen
class VersionOutcome:
    """
    The result of one version on one agent, as the controller keeps it. Times are in milliseconds, C{None} if they
    are unknown; the times of the first success stay.

    @ivar at: the time of the report, by the wall clock of the controller, UTC.
    @ivar took: from the arrival of the POST until the agent had applied the version.
    @ivar commit: from the arrival of the POST until the version was on disk.
    @ivar notify: the rest of C{took}: the way to the agent, and the way of the report.
    @ivar agent: L{Timings.agent}.
    @ivar worker: L{Timings.worker}.
    @ivar ack: L{Timings.waited}; not a part of C{took}.
    """

    state: ReportState
    at: datetime
    error: str = ""
    verified: bool = True
    took: float | None = None
    commit: float | None = None
    notify: float | None = None
    agent: float | None = None
    worker: float | None = None
    ack: float | None = None


@frozen
class AgentRecord:
    """
    An agent as the controller stores it.

    @ivar registered_at: first registration, by the controller's wall clock, UTC.
    @ivar last_poll: C{None} until it polled.
    @ivar report: its last report in its namespace.
    @ivar reported_at: the time of that report, by the wall clock of the controller, UTC.
    @ivar token: the digest of its token; empty where it has none.
    @ivar labels_set: the labels that operators set on it.
    @ivar advertise: host and port of its metrics, as it says; empty for none.
    """

    id: str
    namespace: str
    hostname: str
    metadata: str
    strategy: str
    registered_at: datetime
    last_poll: datetime | None = None
    report: Report | None = None
    reported_at: datetime | None = None
    token: bytes = field(default=b"", repr=False)
    labels_set: Mapping[str, str] = NO_LABELS
    advertise: str = ""

    @property
    def last_seen(self) -> datetime:
        """Return the time of the last sign of life."""
        return max(each for each in (self.registered_at, self.last_poll, self.reported_at) if each is not None)

    @property
    def running(self) -> Tag | None:
        """The version that the worker of this agent has; C{None} where none is reported."""
        report = self.report
        if report is None:
            return None
        return report.tag if report.state is ReportState.APPLIED else report.holds

    @property
    def running_version(self) -> int | None:
        """The number of L{running}; C{None} for a version of another cluster."""
        tag = self.running
        return None if tag is None or self.report is None or tag.cluster != self.report.tag.cluster else tag.version

    def polled(self, at: datetime) -> AgentRecord:
        """Return this agent with a last poll at C{at}; a wall clock that goes back changes nothing."""
        if self.last_poll is not None and self.last_poll >= at:
            return self
        # Each poll comes here, and C{evolve} takes four times as long.
        return AgentRecord(
            self.id,
            self.namespace,
            self.hostname,
            self.metadata,
            self.strategy,
            self.registered_at,
            at,
            self.report,
            self.reported_at,
            self.token,
            self.labels_set,
            self.advertise,
        )


@frozen
class HeardElsewhere:
    """
    What other controllers heard of agents.

    @ivar polls: the time of the newest poll of each agent.
    @ivar by_token: the agents among them that polled with tokens of their own.
    @ivar lost: whether one of those controllers ended lately without a stop.
    @ivar controllers: how many run, with this one.
    """

    polls: Mapping[str, datetime] = field(factory=dict)
    by_token: Collection[str] = ()
    lost: bool = False
    controllers: int = 1


def new_record(registration: Registration, token: bytes, at: datetime) -> AgentRecord:
    """Return the record of an agent that registers for the first time."""
    return AgentRecord(
        registration.agent_id,
        registration.namespace,
        registration.hostname,
        registration.metadata,
        registration.strategy,
        at,
        token=token,
        advertise=registration.advertise,
    )


@frozen
class AgentStatus:
    """
    An agent as of now.

    @ivar state: C{silent} for an agent not heard of in three intervals, else the state of its last report; C{None}
        before the first report.
    @ivar duplicate: whether more than one agent used its id in the last hour.
    @ivar labels: all labels of the agent.
    """

    agent: AgentRecord
    state: str | None
    duplicate: bool
    labels: Mapping[str, str]


def agent_blocked(agent_id: str) -> Forbidden:
    """Return the error for a blocked agent."""
    sentence = f"The agent {agent_id} is blocked; an operator can lift that (DELETE /api/v1/blocked)."
    return Forbidden("agent_blocked", sentence)


def agent_alive(agent_id: str, seconds: float) -> Conflict:
    """
    Return the error for a registration with the shared password while the agent with that id uses a token of its own.

    @param seconds: the poll interval, after which the caller may try again.
    """
    error = Conflict(
        "agent_alive",
        f"Agent {agent_id} is alive and has a token of its own; stop it and wait until it is silent, or run"
        f" confdctl agents reset {agent_id}.",
    )
    error.retry_after = seconds
    return error


def unknown_agent(agent_id: str) -> NotFound:
    """Return the error for an id that no agent has."""
    return NotFound("unknown_agent", f"Agent {agent_id[:64]!r} does not exist; it may have to register.")
