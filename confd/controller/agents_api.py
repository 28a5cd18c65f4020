"""The paths that concern agents."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import msgspec
from attrs import define

from confd import jsontext
from confd.controller.registry import Registry
from confd.controller.snapshot import Snapshot
from confd.model import DEFAULT_NAMESPACE, AgentRecord, Malformed, Registration, valid_agent_id
from confd.web.endpoint import Answer, Call, NamespaceQuery, endpoint
from confd.web.guard import Role
from confd.wire import rfc3339

Text = Annotated[str, msgspec.Meta(max_length=1024)]
Name = Annotated[str, msgspec.Meta(max_length=255)]


class Joining(msgspec.Struct):
    """
    What an agent says of itself. Unlike elsewhere, a field that is not known is let through: a newer agent has to be
    able to join an older controller.
    """

    hostname: Name = ""
    metadata: Text = ""
    agent_id: str = ""
    strategy: Annotated[str, msgspec.Meta(max_length=32)] = ""
    namespace: str = DEFAULT_NAMESPACE


class AgentsQuery(NamespaceQuery, forbid_unknown_fields=True):
    """A page of agents."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    after: Annotated[str, msgspec.Meta(max_length=64)] = ""
    state: Annotated[str, msgspec.Meta(max_length=16)] | None = None


@define(eq=False)
class AgentsApi:
    """Answers from the registry."""

    _registry: Registry
    _snapshot: Snapshot

    @endpoint("POST", "/api/v1/register", Role.AGENT, "Join as an agent.", body=Joining, optional_body=True)
    async def register(self, call: Call) -> object:
        """With the C{agent_id} that it was given before, an agent keeps its row; without one it gets a new UUID."""
        wanted: Joining = call.body
        if wanted.agent_id and not valid_agent_id(wanted.agent_id):
            sentence = "agent_id must be 1 to 64 letters, digits and the characters . _ : -"
            raise Malformed("bad_agent_id", sentence, [{"pointer": "/agent_id", "message": sentence}])
        in_force = self._snapshot.get(wanted.namespace).configuration
        record = await self._registry.register(
            Registration(wanted.hostname, wanted.metadata, wanted.agent_id, wanted.strategy, wanted.namespace)
        )
        return {
            "agent_id": record.id,
            "poll_url": "/api/v1/config",
            "poll_interval_seconds": in_force.poll_interval,
        }

    @endpoint("GET", "/api/v1/agents", Role.ADMIN, "The agents of a namespace, a page at a time.", query=AgentsQuery)
    async def agents(self, call: Call) -> Answer:
        """Sorted by id; the C{Link} header leads to the next page (RFC 8288)."""
        query: AgentsQuery = call.query
        self._snapshot.get(query.namespace)
        found = self._registry.page(query.namespace, query.limit + 1, query.after, query.state)
        page = found[: query.limit]
        headers = {}
        if len(found) > len(page):
            rest = {"namespace": query.namespace, "limit": query.limit, "after": page[-1].id}
            if query.state is not None:
                rest["state"] = query.state
            headers["Link"] = f'</api/v1/agents?{urlencode(rest)}>; rel="next"'
        return Answer(jsontext.encode([self._described(record) for record in page]), headers=headers)

    @endpoint("GET", "/api/v1/agents/<agent_id>", Role.ADMIN, "One agent.")
    async def agent(self, call: Call, agent_id: str) -> object:
        """What is known of it."""
        self._snapshot.get(DEFAULT_NAMESPACE)
        return self._described(self._registry.get(agent_id))

    @endpoint("DELETE", "/api/v1/agents/<agent_id>", Role.ADMIN, "Forget an agent.")
    async def forget(self, call: Call, agent_id: str) -> object:
        """If it still lives it will register again."""
        await self._registry.forget(agent_id)
        return {"message": f"Agent {agent_id} forgotten"}

    def _described(self, record: AgentRecord) -> dict[str, object]:
        return {
            "id": record.id,
            "registered_at": rfc3339(record.registered_at),
            "last_poll": rfc3339(record.last_poll),
            "metadata": record.metadata,
            "hostname": record.hostname,
            "namespace": record.namespace,
            "strategy": record.strategy,
            "state": self._registry.state(record),
            "applied_version": None,
            "error": None,
        }
