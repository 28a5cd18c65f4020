"""The agents of a store that forgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from confd.audit import Attempt
from confd.changes import AGENT, LABELS, AgentChange, Committed, ReceivedReport, ReportVerdict
from confd.codec.headers import parse_rfc3339, rfc3339
from confd.codec.labels import NO_LABELS, format_labels, merge
from confd.controller.store.change_log import Written, registration_changes
from confd.controller.store.report_verdicts import PublishTimes, judge_reports
from confd.model import Registration
from confd.reports import AgentRecord, VersionOutcome, agent_blocked, unknown_agent
from confd.testing.memory_rows import Rows


@define(eq=False)
class MemoryAgents:
    """The rows of L{confd.controller.interfaces.IResidentStore}, without what makes them durable."""

    rows: dict[str, AgentRecord] = field(factory=dict)
    blocked: set[str] = field(factory=set)
    outcomes: dict[tuple[str, int, str], VersionOutcome] = field(factory=dict)
    summaries: dict[tuple[str, int], bytes] = field(factory=dict)

    def register(self, registration: Registration, token: bytes, at: datetime) -> Written[AgentRecord]:
        """Insert or update the row of an agent."""
        agent_id = registration.agent_id
        if agent_id in self.blocked:
            raise agent_blocked(agent_id)
        there = before = self.rows.get(agent_id)
        if there is not None and there.namespace != registration.namespace:
            self._forget_outcomes(agent_id)
            there = evolve(there, report=None, reported_at=None, labels_set=NO_LABELS)
        self.rows[agent_id] = record = AgentRecord(
            agent_id,
            registration.namespace,
            registration.hostname,
            registration.metadata,
            registration.strategy,
            there.registered_at if there else parse_rfc3339(rfc3339(at)),
            there.last_poll if there else None,
            there.report if there else None,
            there.reported_at if there else None,
            token or (there.token if there else b""),
            there.labels_set if there else NO_LABELS,
            registration.advertise,
        )
        namespace, old_token = (before.namespace, before.token) if before else (None, b"")
        return Written(record, registration_changes(namespace, old_token, record))

    def touch(self, polls: Mapping[str, datetime]) -> None:
        """Raise the time of the last poll of agents that exist."""
        for agent_id, moment in polls.items():
            if (there := self.rows.get(agent_id)) is not None:
                self.rows[agent_id] = there.polled(parse_rfc3339(rfc3339(moment)))

    def forget(self, agent_id: str) -> Written[None]:
        """Delete an agent with all that it reported."""
        self.rows.pop(agent_id, None)
        self._forget_outcomes(agent_id)
        return Written(None, [(AGENT, agent_id, AgentChange("forgotten"))])

    def reset_token(self, agent_id: str) -> Written[None]:
        """Remove the token of an agent."""
        there = self.rows.get(agent_id)
        if there is None:
            raise unknown_agent(agent_id)
        self.rows[agent_id] = evolve(there, token=b"")
        return Written(None, [(AGENT, agent_id, AgentChange("token", there.namespace))] if there.token else [])

    def block(self, agent_id: str) -> Written[None]:
        """Delete an agent, and refuse its id."""
        self.blocked.add(agent_id)
        self.forget(agent_id)
        return Written(None, [(AGENT, agent_id, AgentChange("blocked"))])

    def unblock(self, agent_id: str) -> Written[None]:
        """Accept an id again."""
        self.blocked.discard(agent_id)
        return Written(None, [(AGENT, agent_id, AgentChange("unblocked"))])

    def set_labels(self, agent_id: str, changes: Mapping[str, str | None]) -> Written[Mapping[str, str]]:
        """Change the labels that operators set on an agent."""
        there = self.rows.get(agent_id)
        if there is None:
            raise unknown_agent(agent_id)
        labels = merge(there.labels_set, changes)
        self.rows[agent_id] = evolve(there, labels_set=labels)
        return Written(labels, [] if labels == there.labels_set else [(LABELS, agent_id, labels)])

    def find_token(self, digest: bytes) -> str | None:
        """Return the id of the agent whose token has a digest."""
        return next((each.id for each in self.rows.values() if each.token == digest), None)

    def page(self, namespace: str, limit: int, after: str) -> Sequence[AgentRecord]:
        """Return a page of the agents of a namespace."""
        found = (self.rows[agent_id] for agent_id in sorted(self.rows) if agent_id > after)
        return [each for each in found if each.namespace == namespace][:limit]

    def counts(self) -> Mapping[str, int]:
        """Return the number of agents of each namespace."""
        return Counter(each.namespace for each in self.rows.values())

    def save_reports(self, reports: Sequence[ReceivedReport], times: PublishTimes) -> Sequence[ReportVerdict]:
        """Judge reports, and keep the accepted ones."""
        agents = {record.id: (record.namespace, record.report) for record in self.rows.values()}
        outcomes = {(agent_id, version): each for (_, version, agent_id), each in self.outcomes.items()}
        verdicts = judge_reports(reports, agents, outcomes, times)
        for received, verdict in zip(reports, verdicts, strict=True):
            if verdict.outcome is not None:
                there = self.rows[received.agent_id]
                at = parse_rfc3339(rfc3339(received.at))
                self.rows[there.id] = evolve(there, report=received.report, reported_at=at)
                self.outcomes[there.namespace, received.report.tag.version, there.id] = verdict.outcome
        return verdicts

    def settle(self, archive: Sequence[tuple[str, int, bytes]]) -> None:
        """Keep summaries in the place of outcomes."""
        for namespace, version, summary in archive:
            self.summaries = {
                key: kept for key, kept in self.summaries.items() if key[0] != namespace or key[1] > version - 10_000
            } | {(namespace, version): summary}
            self.outcomes = {
                key: outcome for key, outcome in self.outcomes.items() if key[0] != namespace or key[1] > version
            }

    def _forget_outcomes(self, agent_id: str) -> None:
        self.outcomes = {key: outcome for key, outcome in self.outcomes.items() if key[2] != agent_id}


class AgentRows(Rows):
    """The part of a L{confd.testing.memory.MemoryStore} that changes agents which registered."""

    agents: MemoryAgents
    _remove_agent: Callable[..., Written[None]]

    def touch(self, polls: Mapping[str, datetime], shared: Collection[str] = ()) -> Deferred[None]:
        """Raise the times of last polls."""
        return self._write(self.agents.touch, polls)

    def forget(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """Delete an agent."""
        return self._audited(attempt, _nothing, self._remove_agent, self.agents.forget, agent_id)

    def reset_token(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """Remove the token of an agent."""
        return self._audited(attempt, _nothing, self.agents.reset_token, agent_id)

    def block(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """Delete an agent, and refuse its id."""
        return self._audited(attempt, lambda _: "blocked", self._remove_agent, self.agents.block, agent_id)

    def unblock(self, agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """Accept an id again."""
        return self._audited(attempt, _nothing, self.agents.unblock, agent_id)

    def set_labels(
        self, agent_id: str, changes: Mapping[str, str | None], attempt: Attempt | None = None
    ) -> Deferred[Committed[Mapping[str, str]]]:
        """Change the labels that operators set."""
        return self._audited(attempt, format_labels, self.agents.set_labels, agent_id, changes)


def _nothing(_: object) -> str:
    return ""
