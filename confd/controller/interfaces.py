"""
Contracts between the parts of the controller that concern agents.

The rules of L{confd.interfaces} hold here too.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Interface

from confd.audit import Attempt
from confd.model import Tag
from confd.progress import ConvergenceSummary, LaggingAgent, Totals
from confd.reports import AgentRecord, ReceivedReport, VersionOutcome


class IAgentStore(Interface):
    """The agents that ever registered, durable."""

    def load_agents() -> Deferred[Sequence[AgentRecord]]:
        """Fire with all of them."""

    def save_agents(records: Sequence[AgentRecord]) -> Deferred[None]:
        """Insert or replace these but for blocked ones, and leave what they reported; fire once they are on disk."""

    def forget_agent(agent_id: str, attempt: Attempt | None = None, block: bool = False) -> Deferred[None]:
        """
        Delete one, with all that it reported, and keep it out if C{block}; one that is not there is no error.

        @param attempt: see L{IConfigStore.rotate_keys}.
        """

    def load_blocked() -> Deferred[Sequence[str]]:
        """Fire with the ids of those that are kept out, in order."""

    def unblock_agent(agent_id: str, attempt: Attempt | None = None) -> Deferred[None]:
        """Keep one out no longer; one that is not kept out is no error."""


class IReportStore(Interface):
    """What agents reported, durable."""

    def save_reports(receipts: Sequence[ReceivedReport]) -> Deferred[None]:
        """
        Keep each as the last report of its agent, and its outcome as that of the version on the agent; in one
        transaction. An agent that is not there any more, or in another namespace by now, is passed over.
        """

    def load_outcomes() -> Deferred[Sequence[tuple[str, int, str, VersionOutcome]]]:
        """Fire with all that are kept: namespace, version, id of the agent, outcome."""

    def settle(archive: Sequence[tuple[str, int, bytes]]) -> Deferred[None]:
        """
        Keep the summary of each of these (namespace, version, summary), and no longer the outcomes of it and of older
        ones. Of the summaries the newest 10 000 of a namespace are kept.
        """

    def summary(namespace: str, version: int) -> Deferred[bytes | None]:
        """Fire with the summary of a version, C{None} where none is kept."""


class IProgress(Interface):
    """
    How far versions have come among the agents.

    C{version} is a number; C{None} stands for the current version.
    """

    def totals(namespace: str, version: int) -> Deferred[Totals]:
        """Fire with the counts of a version; fails as L{summary} does."""

    def summary(namespace: str, version: int | None) -> Deferred[ConvergenceSummary]:
        """
        Fire with the convergence of a version.

        @raise NotFound: C{unknown_namespace}, C{unknown_version}.
        @raise Gone: C{convergence_pruned}.
        """

    def laggards(namespace: str, version: int | None, limit: int) -> Deferred[Sequence[LaggingAgent]]:
        """
        Fire with at most C{limit} agents that are behind, the most urgent first; with none for a version that only
        L{summary} still knows.
        """

    def reached(namespace: str, tag: Tag, quorum: float, timeout: float) -> Deferred[bool]:
        """
        Wait until enough agents have applied a version.

        @param quorum: percent of the agents of the namespace, silent ones included.
        @param timeout: seconds.
        @return: fires with whether the quorum was reached in time; with false, too, once so many agents have failed
            that it cannot be reached, and when the controller stops.
        """
