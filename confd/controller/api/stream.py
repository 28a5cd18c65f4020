"""The event stream as a path."""

from __future__ import annotations

from attrs import define

from confd.codec import sse
from confd.controller.agents.registry import Registry
from confd.controller.rollouts.service import Rollouts
from confd.controller.streams.config_stream import ConfigStream
from confd.controller.streams.stream_ends import StreamEnds
from confd.web.api.endpoint import Call, NamespaceQuery, endpoint
from confd.web.api.streaming import StreamingAnswer
from confd.web.auth.principals import POLL
from confd.web.openapi.docs import AGENT_ID, LAST_EVENT_ID, Docs

_DOCS = Docs({200: sse.CONTENT_TYPE}, takes=(LAST_EVENT_ID, AGENT_ID), tag="events")


@define(eq=False)
class StreamApi:
    """Joins callers to the hub."""

    _config_stream: ConfigStream
    _registry: Registry
    _rollouts: Rollouts
    _ends: StreamEnds

    @endpoint(
        "GET",
        "/api/v1/stream",
        POLL,
        "Each change, as server-sent events.",
        query=NamespaceQuery,
        docs=_DOCS,
    )
    async def stream(self, call: Call) -> StreamingAnswer:
        """Stream the configurations. With the current tag in C{Last-Event-ID}, the first event is the next change."""
        known = call.header("Last-Event-ID")
        agent_id = self._registry.agent_tokens.sender(call.principal, call.header("X-Agent-ID") or "")
        await self._rollouts.served(call.query.namespace, known, agent_id)
        if agent_id:
            self._registry.polled(agent_id, bool(call.principal.agent_id))
        reader = self._config_stream.join(call.request, call.query.namespace, known, agent_id)
        return self._ends.answer(call, reader)
