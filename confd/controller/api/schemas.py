"""The bodies of the answers. The API document is built from them, and mypy checks the handlers against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec

from confd.codec.labels import KEY, VALUE
from confd.codec.strict_json import JsonObject, JsonValue
from confd.reports import ReportState
from confd.web.openapi.docs import Moment, Spliced, written_as

StateName = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["silent", *(each.value for each in ReportState)]})]


#: Labels to set on an agent; C{null} removes a label. L{confd.codec.labels.check_changes} checks them.
LabelChanges = dict[
    Annotated[str, written_as(KEY)],
    Annotated[JsonValue, msgspec.Meta(extra_json_schema={"type": ["string", "null"], "pattern": f"^{VALUE.pattern}$"})],
]


class RegistrationResponseBody(TypedDict):
    """
    The id of the agent, the interval of its namespace, and its token.

    The token is the password of the agent, with its id as the user name. It is shown this once.
    """

    agent_id: str
    poll_url: str
    poll_interval_seconds: int
    report_window_ms: int
    token: NotRequired[str]


class BlockedAgentsBody(TypedDict):
    """The ids of the blocked agents."""

    items: list[str]


class AgentItem(TypedDict):
    """
    An agent.

    C{applied_version} is C{null} if it is unknown, or a version of another cluster. C{verified} tells whether the agent
    read the configuration back from the worker. C{duplicate} tells whether more than one agent used the id in the last
    hour.
    """

    id: str
    registered_at: Moment
    last_poll: Moment | None
    metadata: str
    hostname: str
    namespace: str
    strategy: str
    state: StateName | None
    applied_version: int | None
    applied_tag: str | None
    error: str | None
    verified: bool | None
    repairs: int
    reported_at: Moment | None
    duplicate: bool
    labels: dict[str, str]


class TimingsBody(TypedDict):
    """Milliseconds by the monotonic clock of the agent; C{null} if not measured."""

    agent: float | None
    worker: float | None
    waited: float | None


class AgentReport(TypedDict):
    """The result of one version on one agent."""

    version: int
    tag: str
    state: ReportState
    error: str | None
    verified: bool
    at: Moment
    ms: TimingsBody


class AgentDetail(AgentItem):
    """An agent with its outcomes of the newest versions, newest first."""

    labels_declared: dict[str, str]
    labels_set: dict[str, str]
    labels_ignored: list[str]
    reports: list[AgentReport]


class Quantiles(TypedDict):
    """Milliseconds from POST to applied, or of a part of it; C{null} if not measured on any agent."""

    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Laggard(TypedDict):
    """An agent that has not applied the version."""

    id: str
    hostname: str
    state: str
    version: int | None
    error: str | None
    last_seen: Moment | None


class OpenRolloutBody(TypedDict):
    """The rollout whose C{members} are served the C{candidate}."""

    id: int
    candidate: int
    members: int


class ConvergenceBody(Quantiles):
    """
    The convergence of a version: C{targeted} is the sum of the states; C{passed} agents went on to a newer version.
    During a rollout, the current version is for all agents but the members, and the candidate for the members.

    C{hops} are commit, notify, agent, worker and ack; C{curve_ms} are times, ascending and evenly picked.
    """

    namespace: str
    version: int
    epoch: int
    tag: str
    published_at: Moment
    targeted: int
    applied: int
    failed: int
    applying: int
    silent: int
    pending: int
    passed: int
    hops: Mapping[str, Quantiles]
    curve_ms: Sequence[float]
    laggards: list[Laggard]
    rollout: NotRequired[OpenRolloutBody]


class CurrentConfigBody(TypedDict):
    """The current configuration, and the public keys that verify its announcements, newest first."""

    version: int
    data: Spliced
    poll_interval_seconds: int
    epoch: int
    cluster_id: str
    checksum: str
    updated_at: Moment
    namespace: str
    signing_key: str | None
    signing_keys: list[str]


class PublishBody(TypedDict):
    """
    A new version; C{published} tells whether every broker has it.

    C{convergence} is present with C{wait}; it is C{null} if the version keeps no convergence any more. C{change} is the
    change that was applied.
    """

    message: str
    version: int
    epoch: int
    published: bool
    rollback_of: NotRequired[int]
    change: NotRequired[int]
    convergence: NotRequired[ConvergenceBody | None]


class AffectedAgents(TypedDict):
    """Agents that a change would reach, and the number of live ones."""

    targeted: int
    live: int


class WavePreview(TypedDict):
    """The members after a wave, and the ids of some agents that it would add."""

    members: int
    sample: list[str]


class DryRunBody(TypedDict):
    """
    The result of a change, as RFC 6902 and as unified text.

    With C{rollout}: C{waves}; C{unfit} agents, whose failure would not count; and agents that have not reported yet.
    """

    message: str
    dry_run: bool
    version: int
    epoch: int
    patch: list[JsonObject]
    text: str
    agents: AffectedAgents
    rollback_of: NotRequired[int]
    waves: NotRequired[list[WavePreview]]
    unfit: NotRequired[int]
    cannot_report: NotRequired[int]


class ApprovalItem(TypedDict):
    """An approval of a change."""

    subject: str
    who: str
    at: Moment
    comment: str


class VersionItem(TypedDict):
    """
    A version without its document.

    A version that a rollout made has its id. C{state} is absent once the version was current. C{break_glass} is the
    reason of a call that passed the policy and the freezes of the namespace. A version that came from a change has the
    id and the approvals of the change.
    """

    version: int
    epoch: int
    tag: str
    created_at: Moment
    author: str
    comment: str
    checksum: str
    poll_interval_seconds: int
    rollback_of: NotRequired[int]
    rollout: NotRequired[int]
    state: NotRequired[Literal["candidate", "dropped"]]
    break_glass: NotRequired[str]
    change: NotRequired[int]
    approvals: NotRequired[list[ApprovalItem]]


class HistoryPage(TypedDict):
    """Versions, newest first; C{next} is the C{before} of the next page, if another page follows."""

    items: list[VersionItem]
    next: NotRequired[int]


class VersionBody(VersionItem):
    """A version with its document."""

    namespace: str
    cluster_id: str
    updated_at: Moment
    data: Spliced


#: The difference of two versions, as RFC 6902 and as unified text.
DiffBody = TypedDict("DiffBody", {"from": int, "to": int, "patch": list[JsonObject], "text": str})


class NamespaceItem(TypedDict):
    """A namespace, its current version, and the numbers of its registered and live agents."""

    name: str
    version: int
    epoch: int
    updated_at: Moment
    agents: int
    live_agents: int
