"""The interface of a message broker."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from zope.interface import Attribute

from confd.interfaces.health import IHealth


class IBroker(IService, IHealth):
    """
    A message broker, as a service that connects in the background and never gives up (promise G4).

    Receivers verify the signature of each announcement; the HTTP API remains authoritative.
    """

    name = Attribute("L{str}: as in C{DISTRIBUTION_STRATEGY}.")

    def present(password: str | None, token: str | None) -> None:
        """Use these credentials for the next connections; a broker without tokens ignores the token."""

    def announce(namespace: str, announcement: bytes) -> Deferred[None]:
        """
        Publish an announcement, and store it where the broker can.

        @return: fires when the broker has received it.
        @raise Unavailable: the broker is down, hangs or refuses; within 5 seconds.
        """

    def listen(namespace: str, received: Callable[[bytes], object], connected: Callable[[], None]) -> None:
        """
        Subscribe to the announcements of a namespace; called before the service starts.

        @param received: called with each message that is no larger than any announcement; its content is unverified.
        @param connected: called after each connection, when the subscription is active: earlier announcements may have
            been missed, later ones arrive.
        """

    def ring(namespace: str, doorbell: bytes) -> Deferred[None]:
        """
        Publish a doorbell for the agents of a namespace, beside the announcements; fails as L{announce} does.

        A broker that refuses it still takes announcements: L{problem} says nothing of it.
        """

    def attend(namespace: str, rung: Callable[[bytes], object]) -> None:
        """
        Subscribe to the doorbells of a namespace, too; called before the service starts.

        A broker that refuses the subscription still delivers announcements.

        @param rung: called with each message, whose content is unverified.
        """

    def latest(namespace: str) -> Deferred[bytes | None]:
        """Fire with the newest announcement that the broker can give, or C{None}; fails as L{announce} does."""

    def answer(latest: Callable[[str], bytes | None]) -> None:
        """Answer requests for the newest announcement on a broker that stores none; called before the start."""

    def remark() -> str | None:
        """Return a sentence on a setting that has no effect now, although announcements arrive; C{None} without one."""

    def keeps() -> bool:
        """Return whether the broker keeps the newest announcement for agents that come later."""

    def watch(returned: Callable[[], None]) -> None:
        """Call C{returned} each time the broker is reachable again after a failure; called before the start."""
