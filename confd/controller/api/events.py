"""The endpoint of the event feed."""

from __future__ import annotations

from attrs import define

from confd.codec import sse
from confd.controller.configs.reader import ConfigReader
from confd.controller.streams.event_feed import EventFeed
from confd.controller.streams.stream_ends import StreamEnds
from confd.web.api.endpoint import Call, NamespaceQuery, endpoint
from confd.web.api.streaming import StreamingAnswer
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs


@define(eq=False)
class EventsApi:
    """Subscribe to the event feed."""

    _events: EventFeed
    _reader: ConfigReader
    _ends: StreamEnds

    @endpoint(
        "GET",
        "/api/v1/events",
        Permission.AGENTS_READ,
        "Server-sent events of a namespace: config, agents, convergence, rollout, changes, break_glass.",
        query=NamespaceQuery,
        docs=Docs({200: sse.CONTENT_TYPE}, tag="events"),
    )
    async def events(self, call: Call) -> StreamingAnswer:
        """Stream the present state at once, then changes; a slow reader gets the newest only."""
        await self._reader.require(call.query.namespace)
        watcher = self._events.join(call.request, call.query.namespace)
        return self._ends.answer(call, watcher)
