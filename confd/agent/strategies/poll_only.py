"""The strategy POLLER: no push path, only the polls of the agent."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from confd.interfaces import POLL, ISink, IStrategy


@implementer(IStrategy)
class PollOnly:
    """Leave all changes to the polls."""

    name = "POLLER"
    pushes = False
    connections = 0

    def start(self, sink: ISink) -> None: ...

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def path(self) -> str:
        return POLL
