"""What the controller's answers hold: the API document is made of these, and mypy holds the handlers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from confd.reports import ReportState
from confd.web.openapi.docs import Moment, Spliced

StateName = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["silent", *(each.value for each in ReportState)]})]


class RegistrationResponseBody(TypedDict):
    """
    What an agent goes by from now on; the interval is the one of its namespace, and the token is what it proves to be
    itself by: with its id as the user name, and told this once.
    """

    agent_id: str
    poll_url: str
    poll_interval_seconds: int
    report_window_ms: int
    token: NotRequired[str]


class BlockedAgentsBody(TypedDict):
    """The ids of the agents that are kept out."""

    items: list[str]


class AgentItem(TypedDict):
    """
    One agent as people are shown it.

    C{applied_version} is C{null} while it is not known, or is a version of another cluster; C{verified} says whether
    the worker was asked what it has; C{duplicate} that two agents go by this id, as their reports of the last hour
    tell.
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


class TimingsBody(TypedDict):
    """Where the time went, in milliseconds by the agent's monotonic clock; C{null} where that was not measured."""

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
    """An agent with what it said of the newest versions, newest first."""

    reports: list[AgentReport]


class Quantiles(TypedDict):
    """Of POST-to-applied or of a part of it, in milliseconds; C{null} where nobody was measured."""

    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Laggard(TypedDict):
    """An agent that does not run the version."""

    id: str
    hostname: str
    state: str
    version: int | None
    error: str | None
    last_seen: Moment | None


class ConvergenceBody(Quantiles):
    """
    Who runs a version: C{targeted} is the sum of the states; C{passed} went on to a newer one without it.

    C{hops} are commit, notify, agent, worker and ack; C{curve_ms} are latencies, sorted and evenly picked.
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
    A new version; C{published} is whether every broker has it. C{convergence} is there for who waits: C{null} where the
    version is not followed any more.
    """

    message: str
    version: int
    epoch: int
    published: bool
    rollback_of: NotRequired[int]
    convergence: NotRequired[ConvergenceBody | None]


class AffectedAgents(TypedDict):
    """Agents that a change would go to, and those of them that were heard of lately."""

    targeted: int
    live: int


class DryRunBody(TypedDict):
    """What would come of a change, as RFC 6902 and as unified text."""

    message: str
    dry_run: bool
    version: int
    epoch: int
    patch: list[dict[str, Any]]
    text: str
    agents: AffectedAgents
    rollback_of: NotRequired[int]


class VersionItem(TypedDict):
    """A version without its document."""

    version: int
    epoch: int
    tag: str
    created_at: Moment
    author: str
    comment: str
    checksum: str
    poll_interval_seconds: int
    rollback_of: NotRequired[int]


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


#: What one version has that another one has not, as RFC 6902 and as unified text.
DiffBody = TypedDict("DiffBody", {"from": int, "to": int, "patch": list[dict[str, Any]], "text": str})


class NamespaceItem(TypedDict):
    """A namespace, its current version, and the numbers of its registered and live agents."""

    name: str
    version: int
    epoch: int
    updated_at: Moment
    agents: int
    live_agents: int


class AgentsAhead(TypedDict):
    """Agents ahead of the current version here, and their highest epoch."""

    agents: int
    epoch: int


class ForeignAgents(TypedDict):
    """Agents that hold something of another cluster, and the highest epoch of it."""

    cluster_id: str
    agents: int
    epoch: int


class ClusterBody(TypedDict):
    """Who this cluster is, and which agents know better."""

    cluster_id: str
    epoch: int
    ahead: AgentsAhead
    foreign: list[ForeignAgents]


class EpochBody(TypedDict):
    """A namespace with the version that it got."""

    name: str
    version: int
    epoch: int


class ClusterChangeBody(TypedDict):
    """What the cluster is called from now on."""

    message: str
    epoch: int
    cluster_id: str
    namespaces: list[EpochBody]


class KeyRotationBody(TypedDict):
    """The public key of the new pair."""

    message: str
    signing_key: str
