"""Answers that last: how an endpoint hands over a stream."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer


@implementer(IResource)
class Ongoing:
    """
    What a handler returns whose answer goes on without it, such as a stream.

    To Klein it is a resource, which it renders and then forgets: what it keeps while a handler waits is a third of the
    memory that a connection takes.
    """

    __slots__ = ("_over",)

    isLeaf = True

    def __init__(self, over: Deferred[None]) -> None:
        """
        @param over: fires when the answer is complete; it is cancelled when the caller hangs up.
        """
        self._over = over

    def render(self, request: Any) -> int:
        """See L{IResource.render}."""
        request.notifyFinish().addErrback(lambda _: self._over.cancel())
        request.shed()
        self._over.addCallback(lambda _: request.finish())
        self._over.addErrback(lambda failure: failure.check(CancelledError) or request.processingFailed(failure))
        return NOT_DONE_YET

    def getChildWithDefault(self, path: bytes, request: Any) -> Ongoing:
        """It has no children."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """Nor takes any."""
