"""The strategy STREAM: receive the events of the controller over one open HTTP connection; no broker is needed."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from confd.client.http import MIN_BYTES_PER_SECOND
from confd.codec import bodies, sse
from confd.errors import ConfdError, Malformed
from confd.interfaces import POLL, IControllerClient, ISink, IStrategy
from confd.model import Tag, is_unpublished, supersedes
from confd.runtime.problem import Problem
from confd.runtime.timing import Backoff, Periodic, Progress

#: Seconds without a byte, or below L{MIN_BYTES_PER_SECOND} without an event, after which a stream is closed: three
#: heartbeats.
SILENCE_MAX_SECONDS = 32.0


@implementer(IStrategy)
class Stream:
    """Read the stream, and reconnect when it ends."""

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
        @param agent_id: Returns the id of this agent; empty before the registration.
        @param backoff: Delays between connections.
        """
        self._clock, self._controller, self._namespace = clock, controller, namespace
        self._agent_id, self._backoff = agent_id, backoff
        self._loop = Periodic(clock, self._read, lambda: backoff.next(self._asked_pause))
        self._asked_pause: float | None = None
        self._parser = sse.Parser(bodies.MAX_ANSWER_BYTES)
        self._progress: Progress | None = None
        self._open, self._named = False, ""
        self.connections = 0
        self._problem = Problem(self.name, self.log)

    def start(self, sink: ISink) -> None:
        self._sink = sink
        self._loop.startService()

    def stop(self) -> Deferred[None]:
        return self._loop.stopService() or succeed(None)

    def path(self) -> str:
        return self.name if self._open else POLL

    async def _read(self) -> None:
        self._parser = sse.Parser(bodies.MAX_ANSWER_BYTES)
        self._asked_pause = None
        self._named = self._agent_id()
        reading = self._controller.stream(self._sink.known(), self._named, self._received)
        self._progress = progress = Progress(self._clock, SILENCE_MAX_SECONDS, MIN_BYTES_PER_SECOND, reading.cancel)
        try:
            await reading
            reason = "the controller ended it"
        except _UnnamedStream:
            # Reconnect at once, with the id.
            self._loop.hurry()
            return
        except ConfdError as error:
            reason, self._asked_pause = error.message, error.retry_after
        except CancelledError:
            if not progress.late:
                raise
            reason = f"no event for {SILENCE_MAX_SECONDS:.0f} seconds"
        finally:
            self._open = False
            progress.end()
        self._problem.begin(f"stream lost, falling back to polling: {reason}")

    def _received(self, piece: bytes) -> Deferred[None]:
        return Deferred.fromCoroutine(self._take(piece))

    async def _take(self, piece: bytes) -> None:
        if self._progress is not None:
            self._progress.moved(len(piece))
        if not self._open:
            self._open = True
            self.connections += 1
            self._problem.end()
            # An orderly reconnection says nothing new.
            level = LogLevel.info if self.connections == 1 else LogLevel.debug
            self.log.emit(level, "changes arrive by {name}", name=self.name)
        for event in self._parser.feed(piece):
            if self._progress is not None:
                self._progress.restart()
            await self._handle(event)
            # Last, so that the delays grow if the events of the controller cannot be read.
            self._backoff.reset()

    async def _handle(self, event: sse.Event) -> None:
        if event.name == "config":
            await self._sink.served(event.data, event.id)
        elif event.name == "heartbeat":
            offered, known = _tag_in(event.data), self._sink.known()
            # An agent with a configuration of the Go system ignores the unpublished first version of a new controller:
            # a poll would change nothing.
            ignored = known is not None and not known.cluster and is_unpublished(offered, self._namespace)
            if supersedes(offered, known) and not ignored:
                self._sink.hint()
            if not self._named and self._agent_id():
                raise _UnnamedStream("unnamed_stream", "This stream was opened before the agent was registered.")


class _UnnamedStream(ConfdError):
    """The stream does not name this agent, so the controller could not end it after deleting the agent."""


def _tag_in(heartbeat: bytes) -> Tag:
    try:
        return Tag.parse(heartbeat.decode("ascii"))
    except ValueError:
        raise Malformed("bad_heartbeat", "The stream holds a heartbeat without a tag.") from None
