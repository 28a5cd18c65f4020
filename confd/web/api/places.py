"""Where requests act: the contract between the dispatcher and the role that it serves."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import Interface

from confd.web.auth.principals import Place


class IPlaces(Interface):
    """
    Finds the namespaces in which requests act.

    An object that does not exist is in L{confd.web.auth.principals.CLUSTER}, so that a caller without a grant for
    every namespace gets the same response for it as for an object of another namespace.
    """

    def namespace(name: str) -> Place:
        """Return the place of a namespace, which need not exist."""

    def agent(agent_id: str) -> Deferred[Place]:
        """
        Fire with the place of an agent.

        @raise Unavailable: memory does not hold the agent, and the look at the store failed.
        """

    def rollout(number: int) -> Deferred[Place]:
        """Fire with the place of a rollout."""

    def change(number: int) -> Deferred[Place]:
        """Fire with the place of a change."""
