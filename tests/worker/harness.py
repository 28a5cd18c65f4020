"""Real sockets on loopback: upstreams that follow a script, a worker, and callers of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet import reactor as the_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from confd.client.address_policy import AddressPolicy
from confd.codec import strict_json
from confd.runtime.options import read
from confd.runtime.settings import WorkerSettings
from confd.worker.composition import compose
from confd.worker.upstream import Upstream
from tests.conversation import Reply, parse_replies

reactor: Any = the_reactor

#: How an answer that is well begins.
OK = b"HTTP/1.1 200 OK\r\n"

#: A time limit of fetches that ends when a test says so: see L{RecordingReactor.clock}. No other delay is as long.
HELD_SECONDS = 19.0

#: What an upstream does with a request, of which it gets the head.
Script = Callable[[Any, bytes], object]


class Scripted(Protocol):
    """One connection to an upstream."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            self.factory.asked.append(head)  # type: ignore[union-attr]
            self.factory.script(self.transport, head)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class ScriptedUpstream(Factory):
    """
    An upstream.

    @ivar asked: the heads of all requests.
    @ivar connections: to it, all that ever were.
    """

    noisy = False

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[bytes] = []
        self.connections: list[Scripted] = []

    def buildProtocol(self, addr: object) -> Scripted:
        connection = Scripted()
        connection.factory = self
        self.connections.append(connection)
        return connection

    def close(self) -> Deferred[Any]:
        """Abort all connections."""
        for connection in self.connections:
            if not connection.lost.called:
                connection.transport.abortConnection()
        return gatherResults([connection.lost for connection in self.connections])


