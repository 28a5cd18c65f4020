"""Endpoints of agents."""

from __future__ import annotations

import uuid
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from attrs import define
from twisted.internet.interfaces import IReactorTime

from confd.codec import strict_json
from confd.codec.bodies import HOSTNAME_MAX, METADATA_MAX, STRATEGY_MAX
from confd.codec.labels import check_changes
from confd.codec.selectors import parse_selector
from confd.controller.agents.registry import Registry
from confd.controller.agents.selection import select_agents
from confd.controller.api.bodies import agent_item, agent_report
from confd.controller.api.schemas import (
    AgentDetail,
    AgentItem,
    BlockedAgentsBody,
    LabelChanges,
    RegistrationResponseBody,
)
from confd.controller.configs.reader import ConfigReader
from confd.controller.convergence.tracker import Convergence
from confd.controller.feed import Feed
from confd.errors import Conflict, Forbidden, NotFound, TooMany, Unavailable, Unprocessable
from confd.model import AGENT_ID, DEFAULT_NAMESPACE, Registration, valid_agent_id
from confd.runtime.addresses import join, parse_address
from confd.web.api.endpoint import Answer, Call, NamespaceQuery, Scope, endpoint
from confd.web.auth.principals import Permission
from confd.web.auth.throttle import source_of
from confd.web.openapi.docs import LINK, Docs, MessageBody

Text = Annotated[str, msgspec.Meta(max_length=METADATA_MAX)]
Name = Annotated[str, msgspec.Meta(max_length=HOSTNAME_MAX)]

#: The chapter of the API document.
AGENTS = "agents"


class RegistrationRequest(msgspec.Struct):
    """
    What an agent says of itself. Unknown fields are accepted, unlike elsewhere: a newer agent can register with an
    older controller.

    @ivar advertise: host and port of its metrics, for Prometheus.
    """

    hostname: Name = ""
    metadata: Text = ""
    agent_id: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^({AGENT_ID.pattern})?$"})] = ""
    strategy: Annotated[str, msgspec.Meta(max_length=STRATEGY_MAX)] = ""
    namespace: str = DEFAULT_NAMESPACE
    advertise: Name = ""


class AgentQuery(msgspec.Struct, forbid_unknown_fields=True):
    """
    The agent of a request.

    @ivar id: its id, in place of that in the path. Older releases took C{.} and C{..}, which no path can carry.
    """

    id: Annotated[str, msgspec.Meta(max_length=64)] = ""


class ForgetQuery(AgentQuery, forbid_unknown_fields=True):
    """
    How an agent is to be forgotten.

    @ivar block: block the id: every request with it is refused until it is unblocked. It need not be known.
    """

    block: bool = False


class AgentsQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    A page of agents.

    @ivar limit: agents on the page, at most.
    @ivar after: the id of the last agent on the page before.
    @ivar state: only agents in this state.
    @ivar select: only agents that match this selector of labels, in the grammar of Kubernetes.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    after: Annotated[str, msgspec.Meta(max_length=64)] = ""
    state: Annotated[str, msgspec.Meta(max_length=16)] | None = None
    select: str = ""


