"""The bodies of the answers about the cluster."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from confd.web.openapi.docs import Moment


class AgentsAhead(TypedDict):
    """Agents ahead of the current version here, and their highest epoch."""

    agents: int
    epoch: int


class ForeignAgents(TypedDict):
    """Agents that hold a version of another cluster, and its highest epoch."""

    cluster_id: str
    agents: int
    epoch: int


class HerdLimits(TypedDict):
    """Requests and bytes per second of HERD_REQUESTS and HERD_BYTES; 0 sets no limit."""

    requests: int
    bytes: int


class ControllerItem(TypedDict):
    """
    A controller on the database, as of its last heartbeat.

    C{state} is C{lost} 10 s after it. C{lag} is the number of changes that the controller had not applied.
    """

    address: str
    release: str
    state: str
    started_at: Moment
    heard_at: Moment
    seen_seq: int
    lag: int


class ClusterBody(TypedDict):
    """
    The identity of the cluster, and agents that hold versions of other histories.

    C{herd} is present if the controller has such limits, C{controllers} on PostgreSQL.
    """

    cluster_id: str
    epoch: int
    ahead: AgentsAhead
    foreign: list[ForeignAgents]
    herd: NotRequired[HerdLimits]
    controllers: NotRequired[list[ControllerItem]]


class EpochBody(TypedDict):
    """A namespace with its new version."""

    name: str
    version: int
    epoch: int


class ClusterChangeBody(TypedDict):
    """The new identity of the cluster."""

    message: str
    epoch: int
    cluster_id: str
    namespaces: list[EpochBody]


class KeyRotationBody(TypedDict):
    """The public key of the new pair."""

    message: str
    signing_key: str
