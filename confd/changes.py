"""
The values of the change feed: a change is one committed fact with a number, and all memory follows the changes.

A kind of change is declared once, in L{KINDS}. A controller skips a kind that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec
from attrs import evolve, field, frozen

from confd.access.break_glass import BreakGlass
from confd.access.change_requests import ChangeRequest
from confd.access.freezes import Freeze
from confd.access.policies import Policy
from confd.access.tokens import Token
from confd.codec.signing import SigningKey
from confd.history import VersionSummary
from confd.model import Configuration, Revision
from confd.reports import AgentRecord, Report, VersionOutcome

T = TypeVar("T")

#: The newest versions of a namespace that L{Contents} lists.
VERSIONS_LISTED = 16


@frozen
class Change:
    """
    One committed change.

    @ivar seq: its number; the numbers of the changes have no gaps.
    @ivar kind: a key of L{KINDS}, or a kind of a newer release.
    @ivar subject: the namespace or the id of the agent that changed; empty for the cluster.
    @ivar value: as the kind declares.
    """

    seq: int
    kind: str
    subject: str
    value: Any


@frozen
class Batch:
    """
    Consecutive changes, ascending.

    @ivar complete: false if the store keeps the first of the changes asked for no longer: load L{Contents} instead.
    @ivar more: whether later changes exist already.
    """

    changes: Sequence[Change]
    complete: bool = True
    more: bool = False


@frozen
class IdentityRecord:
    """
    The cluster as its database knows it.

    @ivar cluster_id: a UUID.
    @ivar epoch: 1 in a new database; an operator raises it after a restore.
    @ivar keys: the signing keys that are valid, the current one first.
    """

    cluster_id: str
    epoch: int
    keys: tuple[SigningKey, ...]


@frozen
class Published:
    """
    The value of a C{revision} change.

    @ivar configuration: C{None} if a newer revision of the namespace follows in the batch, and in L{Contents}.
    @ivar posted: when the POST arrived, in seconds of the monotonic clock of this process; C{None} if another process
        took the POST.
    @ivar commit_ms: milliseconds from the arrival of the POST to the commit; C{None} if unknown.
    """

    version: VersionSummary
    configuration: Configuration | None = None
    posted: float | None = None
    commit_ms: float | None = None


@frozen
class AgentChange:
    """
    The value of an C{agent} change.

    @ivar namespace: the namespace of the agent after the change; empty if the agent is in none.
    """

    what: Literal["forgotten", "blocked", "unblocked", "token", "moved"]
    namespace: str = ""


@frozen
class Lanes:
    """
    The value of a C{rollout} change: the versions that the agents of a namespace are served.

    @ivar rollout: the rollout that changed last.
    @ivar step: of the rollout.
    @ivar open: whether the rollout has not ended.
    @ivar candidate: the version for members; C{None} if all callers are served the current version.
    @ivar configuration: the candidate; C{None} if a newer change of the lanes follows in the batch.
    @ivar members: ids of all members.
    """

    rollout: int
    step: int
    open: bool = True
    candidate: VersionSummary | None = None
    members: tuple[str, ...] = ()
    configuration: Configuration | None = None


@frozen
class Contents:
    """
    What a controller keeps in memory.

    @ivar seq: number of the last change that is certainly included.
    @ivar revisions: the current revision of each namespace in use.
    @ivar versions: the newest L{VERSIONS_LISTED} versions of each namespace in use, newest first.
    @ivar blocked: ids of all blocked agents.
    @ivar lanes: by namespace, where a rollout is open.
    """

    seq: int
    identity: IdentityRecord
    revisions: Sequence[Revision]
    versions: Mapping[str, Sequence[Published]]
    blocked: frozenset[str]
    lanes: Mapping[str, Lanes] = field(factory=dict)


@frozen
class Committed(Generic[T]):
    """
    The result of a write.

    @ivar seq: number of the last change of its transaction. The memory of this process shows the write once the feed
        has applied that change. An idempotent replay has such a number, too.
    """

    value: T
    seq: int


@frozen
class ReceivedReport:
    """
    A report that the store has yet to judge.

    @ivar arrived: in seconds of the monotonic clock.
    @ivar at: the same by the wall clock, UTC, for people.
    """

    agent_id: str
    namespace: str
    report: Report
    arrived: float
    at: datetime


#: An accepted report, and the outcome that it made of its version.
TakenReport = tuple[ReceivedReport, VersionOutcome]


@frozen
class ReportVerdict:
    """
    The store's verdict on one report.

    @ivar outcome: of that version on that agent, after the report; C{None} if the report was not taken.
    @ivar before: the same before the report; C{None} if the agent had not reported on the version.
    """

    kind: Literal["taken", "repeated", "out_of_order", "unknown_agent", "other_namespace"]
    outcome: VersionOutcome | None = None
    before: VersionOutcome | None = None


@frozen
class Body:
    """
    How a database writes the value of a change.

    @ivar type: what the JSON holds; a type that msgspec knows.
    @ivar reduce: leaves out what the database keeps in other tables, and what has no meaning in other processes.
    """

    type: Any
    reduce: Callable[[Any], object] = lambda value: value

    def encode(self, value: object) -> bytes:
        """Return the JSON of a value."""
        return msgspec.json.encode(self.reduce(value))

    def decode(self, body: bytes) -> Any:
        """
        Return the value that C{body} holds.

        @raise msgspec.DecodeError: if C{body} holds no such value.
        """
        return msgspec.json.decode(body, type=self.type)


_NOTHING = Body(None, lambda value: None)

#: The names of the kinds.
REVISION, RETIRED, IDENTITY, KEYS, AGENT, LABELS = "revision", "retired", "identity", "keys", "agent", "labels"
ROLLOUT, EXPOSED, TOKEN, FREEZE, POLICY = "rollout", "exposed", "token", "freeze", "policy"
BREAK_GLASS, CHANGE_REQUEST, REGISTERED, REPORTED = "break_glass", "change_request", "registered", "reported"

#: Each kind of change and its body. The values of C{identity} and C{keys} are read from the tables that hold the keys.
KINDS: Mapping[str, Body] = {
    REVISION: Body(Published, lambda value: evolve(value, configuration=None, posted=None)),
    RETIRED: _NOTHING,
    IDENTITY: _NOTHING,
    KEYS: _NOTHING,
    AGENT: Body(AgentChange),
    LABELS: Body(dict[str, str]),
    ROLLOUT: Body(Lanes, lambda value: evolve(value, configuration=None)),
    EXPOSED: Body(tuple[str, ...]),
    TOKEN: Body(Token),
    FREEZE: Body(Freeze),
    POLICY: Body(Policy),
    BREAK_GLASS: Body(BreakGlass),
    CHANGE_REQUEST: Body(ChangeRequest),
    # The row of the agent.
    REGISTERED: Body(AgentRecord, lambda value: evolve(value, labels_set=dict(value.labels_set))),
    # The accepted reports of one transaction, in order, and the outcome that each made of its version.
    REPORTED: Body(tuple[TakenReport, ...]),
}
