"""
C{twistd confd-websocket-gateway}: follow the stream of each namespace that agents listen to, and pass on the tags.

Settings are environment variables: C{GATEWAY_LISTEN}, C{CONTROLLER_URL}, C{CONTROLLER_USERNAME}, C{CONTROLLER_PASSWORD}
and C{CONTROLLER_CA_FILE}.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from confd_websocket_wire import WebSocket
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.usage import Options as UsageOptions
from twisted.web.client import HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from wsproto import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, Request, TextMessage
from wsproto.frame_protocol import CloseReason
from zope.interface import implementer

from confd.agent.strategies.stream import Stream
from confd.client.controller import ControllerClient
from confd.client.http import Http
from confd.client.web_agent import web_agent
from confd.interfaces import ISink
from confd.model import DEFAULT_NAMESPACE, Tag
from confd.runtime.daemon import in_threads_of
from confd.runtime.offload import Offload
from confd.runtime.timing import Backoff
from confd.runtime.tls import ClientTls

#: Connections in all, and from one address.
MAX_CONNECTIONS, MAX_FROM_ONE = 1000, 20

#: Seconds between two checks of a client's credentials, and between two messages that a client may send.
CHECK_SECONDS, MESSAGE_SECONDS = 60.0, 10.0

#: Longest pause between two attempts to follow a stream.
RETRY_MAX_SECONDS = 4.0


class Client(WebSocket):
    """The connection of an agent."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway.reactor, ConnectionType.SERVER)
        self._gateway = gateway
        self.namespace = ""
        self.headers: dict[str, str] = {}
        self._last = float("-inf")
        self._pending: str | None = None
        self._full = False
        self._checks = LoopingCall(self._check)
        self._checks.clock = gateway.reactor

    def connectionMade(self) -> None:
        super().connectionMade()
        self.address = str(getattr(self.transport.getPeer(), "host", ""))
        self.transport.registerProducer(self, True)
        self._admitted = self._gateway.admit(self)

    def requested(self, request: Request) -> None:
        """Ask the controller about the credentials, and accept or refuse."""
        if not self._admitted:
            return self._reject(503)
        asked = parse_qs(urlsplit(request.target).query)
        self.namespace = asked.get("namespace", [DEFAULT_NAMESPACE])[0]
        given = {name.decode().lower(): value.decode("latin-1") for name, value in request.extra_headers}
        self.headers = {name: given[name] for name in ("authorization", "x-agent-id") if name in given}
        Deferred.fromCoroutine(self._decide())

    async def _decide(self) -> None:
        status = await self._gateway.status_of(self)
        if status not in (200, 304):
            return self._reject(status)
        self.send(AcceptConnection())
        self.open()
        self._gateway.listen(self)
        self._checks.start(CHECK_SECONDS * self._gateway.random.uniform(0.8, 1.2), now=False)

    def _reject(self, status: int) -> None:
        self.send(RejectConnection(status_code=status, headers=[(b"Content-Length", b"0")]))
        self.transport.loseConnection()

    def received(self, text: str) -> None:
        """Refuse a client that talks: nothing is expected of it."""
        now = self._gateway.reactor.seconds()
        if now - self._last < MESSAGE_SECONDS:
            self.close(CloseReason.POLICY_VIOLATION, "too many messages")
        self._last = now

    def tell(self, message: str) -> None:
        """Send a message; while the client does not read, only the newest waits."""
        if self._full:
            self._pending = message
        elif self.opened:
            self.send(TextMessage(message))

    def closed(self, reason: str) -> None:
        if self._checks.running:
            self._checks.stop()
        self._gateway.forget(self)

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        message, self._pending = self._pending, None
        if message is not None:
            self.tell(message)

    def stopProducing(self) -> None: ...

    async def _check_now(self) -> None:
        # A controller that is away revokes nobody.
        if await self._gateway.status_of(self) in (401, 403, 404):
            self.close(CloseReason.POLICY_VIOLATION, "the credentials are no longer valid")

    def _check(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._check_now())


