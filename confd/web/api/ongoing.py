"""Answers that last: how an endpoint hands over a stream."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred


class StreamingAnswer:
    """What a handler returns whose answer goes on without it, such as a stream."""

    __slots__ = ("_over",)

    def __init__(self, over: Deferred[None]) -> None:
        """
        @param over: fires when the answer is complete; it is cancelled when the caller hangs up.
        """
        self._over = over

    def begin(self, request: Any) -> None:
        """Finish a request when it is over."""
        request.notifyFinish().addErrback(lambda _: self._over.cancel())
        request.shed()
        self._over.addCallback(lambda _: request.finish())
        self._over.addErrback(lambda failure: failure.check(CancelledError) or request.processingFailed(failure))
