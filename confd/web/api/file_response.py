"""A response whose body is a file: read piece by piece, as fast as the client takes it."""

from __future__ import annotations

from typing import BinaryIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from confd.web.server.request import BoundedRequest

#: Seconds in which a client must take more of the file.
STALLED_MAX_SECONDS = 30.0

_CHUNK_BYTES = 1 << 16


@implementer(IPushProducer)
class FileResponse:
    """
    Sends a file as the body of a response.

    @ivar done: fires when the file is sent and closed; it is cancelled when the client hangs up.
    """

    def __init__(self, clock: IReactorTime, request: BoundedRequest, file: BinaryIO) -> None:
        """
        @param clock: monotonic.
        @param file: closed at the end. Its bytes are in the memory of the system, so that reading does not block.
        """
        self._clock, self._request, self._file = clock, request, file
        self._cut: IDelayedCall | None = None
        self._paused = self._over = False
        self.done: Deferred[None] = Deferred(lambda _: self.stopProducing())

    def begin(self) -> None:
        """Send as much as the connection takes; the headers are set."""
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        self._keep()
        while not (self._paused or self._over):
            chunk = self._file.read(_CHUNK_BYTES)
            if not chunk:
                self.stopProducing()
                self._request.unregisterProducer()
                self.done.callback(None)
                return
            self._request.write(chunk)

    def pauseProducing(self) -> None:
        """Wait for the client, which must take more in time."""
        self._paused = True
        if self._cut is None:
            self._cut = self._clock.callLater(STALLED_MAX_SECONDS, self._request.channel.transport.abortConnection)

    def stopProducing(self) -> None:
        self._over = True
        self._keep()
        self._file.close()

    def _keep(self) -> None:
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        self._cut = None
