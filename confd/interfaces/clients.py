"""The interfaces of the clients of an agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import Interface

if TYPE_CHECKING:
    from confd.model import (
        Configuration,
        Delivered,
        Poll,
        Registration,
        RegistrationResponse,
        Tag,
        WorkerState,
    )
    from confd.reports import Report


class IControllerClient(Interface):
    """An agent's view of the controllers; each call has a deadline and fails with L{Unavailable} where none answers."""

    def present(agent_id: str, token: str) -> None:
        """Authenticate with this token; after a refusal, use the shared identity and register again."""

    def register(registration: Registration) -> Deferred[RegistrationResponse]:
        """Join, or join again with the id given before; fire with the membership and the token to L{present}."""

    def fetch(known: Tag | None, agent_id: str) -> Deferred[Poll]:
        """
        Request the current configuration, conditionally.

        @param known: the tag that the agent has, if any.
        @param agent_id: names the caller; empty before the first registration.
        @raise Malformed: the answer was no configuration.
        @raise Unauthenticated: wrong credentials.
        """

    def report(report: Report, agent_id: str) -> Deferred[float]:
        """
        Report the result of a configuration.

        @return: fires, once it is taken, with the seconds over which the next report is to be spread.
        @raise NotFound: C{unknown_agent}: to be registered again; C{unknown_version}, C{unknown_namespace}; with any
            other code, the controller takes no reports (the Go system's).
        @raise Conflict: C{repeated_report}, C{out_of_order}: it, or a later one, was taken before.
        """

    def stream(known: Tag | None, agent_id: str, received: Callable[[bytes], object]) -> Deferred[None]:
        """
        Open the event stream; cancelling closes it.

        @param received: called with each piece, and not again before a Deferred that it returns has fired. An error
            that it raises, or with which the Deferred fails, ends the stream.
        @return: fires when the controller has ended it, and fails with a L{ConfdError} when it broke off or never
            began.
        """


class IWorkerClient(Interface):
    """An agent's view of its worker; each call has a deadline, and fails with L{Unavailable} where none answers."""

    def deliver(configuration: Configuration) -> Deferred[Delivered]:
        """
        Deliver a configuration.

        @raise Unprocessable: the worker refuses it, in its own words.
        @raise Conflict: the worker has a newer one.
        """

    def checksum() -> Deferred[str | None]:
        """Fire with the checksum of the current configuration, C{""} without one, C{None} if the worker cannot tell."""

    def state() -> Deferred[WorkerState]:
        """Fire with what its C{/health} says."""
