"""The contract between convergence and the parts that show it."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Interface

from confd.codec.selectors import Selector
from confd.controller.convergence.progress import ConvergenceSummary, LaggingAgent, Totals
from confd.model import Tag


class IProgress(Interface):
    """
    How far versions have come among the agents.

    C{version} is a number; C{None} stands for the current version.
    """

    def totals(namespace: str, version: int) -> Deferred[Totals]:
        """Fire with the counts of a version; fails as L{summary} does."""

    def summary(namespace: str, version: int | None) -> Deferred[ConvergenceSummary]:
        """
        Fire with the convergence of a version: of the newest version as of one moment. The agents of another version
        are counted over many turns of the reactor, each as of the turn that looks at it.

        @raise NotFound: C{unknown_namespace}, C{unknown_version}.
        @raise Gone: C{convergence_pruned}.
        """

    def laggards(namespace: str, version: int | None, limit: int) -> Deferred[Sequence[LaggingAgent]]:
        """
        Fire with at most C{limit} agents that are behind, the most urgent first, and at most 100 of each state;
        with none for a version that only L{summary} still knows.
        """

    def selected(
        namespace: str, selector: Selector, limit: int
    ) -> Deferred[tuple[ConvergenceSummary, Sequence[LaggingAgent]]]:
        """
        Fire with the L{summary} of the current version and its L{laggards}, among agents that match a selector.

        @param limit: agents that are behind at most.
        @raise NotFound: C{unknown_namespace}.
        """

    def reached(namespace: str, tag: Tag, quorum: float, timeout: float) -> Deferred[bool]:
        """
        Wait until enough agents have applied a version.

        @param quorum: percent of the agents of the namespace, silent ones included.
        @param timeout: seconds.
        @return: fires with whether the quorum was reached in time; with false, too, once so many agents have failed
            that it cannot be reached, and when the controller stops.
        """
