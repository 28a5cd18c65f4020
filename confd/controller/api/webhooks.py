"""The endpoint that tests the webhooks."""

from __future__ import annotations

from typing import TypedDict

from attrs import define

from confd.audit import AuditOutcome
from confd.controller.webhooks.events import Events
from confd.controller.webhooks.queue import QueueSenders
from confd.errors import Unavailable
from confd.interfaces import IAuditStore
from confd.web.api.endpoint import Call, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs


class PingItem(TypedDict):
    """
    The result of a test event.

    @ivar number: place of the URL in C{WEBHOOK_URLS}.
    @ivar error: why the receiver did not take the event; empty if it did.
    @ivar waiting: events that wait for the receiver.
    """

    number: int
    host: str
    error: str
    waiting: int


class PingBody(TypedDict):
    """The results of all receivers."""

    items: list[PingItem]


@define(eq=False)
class WebhooksApi:
    """
    Test the webhooks.

    @ivar events: describes events; C{None} without receivers.
    """

    _senders: QueueSenders
    _events: Events | None
    _store: IAuditStore

    @endpoint(
        "POST",
        "/api/v1/webhooks/ping",
        Permission.ADMIN,
        "Send a test event to each webhook.",
        docs=Docs({200: PingBody}, (Unavailable,), tag="webhooks"),
    )
    async def ping(self, call: Call) -> PingBody:
        """Send an event C{ping} to each URL at once, beside the queues; the answer comes after 15 seconds at most."""
        assert call.attempt is not None
        await self._store.record([AuditOutcome(call.attempt)])
        results = [] if self._events is None else await self._senders.ping(self._events.ping())
        return {
            "items": [
                {
                    "number": sender.receiver.number,
                    "host": sender.receiver.host,
                    "error": error,
                    "waiting": sender.state.waiting,
                }
                for sender, error in results
            ]
        }