@implementer(ISink)
class Namespace:
    """
    The stream of one namespace, and the clients that hear of it.

    @ivar tag: the newest that the stream named.
    """

    def __init__(self, name: str) -> None:
        self.name, self.clients, self.tag = name, set[Client](), ""

    def hint(self) -> None:
        self.tell(self.tag)

    def known(self) -> Tag | None:
        return Tag.parse(self.tag) if self.tag else None

    def served(self, raw: bytes, named: str) -> Deferred[str | None]:
        if named != self.tag:
            self.tag = named
            self.tell(named)
        return succeed(None)

    def announced(self, raw: bytes) -> Deferred[bool]:
        return succeed(False)

    def rung(self, raw: bytes) -> None: ...

    def tell(self, tag: str) -> None:
        """Tell all clients of a tag."""
        message = json.dumps({"namespace": self.name, "tag": tag})
        for client in list(self.clients):
            client.tell(message)


class _Discard(Protocol):
    """Takes no body: the status is enough."""

    def connectionMade(self) -> None:
        self.transport.loseConnection()


class Gateway(Factory):
    """
    All clients, and a stream for each namespace that has some.

    @ivar random: spreads what many clients would do at the same moment.
    """

    log = Logger()

    def __init__(self, reactor: Any, url: str, http: Http, web: IAgent, random: Random) -> None:
        """
        @param url: of the controller.
        @param http: asks the controller with the credentials of the gateway.
        @param web: asks the controller with those of a client.
        """
        self.reactor, self.random = reactor, random
        self._url, self._http, self._web = url.rstrip("/"), http, web
        self._admitted: dict[Client, str] = {}
        self._namespaces: dict[str, tuple[Namespace, Stream]] = {}

    def buildProtocol(self, addr: object) -> Client:
        return Client(self)

    def admit(self, client: Client) -> bool:
        """Count a connection; return whether it is not one too many."""
        if len(self._admitted) >= MAX_CONNECTIONS or Counter(self._admitted.values())[client.address] >= MAX_FROM_ONE:
            return False
        self._admitted[client] = client.address
        return True

    def forget(self, client: Client) -> None:
        """Forget a connection; the last one of a namespace ends its stream."""
        self._admitted.pop(client, None)
        namespace, stream = self._namespaces.get(client.namespace, (None, None))
        if namespace is not None and stream is not None:
            namespace.clients.discard(client)
            if not namespace.clients:
                del self._namespaces[client.namespace]
                stream.stop()

    def listen(self, client: Client) -> None:
        """Let a client hear of its namespace."""
        if client.namespace not in self._namespaces:
            offload = Offload(in_threads_of(self.reactor))
            controller = ControllerClient(self._http, [self._url], offload, client.namespace)
            stream = Stream(
                self.reactor, controller, client.namespace, lambda: "", Backoff(self.random, RETRY_MAX_SECONDS)
            )
            self._namespaces[client.namespace] = Namespace(client.namespace), stream
            stream.start(self._namespaces[client.namespace][0])
        self._namespaces[client.namespace][0].clients.add(client)

    async def status_of(self, client: Client) -> int:
        """Return what the controller answers to the credentials of a client; 503 if it does not answer."""
        found = self._namespaces.get(client.namespace)
        headers = Headers({name: [value] for name, value in client.headers.items()})
        if found is not None and found[0].tag:
            headers.addRawHeader("If-None-Match", f'"{found[0].tag}"')
        query = "" if client.namespace == DEFAULT_NAMESPACE else f"?namespace={quote(client.namespace)}"
        asking = self._web.request(b"GET", f"{self._url}/api/v1/config{query}".encode(), headers)
        try:
            response = await asking.addTimeout(5, self.reactor)
        except Exception:
            return 503
        response.deliverBody(_Discard())
        return int(response.code)


class Options(UsageOptions):
    """The command has no options: see the settings."""


def make_gateway(reactor: Any, environ: Mapping[str, str], random: Random) -> Gateway:
    """Return the gateway that the settings describe."""
    url = environ.get("CONTROLLER_URL", "http://localhost:8080")
    user, password = environ.get("CONTROLLER_USERNAME", "agent"), environ.get("CONTROLLER_PASSWORD", "secret123")
    tls = ClientTls(reactor, in_threads_of(reactor), "CONTROLLER", environ.get("CONTROLLER_CA_FILE"))
    web = web_agent(reactor, HTTPConnectionPool(reactor), tls)
    return Gateway(reactor, url, Http(reactor, web, user, password, "CONTROLLER_URL"), web, random)


def makeService(options: Options) -> IService:
    """Return the service that twistd runs."""
    from twisted.internet import reactor

    listen = os.environ.get("GATEWAY_LISTEN", "tcp:8084:interface=127.0.0.1")
    return StreamServerEndpointService(serverFromString(reactor, listen), make_gateway(reactor, os.environ, Random()))
