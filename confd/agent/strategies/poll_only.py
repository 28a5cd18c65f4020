"""POLLER: no push path; the agent's own polls are all there is."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from confd.interfaces import POLL, ISink, IStrategy


@implementer(IStrategy)
class PollOnly:
    """Hears of nothing sooner than the next poll."""

    name = "POLLER"
    pushes = False
    connections = 0

    def start(self, sink: ISink) -> None:
        """See L{IStrategy}."""

    def stop(self) -> Deferred[None]:
        """See L{IStrategy}."""
        return succeed(None)

    def path(self) -> str:
        """See L{IStrategy}."""
        return POLL
