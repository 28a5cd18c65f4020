"""
WEBSOCKET: a gateway tells an agent over a WebSocket that a new version is there, and the agent polls its controller.

A message is a hint and nothing more: the gateway cannot give an agent a document.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlsplit

from confd_websocket_wire import WebSocket
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger
from wsproto import ConnectionType
from wsproto.events import Request
from zope.interface import implementer

from confd.codec.headers import basic_authorization
from confd.errors import StartError
from confd.interfaces import POLL, ISink, IStrategy, StrategyContext
from confd.runtime.problem import Problem
from confd.runtime.timing import Backoff, Periodic


class _Socket(WebSocket):
    """The end of an agent."""

    def __init__(
        self, clock: IReactorTime, request: Request, connected: Callable[[], None], told: Callable[[], None]
    ) -> None:
        super().__init__(clock, ConnectionType.CLIENT)
        self._request, self._connected, self._told = request, connected, told
        self.lost: Deferred[str] = Deferred(lambda _: self.abort())

    def connectionMade(self) -> None:
        super().connectionMade()
        self.send(self._request)

    def accepted(self) -> None:
        self._connected()

    def received(self, text: str) -> None:
        # What it says is not believed: the agent asks its controller.
        self._told()

    def closed(self, reason: str) -> None:
        if not self.lost.called:
            self.lost.callback(reason)


@implementer(IStrategy)
class WebSocketStrategy:
    """Keep a WebSocket to the gateway, and hint on each connection and message."""

    name = "WEBSOCKET"
    pushes = True
    log = Logger()

    def __init__(
        self, clock: IReactorTime, endpoint: IStreamClientEndpoint, request: Callable[[], Request], backoff: Backoff
    ) -> None:
        """
        @param request: Returns the handshake.
        @param backoff: Delays between connections.
        """
        self._clock, self._endpoint, self._request, self._backoff = clock, endpoint, request, backoff
        self._loop = Periodic(clock, self._listen, backoff.next)
        self._socket: _Socket | None = None
        self.connections = 0
        self._problem = Problem(self.name, self.log)

    def start(self, sink: ISink) -> None:
        self._sink = sink
        self._loop.startService()

    def stop(self) -> Deferred[None]:
        return self._loop.stopService() or succeed(None)

    def path(self) -> str:
        """Return C{POLL} while no gateway answers."""
        return self.name if self._socket is not None and self._socket.opened else POLL

    async def _listen(self) -> None:
        socket = _Socket(self._clock, self._request(), self._connected, lambda: self._sink.hint())
        self._socket = socket
        try:
            await connectProtocol(self._endpoint, socket)
            reason = await socket.lost
        except CancelledError:
            raise
        except Exception as error:
            reason = str(error) or type(error).__name__
        finally:
            self._socket = None
        self._problem.begin(f"no gateway, falling back to polling: {reason}")

    def _connected(self) -> None:
        self.connections += 1
        self._backoff.reset()
        self._problem.end()
        self.log.info("changes arrive by {name}", name=self.name)
        # A tag may have come before.
        self._sink.hint()


def make(context: StrategyContext) -> WebSocketStrategy:
    """
    Make the strategy; the drop-in names this function.

    @raise StartError: C{WEBSOCKET_URL} is unset or not a WebSocket URL.
    """
    text = context.environ.get("WEBSOCKET_URL", "")
    url = urlsplit(text)
    if url.scheme not in ("ws", "wss") or not url.hostname or "@" in url.netloc:
        raise StartError("WEBSOCKET_URL: must be a URL such as ws://gateway:8084, without credentials.")
    secure = url.scheme == "wss"
    endpoint: IStreamClientEndpoint = HostnameEndpoint(
        context.reactor, url.hostname, url.port or (443 if secure else 80)
    )
    if secure:
        endpoint = wrapClientTLS(optionsForClientTLS(url.hostname), endpoint)
    user = context.environ.get("CONTROLLER_USERNAME", "agent")
    password = context.environ.get("CONTROLLER_PASSWORD", "secret123")

    def request() -> Request:
        headers = [(b"Authorization", basic_authorization(user, password))]
        if context.agent_id():
            headers.append((b"X-Agent-ID", context.agent_id().encode()))
        return Request(url.netloc, f"/?namespace={quote(context.namespace)}", extra_headers=headers)

    return WebSocketStrategy(context.reactor, endpoint, request, Backoff(context.random, context.backoff_max))
