"""
Contracts between the parts of the controller that concern agents.

The rules of L{confd.interfaces} hold here too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from twisted.internet.defer import Deferred
from zope.interface import Interface

from confd.access.freezes import Freeze
from confd.access.policies import Policy
from confd.access.tokens import Token
from confd.audit import Attempt
from confd.changes import Committed, ReceivedReport, ReportVerdict
from confd.controller.store.cursor import ALL
from confd.interfaces import IAuditStore, IChangeRequestStore, IChangeStore, IConfigStore, IHealth
from confd.interfaces.controllers import IControllers
from confd.interfaces.webhooks import IWebhookStore
from confd.model import Draft, Registration
from confd.reports import AgentRecord, HeardElsewhere, VersionOutcome
from confd.rollouts.rollout import Member, Rollout
from confd.rollouts.steps import RolloutStep, Start, Stepped


class IAgentStore(Interface):
    """
    The agents that registered, durable.

    Each statement owns its columns: L{register} what an agent says of itself and its token, L{touch} the time of its
    last poll, L{IReportStore.save_reports} its report, L{set_labels} the labels that operators set.
    """

    def register(registration: Registration, token: bytes, at: datetime) -> Deferred[Committed[AgentRecord]]:
        """
        Insert an agent, or update what it says of itself: a change C{registered}.

        An agent that comes from another namespace loses its report, its outcomes and the labels that operators set: a
        change C{moved} before. A token in the place of another one is a change C{token} before.

        @param token: the digest of its new token; empty keeps the token that it has.
        @param at: the time of the registration, UTC; kept of the first one.
        @return: fires with the row, once it is on disk.
        @raise Forbidden: C{agent_blocked}.
        """

    def touch(polls: Mapping[str, datetime], shared: Collection[str] = ()) -> Deferred[None]:
        """
        Raise the time of the last poll of agents by id. Inserts no row, and lowers no time.

        @param shared: the agents among them that showed no token of their own; other controllers hear of it.
        """

    def heard() -> Deferred[HeardElsewhere]:
        """Fire with what other controllers heard since the last call."""

    def reset_token(agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """
        Remove the token of an agent: a change C{token}, if it has one.

        @raise NotFound: C{unknown_agent}.
        """

    def forget(agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """
        Delete an agent with all that it reported. An id that no agent has is no error.

        @param attempt: here and below, who asks: recorded in the same transaction.
        """

    def block(agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """Delete an agent as L{forget} does, and refuse its id from now on."""

    def unblock(agent_id: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """Accept an id again. An id that is not blocked is no error."""

    def set_labels(
        agent_id: str, changes: Mapping[str, str | None], attempt: Attempt | None = None
    ) -> Deferred[Committed[Mapping[str, str]]]:
        """
        Change the labels that operators set on an agent: a change C{labels}, unless the labels stay the same.

        @param changes: as L{confd.codec.labels.check_changes} returns them.
        @return: fires with the labels, once they are on disk.
        @raise NotFound: C{unknown_agent}.
        @raise Unprocessable: C{bad_label}.
        """

    def find(agent_id: str) -> Deferred[AgentRecord | None]:
        """Fire with an agent."""

    def find_token(digest: bytes) -> Deferred[str | None]:
        """Fire with the id of the agent whose token has a digest."""

    def page(namespace: str, limit: int, after: str) -> Deferred[Sequence[AgentRecord]]:
        """Fire with at most C{limit} agents of a namespace, by id, that follow the id C{after}."""

    def counts() -> Deferred[Mapping[str, int]]:
        """Fire with the number of agents of each namespace that has any."""


class IReportStore(Interface):
    """What agents reported, durable."""

    def save_reports(reports: Sequence[ReceivedReport]) -> Deferred[Committed[Sequence[ReportVerdict]]]:
        """
        Judge reports in the order of their arrival, and store the accepted ones, in one transaction: the report as
        the last one of its agent, and the outcome of its version on the agent: a change C{reported}.

        @return: fires with the verdict on each report, once they are on disk: see L{report_verdicts}.
        """

    def settle(archive: Sequence[tuple[str, int, bytes]]) -> Deferred[None]:
        """
        Replace the outcomes of a version and of older ones by a summary; keep the newest 10 000 of a namespace.

        @param archive: namespace, version and summary.
        """

    def summary(namespace: str, version: int) -> Deferred[bytes | None]:
        """Fire with the summary of a version, C{None} where none is kept."""


class IRolloutStore(Interface):
    """
    Rollouts, their members and plans, durable.

    The transaction that accepts a report also updates the row of the member. Forgetting, blocking or moving an agent
    takes it out of the counts.
    """

    def start_rollout(start: Start) -> Deferred[Committed[Stepped]]:
        """
        Publish a candidate, and expose the first wave, in one transaction: a change C{rollout}.

        @return: for an idempotency key that was seen with the same draft, fires with the rollout as it is now.
        @raise NotFound: C{unknown_namespace}.
        @raise PreconditionFailed: C{version_mismatch}.
        @raise Conflict: C{rollout_active}, C{no_eligible_agent}.
        @raise Unprocessable: C{idempotency_key_reused}.
        """

    def step_rollout(step: RolloutStep) -> Deferred[Committed[Stepped]]:
        """
        Ask C{step.judge} inside a transaction, and write what it wants: a change C{rollout}, and a change C{revision}
        where another version becomes current.

        @raise NotFound: C{unknown_rollout}.
        @raise ConfdError: that the judge raised.
        """

    def detect(rollout: int, agent_id: str, fit: bool, at: datetime) -> Deferred[Committed[bool]]:
        """
        Make an agent a member that named a version above the base: a change C{exposed}.

        @return: fires with whether the agent is a member of an open rollout.
        """

    def rollout(rollout: int) -> Deferred[tuple[Rollout, Sequence[Member]]]:
        """
        Fire with a rollout and its members; old rollouts have none.

        @raise NotFound: C{unknown_rollout}.
        """

    def rollouts(namespace: str, states: Sequence[str], limit: int, before: int | None) -> Deferred[Sequence[Rollout]]:
        """Fire with at most C{limit} rollouts in these states, older than number C{before}, newest first."""

    def next_rollout() -> Deferred[int]:
        """Fire with the id that the next rollout will get."""

    def open_rollouts() -> Deferred[Sequence[tuple[Rollout, Sequence[Member]]]]:
        """Fire with the open rollouts and their members."""

    def fates(namespace: str, versions: Sequence[int]) -> Deferred[Mapping[int, tuple[int, str]]]:
        """Fire with the rollout of each candidate among C{versions}, and C{open}, C{activated} or C{dropped}."""

    def plans() -> Deferred[Mapping[str, str]]:
        """Fire with the JSON text of each saved plan, by name."""

    def save_plan(name: str, body: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """
        Save a plan, in place of a plan with its name.

        @raise Conflict: C{plan_in_use}: a policy asks for it, and it would have no wave before the last.
        """

    def remove_plan(name: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """
        Remove a plan.

        @raise NotFound: C{unknown_plan}.
        @raise Conflict: C{plan_in_use}.
        """


class ITokenStore(Interface):
    """API tokens, durable. Each change of a token is a change C{token}, with the token as its value."""

    def tokens() -> Deferred[Sequence[Token]]:
        """Fire with all tokens by id, revoked tokens included."""

    def create_token(token: Token, attempt: Attempt | None = None) -> Deferred[Committed[Token]]:
        """
        Insert a token.

        @raise Conflict: C{token_exists}.
        """

    def rotate_token(
        token_id: str, digest: bytes, until: datetime | None, attempt: Attempt | None = None
    ) -> Deferred[Committed[Token]]:
        """
        Replace the secret of a token that is not revoked.

        @param until: when the secret before becomes invalid, UTC; C{None} for at once.
        @raise NotFound: C{unknown_token}.
        """

    def revoke_token(token_id: str, at: datetime, attempt: Attempt | None = None) -> Deferred[Committed[Token]]:
        """
        Revoke a token. A revoked token is no error, and no change.

        @raise NotFound: C{unknown_token}.
        """

    def touch_tokens(uses: Mapping[str, tuple[datetime, str]]) -> Deferred[None]:
        """Set when and from where tokens were used last, by id; no change."""


class IFreezeStore(Interface):
    """
    Freezes, durable. Each change of a freeze is a change C{freeze}, with the freeze as its value.

    While a freeze of a namespace is active, the store refuses with C{frozen}: publish, but for an undo; start of a
    rollout; a step that exposes agents or replaces the candidate; creation of the namespace.
    """

    def freezes() -> Deferred[Sequence[Freeze]]:
        """Fire with the freezes that are not removed, by id."""

    def add_freeze(freeze: Freeze, attempt: Attempt | None = None) -> Deferred[Committed[Freeze]]:
        """Insert a freeze; fires with the freeze and its new id."""

    def remove_freeze(number: int, at: datetime, attempt: Attempt | None = None) -> Deferred[Committed[Freeze]]:
        """
        Remove a freeze.

        @raise NotFound: C{unknown_freeze}.
        """


class IPolicyStore(Interface):
    """
    Policies of namespaces, durable. Each change of a policy is a change C{policy}, with the policy as its value.

    The store refuses what a policy forbids, in the transaction of the write. A policy outlives its namespace. A write
    whose attempt has a reason for break-glass is refused by neither policies nor freezes; it leaves a record and a
    change C{break_glass} in the same transaction. With a plan in the policy, the store refuses with L{PlanRequired}:
    publish, but for an undo that is free; start without a wave before the last.
    """

    def policies() -> Deferred[Mapping[str, Policy]]:
        """Fire with the policies that were saved, by namespace."""

    def save_policy(
        namespace: str, changes: Mapping[str, object], attempt: Attempt | None = None
    ) -> Deferred[Committed[Policy]]:
        """Set some fields of the policy of a namespace; fires with the whole policy."""

    def check_draft(draft: Draft, waves: int = 0) -> Deferred[None]:
        """
        Fail as publish or start of a draft would, where a freeze or the policy forbids it; change nothing.

        @param waves: of the plan of a start before the last wave; 0 for a publish.
        @raise Conflict: C{frozen}.
        @raise PlanRequired: C{plan_required}.
        """

    def break_glass_count() -> Deferred[int]:
        """Fire with the number of calls that passed a policy or a freeze by break-glass."""

    def break_glass_reasons(namespace: str, versions: Sequence[int]) -> Deferred[Mapping[int, str]]:
        """Fire with the reason of each of these versions that a break-glass call published."""


class IResidentStore(IAgentStore, IReportStore):
    """A store of a fleet that fits into memory: the controller loads all of it at the start, in pages."""

    def load_agents(after: str = "", limit: int = ALL) -> Deferred[Sequence[AgentRecord]]:
        """Fire with agents by id: at most C{limit} whose id is above C{after}."""

    def load_outcomes(
        after: tuple[str, int, str] = ("", 0, ""), limit: int = ALL
    ) -> Deferred[Sequence[tuple[str, int, str, VersionOutcome]]]:
        """Fire with outcomes by namespace, version and id of the agent: at most C{limit} above C{after}."""


class IControllerStore(
    IConfigStore,
    IChangeStore,
    IResidentStore,
    IRolloutStore,
    ITokenStore,
    IFreezeStore,
    IPolicyStore,
    IWebhookStore,
    IChangeRequestStore,
    IControllers,
    IAuditStore,
    IHealth,
):
    """All that a controller stores."""
