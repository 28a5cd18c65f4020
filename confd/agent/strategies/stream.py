"""STREAM: the controller's own events over one HTTP connection that is kept open; no broker needed."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd import sse, wire
from confd.interfaces import POLL, IControllerClient, ISink, IStrategy
from confd.model import ConfdError
from confd.timing import Backoff, Periodic

#: Seconds without a byte after which a stream is given up: three heartbeats.
SILENCE = 32.0


@implementer(IStrategy)
class Stream:
    """Reads the stream, and comes back whenever it breaks off."""

    name = "STREAM"
    pushes = True
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        controller: IControllerClient,
        namespace: str,
        agent_id: Callable[[], str],
        backoff: Backoff,
    ) -> None:
        """
        @param agent_id: names this agent once it is registered.
        @param backoff: between connections.
        """
        self._clock, self._controller, self._namespace = clock, controller, namespace
        self._agent_id, self._backoff = agent_id, backoff
        self._loop = Periodic(clock, self._read, backoff.next)
        self._parser = sse.Parser(wire.MAX_ANSWER_BYTES)
        self._watchdog: IDelayedCall | None = None
        self._reading: Deferred[None] | None = None
        self._open = False

    def start(self, sink: ISink) -> None:
        """See L{IStrategy}."""
        self._sink = sink
        self._loop.startService()

    def stop(self) -> Deferred[None]:
        """See L{IStrategy}."""
        return maybeDeferred(self._loop.stopService)

    def path(self) -> str:
        """See L{IStrategy}."""
        return self.name if self._open else POLL

    async def _read(self) -> None:
        self._parser = sse.Parser(wire.MAX_ANSWER_BYTES)
        self._watchdog = self._clock.callLater(SILENCE, self._silent)
        self._reading = self._controller.stream(self._sink.known(), self._agent_id(), self._received)
        try:
            await self._reading
            reason = "the controller ended it"
        except ConfdError as error:
            reason = error.message
        except CancelledError:
            if self._watchdog.active():
                raise
            reason = f"nothing came for {SILENCE:.0f} seconds"
        finally:
            was_open, self._open, self._reading = self._open, False, None
            if self._watchdog.active():
                self._watchdog.cancel()
        if was_open:
            self._backoff.reset()
            self.log.warn("the stream is gone, changes arrive by poll: {reason}", reason=reason)
        else:
            self.log.debug("no stream: {reason}", reason=reason)

    def _silent(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    def _received(self, piece: bytes) -> None:
        if self._watchdog is not None and self._watchdog.active():
            self._watchdog.reset(SILENCE)
        if not self._open:
            self._open = True
            self.log.info("changes arrive by {name}", name=self.name)
        for event in self._parser.feed(piece):
            self._heed(event)

    def _heed(self, event: sse.Event) -> None:
        if event.name == "config":
            self._sink.served(wire.parse_served(event.data, self._namespace))
        elif event.name == "heartbeat" and event.data.decode("ascii", "replace") != str(self._sink.known()):
            self._sink.hint()
