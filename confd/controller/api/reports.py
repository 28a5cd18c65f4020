"""The endpoint for reports of agents."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec
from attrs import define

from confd.controller.agents.registry import Registry
from confd.controller.configs.reader import ConfigReader
from confd.controller.convergence.report_intake import ReportIntake
from confd.errors import Conflict, Forbidden, Malformed, NotFound, Unavailable
from confd.model import DEFAULT_NAMESPACE, TAG, Tag
from confd.reports import Report, ReportState, Timings
from confd.web.api.endpoint import Call, Scope, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import AGENT_ID, Docs, written_as

#: Longest time in a report: one day.
_LONGEST_MS = 86_400_000

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_MS)]
TagText = Annotated[str, msgspec.Meta(min_length=1, max_length=64), written_as(TAG)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

_CLUSTER_ID = r"^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?$"


class TimingsRequest(msgspec.Struct):
    """Durations by the monotonic clock of the agent: L{Timings}."""

    agent: Milliseconds | None = None
    worker: Milliseconds | None = None
    waited: Milliseconds | None = None


class ReportRequest(msgspec.Struct):
    """
    The result of a version. Unknown fields are accepted: a newer agent must be able to report to an
    older controller.
    """

    agent_id: str
    version: TagText | Annotated[int, msgspec.Meta(ge=1, le=10**18 - 1)]
    state: ReportState
    namespace: str = DEFAULT_NAMESPACE
    error: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    verified: bool = True
    holds: TagText | None = None
    holds_cluster_id: Annotated[str, msgspec.Meta(pattern=_CLUSTER_ID)] = ""
    repairs: Count = 0
    ms: TimingsRequest = msgspec.field(default_factory=TimingsRequest)
    session: Annotated[str, msgspec.Meta(max_length=64)] = ""
    sequence: Count = 0


class ReportResponse(msgspec.Struct):
    """The milliseconds over which the agent spreads its next report."""

    report_window_ms: int


#: Most reports name one of a few versions.
_parse_tag = lru_cache(1024)(Tag.parse)


@define(eq=False)
class ReportsApi:
    """Pass reports to the L{ReportIntake}."""

    _report_intake: ReportIntake
    _registry: Registry
    _reader: ConfigReader

    @endpoint(
        "POST",
        "/api/v1/report",
        Permission.AGENT_SERVE,
        "Report the result of a version.",
        scope=Scope.BODY,
        body=ReportRequest,
        docs=Docs(
            errors=(NotFound, Conflict, Unavailable),
            takes=(AGENT_ID,),
            example={"agent_id": "a1", "version": "1a2b3c4d.1.7", "state": "applied"},
            tag="agents",
        ),
    )
    async def report(self, call: Call) -> ReportResponse:
        """Store a report. The answer comes once it is on disk, with the time over which to spread the next one."""
        body: ReportRequest = call.body
        await self._reader.require(body.namespace)
        sender = call.header("X-Agent-ID")
        if sender and sender != body.agent_id:
            raise Forbidden("other_agent", "agent_id is not the one of X-Agent-ID; an agent reports for itself.")
        agent_tokens = self._registry.agent_tokens
        agent_tokens.sender(call.principal, body.agent_id)
        if call.principal.agent_id:
            agent_tokens.use(body.agent_id)
        report = _report(body)
        await self._reader.require(body.namespace, report.tag.version)
        if self._registry.rows.namespace_of(body.agent_id) != body.namespace:
            await self._reader.look()
        await self._report_intake.take(body.agent_id, body.namespace, report)
        return ReportResponse(round(1000 * self._registry.report_window(body.namespace)))


def _report(body: ReportRequest) -> Report:
    ms, tag = body.ms, _tag(str(body.version), "version")
    holds = None
    if body.holds is not None:
        # Most agents hold the version that they report: share the tag.
        holds = tag if body.holds == body.version else _tag(body.holds, "holds")
    return Report(
        tag,
        body.state,
        body.error,
        body.verified,
        holds,
        body.holds_cluster_id,
        body.repairs,
        Timings(ms.agent, ms.worker, ms.waited),
        body.session,
        body.sequence,
    )


def _tag(text: str, name: str) -> Tag:
    try:
        return _parse_tag(text)
    except ValueError as error:
        raise Malformed("bad_field", f"{name}: {error}.", [{"pointer": f"/{name}", "message": str(error)}]) from None