@define(eq=False)
class AgentsApi:
    """Answer requests of agents, and of people about agents."""

    _registry: Registry
    _reader: ConfigReader
    _feed: Feed
    _convergence: Convergence
    _clock: IReactorTime

    @endpoint(
        "POST",
        "/api/v1/register",
        Permission.AGENT_SERVE,
        "Register an agent.",
        scope=Scope.BODY,
        body=RegistrationRequest,
        optional_body=True,
        docs=Docs(
            errors=(NotFound, Conflict, TooMany, Unavailable, Unprocessable),
            example={"hostname": "web-17", "metadata": "region=eu"},
            tag=AGENTS,
        ),
    )
    async def register(self, call: Call) -> RegistrationResponseBody:
        """
        Register an agent. With its earlier C{agent_id} it keeps its row; without one it gets a new UUID.

        An agent that registers with the shared identity receives a C{token}. Its id as user name and the token as
        password authenticate it alone. The new token replaces an earlier one, unless an agent used that one within
        the last three poll intervals. An agent that registers by its token keeps it.
        """
        wanted: RegistrationRequest = call.body
        current = (await self._reader.require(wanted.namespace)).configuration
        agent_tokens = self._registry.agent_tokens
        agent_id = agent_tokens.sender(call.principal, wanted.agent_id) or str(uuid.uuid4())
        there = self._registry.find(agent_id)
        if there is not None and not call.principal.may(Permission.AGENT_SERVE, there.namespace):
            raise Forbidden("other_agent", "The agent is of a namespace that these credentials are not for.")
        token, digest = ("", b"") if call.principal.agent_id else agent_tokens.issue(agent_id)
        registration = Registration(
            wanted.hostname, wanted.metadata, agent_id, wanted.strategy, wanted.namespace, _address(wanted.advertise)
        )
        source = source_of(call.request.getClientAddress())
        record = await self._feed.follow(self._registry.register(registration, digest, source))
        joined: RegistrationResponseBody = {
            "agent_id": record.id,
            "poll_url": "/api/v1/config",
            "poll_interval_seconds": current.poll_interval,
            "report_window_ms": round(1000 * self._registry.report_window(record.namespace)),
        }
        return {**joined, "token": token} if token else joined

    @endpoint(
        "GET",
        "/api/v1/agents",
        Permission.AGENTS_READ,
        "The agents of a namespace, a page at a time.",
        query=AgentsQuery,
        docs=Docs({200: list[AgentItem]}, gives=(LINK,), tag=AGENTS),
    )
    async def agents(self, call: Call) -> Answer:
        """List the agents by id; the C{Link} header leads to the next page (RFC 8288)."""
        query: AgentsQuery = call.query
        await self._reader.require(query.namespace)
        selector = parse_selector(query.select)
        found = await select_agents(
            self._registry, self._clock, query.namespace, selector, query.limit + 1, query.after, query.state
        )
        page = found[: query.limit]
        headers = {}
        if len(found) > len(page):
            rest = {"namespace": query.namespace, "limit": query.limit, "after": page[-1].id}
            if query.state is not None:
                rest["state"] = query.state
            if query.select:
                rest["select"] = query.select
            # Relative to the request: a proxy may serve this path below a prefix.
            headers["Link"] = f'<?{urlencode(rest)}>; rel="next"'
        items = [agent_item(self._registry.status(record)) for record in page]
        return Answer(strict_json.encode(items), headers=headers)

    @endpoint(
        "GET",
        "/api/v1/agents/<agent_id>",
        Permission.AGENTS_READ,
        "One agent.",
        scope=Scope.AGENT,
        query=AgentQuery,
        docs=Docs(errors=(Unavailable,), tag=AGENTS),
    )
    async def agent(self, call: Call, agent_id: str) -> AgentDetail:
        """Return an agent with its reports on the newest versions."""
        return await self._detail(call.query.id or agent_id)

    async def _detail(self, agent_id: str) -> AgentDetail:
        await self._reader.require(DEFAULT_NAMESPACE)
        record = self._registry.get(agent_id)
        reports = [agent_report(tag, outcome) for tag, outcome in self._convergence.reports_of(record)]
        declared = self._registry.labels.declared(record)
        return {
            **agent_item(self._registry.status(record)),
            "labels_declared": dict(declared.labels),
            "labels_set": dict(record.labels_set),
            "labels_ignored": list(declared.ignored),
            "reports": reports,
        }

    @endpoint(
        "POST",
        "/api/v1/agents/<agent_id>/labels",
        Permission.AGENTS_WRITE,
        "Change the labels of an agent.",
        scope=Scope.AGENT,
        query=AgentQuery,
        body=LabelChanges,
        named_by="id",
        docs=Docs(errors=(Unprocessable,), example={"stage": "canary", "old": None}, tag=AGENTS),
    )
    async def set_labels(self, call: Call, agent_id: str) -> AgentDetail:
        """
        Merge the body into the labels that operators set on the agent; C{null} removes a label.

        A label that is set wins over the agent's own label. It stays when the agent registers again, and goes when the
        agent is forgotten or moves to another namespace. Labels select agents; they grant nothing.
        """
        agent_id = call.query.id or agent_id
        await self._feed.follow(self._registry.set_labels(agent_id, check_changes(call.body), call.attempt))
        return await self._detail(agent_id)

    @endpoint(
        "DELETE",
        "/api/v1/agents/<agent_id>",
        Permission.AGENTS_WRITE,
        "Forget an agent.",
        scope=Scope.AGENT,
        query=ForgetQuery,
        named_by="id",
        docs=Docs(tag=AGENTS),
    )
    async def forget(self, call: Call, agent_id: str) -> MessageBody:
        """
        Forget an agent: refuse its token, and end its stream. A live agent with the shared password registers again,
        unless C{block} is set. Block the agent of a stolen machine, and change the shared password.
        """
        query: ForgetQuery = call.query
        agent_id = query.id or agent_id
        if query.block and not valid_agent_id(agent_id) and self._registry.find(agent_id) is None:
            raise NotFound("unknown_agent", "No agent has this id, and it is not a valid id.")
        change = self._registry.block if query.block else self._registry.forget
        await self._feed.follow(change(agent_id, call.attempt))
        return MessageBody(f"Agent {agent_id} {'blocked' if query.block else 'forgotten'}")

    @endpoint(
        "POST",
        "/api/v1/agents/<agent_id>/reset",
        Permission.AGENTS_WRITE,
        "Void the token of an agent.",
        scope=Scope.AGENT,
        query=AgentQuery,
        named_by="id",
        docs=Docs(tag=AGENTS),
    )
    async def reset(self, call: Call, agent_id: str) -> MessageBody:
        """
        Refuse the token of an agent from now on. The next registration with its id gets a new token: that of the agent
        itself, which registers again at once, or that of its successor.
        """
        agent_id = call.query.id or agent_id
        await self._feed.follow(self._registry.reset_token(agent_id, call.attempt))
        return MessageBody(f"Agent {agent_id} gets a new token when it registers again")

    @endpoint(
        "GET",
        "/api/v1/blocked",
        Permission.AGENTS_WRITE,
        "The blocked agents.",
        docs=Docs(errors=(Unavailable,), tag=AGENTS),
    )
    async def blocked(self, call: Call) -> BlockedAgentsBody:
        """List the blocked ids; the audit log has who blocked each, and when."""
        await self._reader.require(DEFAULT_NAMESPACE)
        return {"items": sorted(self._registry.agent_tokens.blocked)}

    @endpoint(
        "DELETE",
        "/api/v1/blocked/<agent_id>",
        Permission.AGENTS_WRITE,
        "Unblock an agent.",
        query=AgentQuery,
        named_by="id",
        docs=Docs(tag=AGENTS),
    )
    async def unblock(self, call: Call, agent_id: str) -> MessageBody:
        """Let an agent register again; an agent that still tries succeeds by itself."""
        agent_id = call.query.id or agent_id
        if agent_id not in self._registry.agent_tokens.blocked:
            await self._reader.look()
        await self._feed.follow(self._registry.unblock(agent_id, call.attempt))
        return MessageBody(f"Agent {agent_id} may register again")


def _address(text: str) -> str:
    """
    Return the normal form of a host and a port; an empty text stays empty.

    @raise Unprocessable: C{bad_advertise}.
    """
    try:
        return join(*parse_address(text)) if text else ""
    except ValueError as error:
        raise Unprocessable("bad_advertise", f"The address in advertise {error}.") from None
