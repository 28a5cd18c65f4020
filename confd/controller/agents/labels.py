"""The labels of agents in memory."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from confd.codec.labels import DeclaredLabels, parse_metadata
from confd.reports import AgentRecord
from confd.runtime.lru import put

#: Different metadata that stay parsed: the agents of a fleet often share theirs.
MAX_PARSED = 1024


@define(eq=False)
class LabelReader:
    """Reads the labels of agents."""

    _parsed: dict[str, DeclaredLabels] = field(factory=dict, init=False)

    def declared(self, agent: AgentRecord) -> DeclaredLabels:
        """Return the labels that an agent declares."""
        found = self._parsed.get(agent.metadata)
        if found is None:
            found = parse_metadata(agent.metadata)
            put(self._parsed, agent.metadata, found, MAX_PARSED)
        return found

    def of(self, agent: AgentRecord) -> Mapping[str, str]:
        """Return all labels of an agent. A label that operators set wins over the agent's own."""
        return {
            **self.declared(agent).labels,
            **agent.labels_set,
            "id": agent.id,
            "hostname": agent.hostname,
            "strategy": agent.strategy,
        }