class WorkerCall(Protocol):
    """
    One caller of the worker.

    @ivar ended: fires with the reply when the connection has ended.
    @ivar began: fires with the first bytes.
    """

    transport: Any

    def __init__(self, method: str) -> None:
        self._method = method
        self.received = bytearray()
        self.began: Deferred[None] = Deferred()
        self.ended: Deferred[Reply] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(f"{self._method} /hit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if not self.began.called:
            self.began.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        try:
            [reply] = parse_replies(bytes(self.received), [self._method])
        except Exception:
            self.ended.errback(AssertionError(f"the worker answered with {bytes(self.received[:500])!r}"))
        else:
            self.ended.callback(reply)


class RecordingReactor:
    """
    The reactor, which records connections.

    @ivar connected: the addresses that were tried.
    @ivar clock: the time of the calls that are due in L{HELD_SECONDS}.
    """

    def __init__(self) -> None:
        self.connected: list[str] = []
        self.clock = Clock()

    def callLater(self, delay: float, call: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        return (self.clock if delay == HELD_SECONDS else reactor).callLater(delay, call, *args, **kwargs)

    def connectTCP(self, host: str, *args: Any, **kwargs: Any) -> object:
        self.connected.append(host)
        return reactor.connectTCP(host, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class TableResolver:
    """
    A resolver with a table of names. Each answer is given once, and the last one from then on.

    @ivar asked: the names that were looked up.
    """

    def __init__(self, **table: list[list[str]]) -> None:
        self._table = table
        self.asked: list[str] = []

    def resolveHostName(self, receiver: Any, host: str, port: int = 0, *rest: Any, **more: Any) -> None:
        self.asked.append(host)
        answers = self._table.get(host.partition(".")[0], [[]])
        receiver.resolutionBegan(self)
        for address in answers.pop(0) if len(answers) > 1 else answers[0]:
            receiver.addressResolved(IPv4Address("TCP", address, port))
        reactor.callLater(0, receiver.resolutionComplete)


class WorkerTestCase(TestCase):
    """A worker on a real port, with an upstream that each test scripts."""

    timeout = 60

    def setUp(self) -> None:
        self.watched: Any = RecordingReactor()
        self.policy = AddressPolicy()

    def names(self, **table: list[list[str]]) -> TableResolver:
        """Let the resolver know these names only."""
        names = TableResolver(**table)
        self.watched.nameResolver = names
        return names

    def listen(self, factory: Factory, **kwargs: Any) -> int:
        """Serve on a free port until the test ends; return the port."""
        port = reactor.listenTCP(0, factory, interface="127.0.0.1", **kwargs)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def upstream(self, script: Script) -> tuple[str, ScriptedUpstream]:
        """Start an upstream; return its URL and the upstream."""
        factory = ScriptedUpstream(script)
        self.addCleanup(factory.close)
        return f"http://127.0.0.1:{self.listen(factory)}/", factory

    def worker(self, timeout: float = 20, max_bytes: int = 1_000_000, max_in_flight: int = 8) -> WorkerHarness:
        """Start a worker with these limits."""
        worker = WorkerHarness(self.watched, self.policy, timeout, max_bytes, max_in_flight)
        worker.port = self.listen(worker.site)
        self.addCleanup(worker.close)
        return worker

    def assert_error(self, reply: Reply, status: int, code: str) -> str:
        """Check the status and the code of an error; return its sentence."""
        self.assertEqual((reply.status, reply.code), (status, code), reply)
        self.assertEqual(reply.json["request_id"], reply.headers["x-request-id"])
        sentence: str = reply.json["error"]
        return sentence

    async def hit(self, url: str, method: str = "GET", **limits: Any) -> Reply:
        """Start a worker with these limits, and return its reply to one hit of C{url}."""
        return await self.worker(**limits).hit(url, method)

    async def hit_in_vain(self, url: str, until: Callable[[WorkerCall], object]) -> Reply:
        """Start a worker and hit C{url}; return its reply once the time limit of the fetch is over."""
        return await self.end_in_vain(self.worker(timeout=HELD_SECONDS).call(url), until)

    async def end_in_vain(self, caller: WorkerCall, until: Callable[[WorkerCall], object]) -> Reply:
        """
        Let the time limit of a fetch pass.

        @param until: Called with C{caller} again and again; a true value begins the wait.
        """
        while not until(caller):
            await turn()
        self.watched.clock.advance(HELD_SECONDS)
        return await caller.ended


class WorkerHarness:
    """A worker, and calls to it."""

    def __init__(self, watched: Any, policy: AddressPolicy, timeout: float, max_bytes: int, max_in_flight: int) -> None:
        self.upstream = Upstream(watched, policy, timeout, max_bytes, max_in_flight)
        parts = compose(watched, read(WorkerSettings, {}, {}), {}, upstream=self.upstream)
        self.current, self.site = parts.current, parts.site
        self.site.limits = evolve(self.site.limits, drain_seconds=0.1)
        self.port = 0
        self.callers: list[WorkerCall] = []

    def call(self, url: str, method: str = "GET") -> WorkerCall:
        """Begin a hit, with C{url} as the configuration."""
        document = {"url": url}
        self.current.put(document, strict_json.document(document), None)
        caller = WorkerCall(method)
        self.callers.append(caller)
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: _provided(caller)  # type: ignore[method-assign]
        reactor.connectTCP("127.0.0.1", self.port, factory)
        return caller

    def hit(self, url: str, method: str = "GET") -> Deferred[Reply]:
        """Hit C{url}, and return the reply."""
        return self.call(url, method).ended

    async def close(self) -> None:
        """Close everything."""
        for caller in self.callers:
            if not caller.ended.called:
                caller.ended.addErrback(lambda _: None)
                caller.transport.abortConnection()
        await self.site.drain()
        await self.upstream.stopService()


def _provided(protocol: Any) -> IProtocol:
    provided: IProtocol = protocol
    return provided


def turn(seconds: float = 0.01) -> Deferred[None]:
    """Return a Deferred that fires after the reactor did other work."""
    return deferLater(reactor, seconds)


def redirect(location: str, status: int = 302) -> bytes:
    """Return a redirect whose body never arrives."""
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 100\r\n\r\n".encode()


def answer(raw: bytes, close: bool = False) -> Script:
    """Return a script that always answers with the same bytes."""

    def script(transport: Any, head: bytes) -> None:
        transport.write(raw)
        if close:
            transport.loseConnection()

    return script
