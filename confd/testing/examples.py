"""Values to test with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from attrs import evolve

from confd import jsontext
from confd.model import DEFAULT_NAMESPACE, AgentRecord, Draft

_MOMENT = datetime(2026, 11, 24, 12, 30, 15, 123456, UTC)


def a_draft(number: int = 0, **changes: Any) -> Draft:
    """A draft of a document that holds C{number}; C{changes} are other fields of it."""
    document = jsontext.document({"url": "https://ip.me", "n": number})
    return evolve(Draft(DEFAULT_NAMESPACE, document, "admin", _MOMENT), **changes)


def an_agent(agent_id: str, **changes: Any) -> AgentRecord:
    """An agent that registered and never polled."""
    record = AgentRecord(
        agent_id, DEFAULT_NAMESPACE, "host-1", "region=us-west", "POLLER", _MOMENT.replace(microsecond=0)
    )
    return evolve(record, **changes)
