"""Values to test with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from attrs import evolve

from confd.access.tokens import Token
from confd.audit import Attempt
from confd.changes import ReceivedReport
from confd.codec import strict_json
from confd.history import EpochChange
from confd.model import DEFAULT_NAMESPACE, Configuration, Draft, Tag
from confd.reports import AgentRecord, Report, ReportState, Timings

_MOMENT = datetime(2026, 11, 24, 12, 30, 15, 123456, UTC)

T = TypeVar("T")


def a_draft(number: int = 0, **changes: object) -> Draft:
    """Make a draft of a document that holds C{number}; C{changes} are other fields of it."""
    document = strict_json.document({"url": "https://ip.me", "n": number})
    return _with(Draft(DEFAULT_NAMESPACE, document, "admin", _MOMENT), changes)


def a_configuration(version: int, value: object = None, **changes: object) -> Configuration:
    """
    Make a version of the namespace C{default}.

    @param value: the document; by default, its member C{n} is C{version}.
    @param changes: other fields.
    """
    document = strict_json.document({"n": version} if value is None else value)
    made = Configuration("1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d", 1, version, DEFAULT_NAMESPACE, document, 30, _MOMENT)
    return _with(made, changes)


def an_epoch_change(epoch: int, **changes: object) -> EpochChange:
    """Make the change that begins an epoch; C{changes} are other fields of it."""
    return _with(EpochChange("admin", _MOMENT, epoch), changes)


def an_agent(agent_id: str, **changes: object) -> AgentRecord:
    """Make an agent that registered and never polled."""
    record = AgentRecord(
        agent_id, DEFAULT_NAMESPACE, "host-1", "region=us-west", "POLLER", _MOMENT.replace(microsecond=0)
    )
    return _with(record, changes)


def an_attempt(number: int = 0, **changes: object) -> Attempt:
    """Make the attempt of a change in the request C{number}."""
    attempt = Attempt("admin", "192.0.2.7", "POST /api/v1/config", DEFAULT_NAMESPACE, f"request-{number}", _MOMENT)
    return _with(attempt, changes)


def a_token(token_id: str, **changes: object) -> Token:
    """Make an API token, whose digest is made of its id."""
    token = Token(
        token_id,
        f"ci-{token_id}",
        "alice",
        hashlib.sha256(token_id.encode()).digest(),
        '[{"role":"viewer","namespaces":["*"]}]',
        _MOMENT.replace(microsecond=123_000),
        "admin",
        _MOMENT.replace(microsecond=0) + timedelta(days=90),
    )
    return _with(token, changes)


def a_received_report(
    agent_id: str,
    version: int,
    state: ReportState = ReportState.APPLIED,
    error: str = "",
    namespace: str = DEFAULT_NAMESPACE,
    sequence: int | None = None,
) -> ReceivedReport:
    """
    Return a received report whose fields are all set.

    @param sequence: its number in the session; C{version} by default.
    """
    tag, moment = Tag("1a2b3c4d", 1, version), _MOMENT.replace(microsecond=0)
    report = Report(
        tag,
        state,
        error,
        False,
        tag,
        "1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d",
        3,
        Timings(0.5, 2.25, 7),
        "session",
        version if sequence is None else sequence,
    )
    return ReceivedReport(agent_id, namespace, report, 1000.0, moment)


def _with(value: T, changes: Mapping[str, object]) -> T:
    return evolve(value, **changes)  # type: ignore[misc]
