"""The endpoint of the event feed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import define
from twisted.internet.interfaces import IReactorTime

from confd.codec import sse
from confd.controller.configs.reader import ConfigReader
from confd.controller.streams.event_feed import EventFeed
from confd.web.api.endpoint import Call, NamespaceQuery, endpoint
from confd.web.api.streaming import StreamingAnswer, abort_in
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs


@define(eq=False)
class EventsApi:
    """Subscribe to the event feed."""

    _events: EventFeed
    _reader: ConfigReader
    _clock: IReactorTime
    _now: Callable[[], datetime]

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
        if call.request.method == b"HEAD":
            # Its answer has no body, so there is nothing that could keep it open.
            watcher.end()
        elif call.principal.expires_at is not None:
            left = (call.principal.expires_at - self._now()).total_seconds()
            abort_in(self._clock, left, call.request, watcher)
        return StreamingAnswer(watcher.done)
