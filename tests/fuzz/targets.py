"""
The targets of the fuzzers: each parser of untrusted bytes, by its real entry point.

A target takes bytes, and raises only the errors that it declares. Requests go through a connection to a whole
controller or worker, where an answer of 500 counts as an undeclared exception.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool

from confd.agent.cache_files import CacheFiles
from confd.agent.local_api.applied import AppliedDocument
from confd.agent.local_api.config import ConfigApi
from confd.agent.local_api.ofrep import OfrepApi
from confd.brokers.link import CommandRefused, Lost
from confd.brokers.nats.client import BoundedParser
from confd.client.header_limit import BoundedHead
from confd.client.http import Http
from confd.client.response import Response
from confd.codec import announcement, bodies, headers, labels, sse, strict_json
from confd.codec.environment_file import env_variables
from confd.codec.selectors import matches, parse_selector
from confd.codec.values import FormatError, resolve
from confd.controller.configs.diff import difference
from confd.controller.configs.schema import BUILT_IN, Schema
from confd.errors import ConfdError
from confd.local import Local
from confd.model import Configuration, Document, Tag
from confd.runtime.offload import Offload
from confd.runtime.options import read as read_settings
from confd.runtime.settings import WorkerSettings
from confd.web.api.dispatch import Dispatcher
from confd.web.auth.allowed_hosts import host_patterns
from confd.web.auth.bearer import BearerAuth, LocalAuth
from confd.web.auth.principals import Principal, Role
from confd.web.auth.throttle import Throttle
from confd.web.server.proxies import Proxies
from confd.web.server.site import BoundedSite, Limits
from confd.worker.composition import compose
from confd.worker.current import fetchable
from tests.agent.fakes import configuration
from tests.controller.harness import ADMIN, AGENT, START, ControllerHarness
from tests.conversation import ELSEWHERE, LOOPBACK, Conversation

_EVERYBODY = Proxies((ip_network("127.0.0.0/8"),))

#: Headers that confd or Twisted reads, by a request that uses them.
_READING = {
    "GET /api/v1/config": "Authorization If-None-Match X-Agent-ID Forwarded X-Forwarded-For Host Cookie Accept Range"
    " Connection Transfer-Encoding Content-Length Expect Upgrade Accept-Encoding",
    "GET /api/v1/stream": "Last-Event-ID Accept",
    "GET /dashboard/main.js": "If-None-Match Range",
    "GET /": "Accept-Language If-Modified-Since",
    "POST /api/v1/config": "Content-Type Content-Encoding Idempotency-Key If-Match Origin Sec-Fetch-Site",
    "DELETE /api/v1/namespaces/x": "Origin Content-Type",
}

#: Query parameters, by the paths that read them.
_QUERIES = (
    "/api/v1/config?namespace=",
    "/api/v1/config?",
    "/api/v1/agents?after=",
    "/api/v1/agents?limit=1&state=",
    "/api/v1/agents?select=",
    "/api/v1/config/convergence?select=",
    "/api/v1/agents/",
    "/api/v1/config/versions/",
    "/api/v1/config/history?before=",
    "/api/v1/config/diff?from=1&to=",
    "/api/v1/audit?limit=",
    "/api/v1/events?namespace=",
    "/",
)


#: The paths of the API of an agent.
_APPLIED = configuration(7, data={"flags": {"a": 1, "b/c": {"d": [None]}}, "list": [[1], {}], "": ""})


@frozen
class Target:
    """
    A parser of untrusted bytes.

    @ivar read: parse bytes, and raise only the declared errors.
    @ivar words: pieces of its grammar.
    @ivar most: the limit of the length in bytes.
    @ivar declared: the errors that wrong bytes may raise.
    @ivar beginnings: valid beginnings, so that the parser reads further.
    """

    name: str
    read: Callable[[bytes], object]
    words: tuple[bytes, ...]
    most: int = 16_000
    declared: tuple[type[Exception], ...] = ()
    beginnings: tuple[bytes, ...] = (b"",)

    @property
    def of_requests(self) -> bool:
        """Return whether the bytes go through a connection to a server."""
        return self.name.startswith(("GET ", "POST ", "DELETE ", "controller", "worker"))

    def try_(self, data: bytes) -> None:
        """Parse these bytes, and swallow the declared errors."""
        with contextlib.suppress(*self.declared):
            self.read(data)


# -- requests --


class Servers:
    """A controller behind proxies, a worker, and the API of an agent, with and without a token."""

    def __init__(self) -> None:
        self.harness = ControllerHarness()
        self.controller = self.harness.site
        self.controller.proxies = _EVERYBODY
        clock = self.harness.clock
        self.worker = compose(clock, read_settings(WorkerSettings, {}, {}), {}, now=self.harness.now).site
        self.worker.proxies = _EVERYBODY

        applied = AppliedDocument(lambda: _APPLIED, Offload(maybeDeferred))
        identity, throttle = Principal.shared("local", Role.AGENT), Throttle(clock, 0)
        self.agent, self.token_agent = (
            BoundedSite(
                clock, edge.resource(ConfigApi(clock, applied), OfrepApi(applied, "/flags")), Limits(), edge.large
            )
            for edge in (
                Dispatcher(LocalAuth(identity), Offload(maybeDeferred)),
                Dispatcher(BearerAuth.of(identity, "YTpi", throttle), Offload(maybeDeferred)),
            )
        )

    def send(self, site: BoundedSite, raw: bytes, peer: Any = LOOPBACK) -> None:
        """Send bytes on a new connection; check that the answer is well-formed, and no status 500."""
        clock: Clock = self.harness.clock
        caller = Conversation(site, clock, peer)
        caller.send(raw)
        clock.advance(0.1)
        for reply in caller.replies():
            assert reply.status != 500, reply
        caller.hang_up()


def _in_header(servers: Servers, request: str, name: str, peer: Any) -> Callable[[bytes], object]:
    own = {"Host": b"localhost", "Authorization": headers.basic_authorization(*(ADMIN if peer is LOOPBACK else AGENT))}
    if request.startswith("POST"):
        own |= {"Content-Type": b"application/json", "Content-Length": b"30"}
    own.pop(name, None)
    head = f"{request} HTTP/1.1\r\n".encode() + b"".join(b"%s: %s\r\n" % (k.encode(), v) for k, v in own.items())

    def read(data: bytes) -> None:
        body = b'{"url": "http://127.0.0.1/a"}\n' if request.startswith("POST") else b""
        servers.send(servers.controller, head + name.encode() + b": " + data + b"\r\n\r\n" + body, peer)

    return read


def _in_path(servers: Servers, path: str) -> Callable[[bytes], object]:
    end = b" HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + headers.basic_authorization(*ADMIN) + b"\r\n\r\n"
    return lambda data: servers.send(servers.controller, b"GET " + path.encode() + data + end)


def _in_body(servers: Servers, worker: bool, path: str) -> Callable[[bytes], object]:
    site = servers.worker if worker else servers.controller
    identity = AGENT if path in ("/api/v1/register", "/api/v1/report") else ADMIN
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    head += b"Authorization: " + headers.basic_authorization(*identity) + b"\r\nContent-Length: %d\r\n\r\n"
    return lambda data: servers.send(site, head % len(data) + data)


def _of_agents(servers: Servers) -> Iterator[Target]:
    """Yield a target for each header, query, path and body that the API of agents reads."""
    words = (
        *_HEADER_WORDS,
        b"&",
        b"?",
        b"~0",
        b"~1",
        b"~",
        b"flags",
        b"list/0",
        b"wait=1",
        b"pointer=",
        b"1a2b3c4d.1.7",
    )
    end = b" HTTP/1.1\r\nHost: localhost\r\n"
    for name in ("Host", "Origin", "If-None-Match", "Authorization"):
        site = servers.token_agent if name == "Authorization" else servers.agent
        head = b"GET /config?wait=1 HTTP/1.1\r\n" + (b"" if name == "Host" else b"Host: localhost\r\n")
        head += name.encode() + b": "
        read = partial(_sandwich, servers, site, head, b"\r\n\r\n")
        yield Target(f"GET /config {name} agent", read, words, 15_000, beginnings=(*_BEGINNINGS, b"Bearer "))
    for path in ("/config?", "/config?pointer=", "/config?pointer=/flags/"):
        read = partial(_sandwich, servers, servers.agent, b"GET " + path.encode(), end + b"\r\n")
        yield Target(f"GET {path} agent", read, words, 15_000)
    json = b"Content-Type: application/json\r\nContent-Length: "
    key = partial(_sandwich, servers, servers.agent, b"POST /ofrep/v1/evaluate/flags/", end + json + b"2\r\n\r\n{}")
    yield Target("POST /ofrep/v1/evaluate/flags/", key, words, 15_000)
    head = b"POST /ofrep/v1/evaluate/flags" + end + json

    def read_body(data: bytes) -> None:
        servers.send(servers.agent, head + b"%d\r\n\r\n" % len(data) + data)

    yield Target("POST /ofrep/v1/evaluate/flags", read_body, _JSON_WORDS, 8_000, (), (*_OPEN, b'{"context":'))


def _sandwich(servers: Servers, site: BoundedSite, before: bytes, after: bytes, data: bytes) -> None:
    servers.send(site, before + data + after)


_HEADER_WORDS = (
    b'"', b"\\", b",", b";", b"=", b" ", b"\t", b"a=b", b"for=", b'for="', b"1.2.3.4", b"[::1]", b":", b"[", b"]", b"1",
    b"W/", b"*", b"Basic ", b"YTpi", b"://", b"http://", b".localhost", b"/", b"%2e", b"%", b"chunked", b"identity",
    b"application/json", b"q=0.1", b"-", b"a", b"\xff", b"1a2b3c4d.1.", b"_", b"\\a",
)  # fmt: skip

_BEGINNINGS = (b"", b"a=b,", b"for=1.2.3.4;", b'"1", ', b"Basic YTpi", b"http://a", b'for="')

_JSON_WORDS = (
    b"{", b"}", b"[", b"]", b'"', b":", b",", b'"a":', b"1", b"-", b".", b"e", b"0", b"9", b"\\u0000", b"\\ud83d",
    b"\\ude00", b"\\", b"true", b"null", b"NaN", b" ", b"\n", b"1,", b"[],", b"{},", b'"",', b"1e5,", b"0.1,",
    b"\xc3\xbc", b"\xff", b'"url":"http://a/",', b"http://",
)  # fmt: skip

_LABEL_WORDS = (
    b"a", b"region", b"=", b"==", b"!=", b"!", b",", b"(", b")", b" ", b"\t", b"in", b"notin", b"id=", b"A", b"/",
    b".", b"-", b"_", b"\xc3\xbc", b"\xff", b"\n", b"a in (b)", b"a=b,",
)  # fmt: skip

_OPEN = (b"", b'{"a":', b'{"a":"', b'{"a":[')

_HTTP_WORDS = (
    b"\r\n", b"\r", b"\n", b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"X: y\r\n", b"HTTP/1.1 200 OK\r\n", b": ", b" ",
    b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n", b"1\r\nx\r\n", b";a=b", b"\0", b"\x16\x03",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"ffffffff\r\n", b"x", b"POST /config HTTP/1.1\r\n", b"Expect: 100-continue\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n\r\n",
)  # fmt: skip


def _requests(servers: Servers) -> Iterator[Target]:
    for request, names in _READING.items():
        for name in names.split():
            for peer, who in ((LOOPBACK, "proxy"), (ELSEWHERE, "stranger")):
                read = _in_header(servers, request, name, peer)
                yield Target(f"{request} {name} {who}", read, _HEADER_WORDS, 15_000, beginnings=_BEGINNINGS)
    for path in _QUERIES:
        yield Target(f"GET {path}", _in_path(servers, path), (*_HEADER_WORDS, b"&", b"&a=1", b"a/", b"?", b"+"), 15_000)
    for path in ("config", "register", "report", "namespaces", "config/rollback", "epoch", "agents/a/labels"):
        read = _in_body(servers, False, f"/api/v1/{path}")
        yield Target(f"POST /api/v1/{path}", read, _JSON_WORDS, 8_000, (), _OPEN)
    yield Target("POST /config", _in_body(servers, True, "/config"), _JSON_WORDS, 8_000, (), _OPEN)
    yield from _of_agents(servers)
    yield Target("controller", lambda data: servers.send(servers.controller, data), _HTTP_WORDS, 32_000)
    yield Target("worker", lambda data: servers.send(servers.worker, data), _HTTP_WORDS, 32_000)


# -- what an agent reads --


def _answers(data: bytes) -> None:
    """Parse an answer of a controller or worker from its first byte on."""
    reactor = MemoryReactorClock()

    class Endpoints:
        def endpointForURI(self, uri: object) -> object:
            return BoundedHead(TCP4ClientEndpoint(reactor, "127.0.0.1", 1))

    agent = Agent.usingEndpointFactory(reactor, Endpoints(), HTTPConnectionPool(reactor, False))
    asking: Deferred[Response] = Http(reactor, agent, None, None).call("It", "GET", "http://127.0.0.1:1/")
    factory = reactor.tcpClients[0][2]
    protocol = factory.buildProtocol(None)
    transport = StringTransport()
    transport.abortConnection = transport.loseConnection  # type: ignore[method-assign]
    protocol.makeConnection(transport)
    protocol.dataReceived(data)
    protocol.connectionLost(Failure(ConnectionDone()))
    reactor.advance(60)
    outcome: list[object] = []
    asking.addBoth(outcome.append)
    [found] = outcome
    if isinstance(found, Failure):
        found.trap(ConfdError)
    else:
        found.raise_unless_success()  # type: ignore[attr-defined]


def _events(data: bytes) -> None:
    whole, pieces = sse.Parser(65536), sse.Parser(65536)
    parsed = whole.feed(data)
    assert [event for byte in data[:4096] for event in pieces.feed(bytes([byte]))] == (
        parsed if len(data) <= 4096 else sse.Parser(65536).feed(data[:4096])
    )


def _redis(data: bytes) -> None:
    # The import installs the default reactor; no other target needs it.
    from confd.brokers.redis.protocol import RedisConnection

    connection = RedisConnection(lambda channel, message: None)
    transport = StringTransport()
    transport.abortConnection = transport.loseConnection  # type: ignore[method-assign]
    connection.makeConnection(transport)
    asked = Deferred.fromCoroutine(connection.ask("GET", "a"))
    asked.addErrback(lambda failure: failure.trap(Lost, CommandRefused) and None)
    for at in range(0, len(data), 4096):
        if not transport.disconnecting:
            connection.dataReceived(data[at : at + 4096])
    connection.connectionLost(Failure(ConnectionDone()))


class _Nats:
    """The callbacks of nats-py's parser."""

    async def _process_err(self, said: str) -> None: ...

    async def _process_ping(self) -> None: ...

    async def _process_pong(self) -> None: ...

    async def _process_info(self, info: object) -> None: ...

    async def _process_msg(self, *message: object) -> None: ...


def _values(data: bytes) -> None:
    """Parse a pointer, and the names and values of environment variables."""
    text = data.decode("utf-8", "surrogateescape")
    name, _, value = text.partition("=")
    with contextlib.suppress(FormatError):
        resolve({"a": [{"": 1}], "~/": {}}, text)
    with contextlib.suppress(FormatError):
        assert set(env_variables({name: value}).values()) == {value}


@contextlib.contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Drop the messages of a logger in this context; other tests of the process read them."""
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def _kept(data: bytes) -> None:
    """Parse the file of a program that keeps the last document."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "kept")
        path.write_bytes(data)
        with _silent(logging.getLogger("confd.local")):
            assert Local("http://127.0.0.1:1", keep=path).tag != ""


def _nats(data: bytes) -> None:
    async def parse() -> None:
        parser = BoundedParser(_Nats())
        for at in range(0, len(data), 4096):
            await parser.parse(data[at : at + 4096])

    coroutine = parse()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the parser waits")


def _cache(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        for name in ("cache", "cache.prev", "cache.id", "cache.token"):
            Path(folder, name).write_bytes(data)
        CacheFiles(f"{folder}/cache", "default").load()


def _diff(data: bytes) -> None:
    half = len(data) // 2
    both = []
    for number, text in enumerate((data[:half], data[half:])):
        text = text.replace(b"\0", b"0")
        value = {"a": [text[at : at + 2].decode("latin-1") for at in range(0, len(text), 2)], "b": list(text)}
        document = Document(strict_json.encode(value), "")
        both.append(Configuration("", 0, number + 1, "default", document, 30, START))
    difference(both[0], both[1])


def _texts(data: bytes) -> None:
    text = data.decode("latin-1")
    headers.entity_tags(text)
    headers.parse_basic_authorization(data)
    for read in (Tag.parse, headers.parse_rfc3339, fetchable, host_patterns):
        with contextlib.suppress(ValueError):
            read(text)


_SCHEMA = Schema.compile(
    {
        "type": "object",
        "additionalProperties": {"anyOf": [{"pattern": "^(a+)+$"}, {"pattern": "(a|a)*b"}]},
        "properties": {"b": {"uniqueItems": True}},
    }
)


def _schema(data: bytes) -> None:
    text = data.decode("latin-1")
    _SCHEMA.check({"a": text, "b": list(text[:500])})
    Schema.compile(BUILT_IN).check({"url": text})


def _answered(data: bytes) -> None:
    for status in (200, 304, 400, 401, 404, 500):
        Response("It", status, data).raise_unless_success()
    for read in (bodies.parse_served, bodies.parse_membership, bodies.parse_report_window, bodies.parse_worker_state):
        with contextlib.suppress(ConfdError):
            read(data)
    bodies.parse_worker_checksum(data)


def _labels(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    declared = labels.parse_metadata(text)
    assert labels.parse_metadata(labels.format_labels(declared.labels)).labels == declared.labels
    labels.merge(declared.labels, labels.check_changes({text: "", text[:8]: text[8:]}))


def _selector(data: bytes) -> None:
    selector = parse_selector(data.decode("utf-8", "replace"))
    matches({"a": "b", "region": ""}, selector)
    assert parse_selector(selector.text.strip(" \t\r\n")).requirements == selector.requirements


def targets() -> list[Target]:
    """Return all targets."""
    said = (b"event:", b"data:", b"id:", b":", b"\n", b"\r", b"\r\n", b" ", b"\0", b"x", b"\xef\xbb\xbf", b"config")
    redis = (
        b"*3\r\n",
        b"$1\r\n",
        b"$-1\r\n",
        b"\r\n",
        b"+OK\r\n",
        b"-ERR x\r\n",
        b":1\r\n",
        b"*",
        b"$",
        b"9",
        b"message",
    )
    nats = (
        b"MSG ",
        b"HMSG ",
        b"INFO ",
        b"PING\r\n",
        b"PONG\r\n",
        b"+OK\r\n",
        b"-ERR ",
        b"'x'",
        b"{}",
        b" ",
        b"1",
        b"s",
        b"\r\n",
        b"\t",
        b"\n",
    )
    text = (*_HEADER_WORDS, b"2026-01-01T00:00:00Z", b"T", b"+00:00", b"12345678.1.1", b"a.", b"@", b"?", b"#")
    return [
        *_requests(Servers()),
        Target(
            "answers of servers",
            _answers,
            _HTTP_WORDS,
            64_000,
            (ConfdError,),
            (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ),
        Target("bodies of answers", _answered, _JSON_WORDS, 64_000, (ConfdError,), _OPEN),
        Target("server-sent events", _events, said, 16_000, (ConfdError,), (b"", b"data:a\n", b"id:")),
        Target("announcements", lambda data: announcement.read(data), _JSON_WORDS, 64_000, (ConfdError,), _OPEN),
        Target(
            "JSON",
            lambda data: strict_json.document(strict_json.decode(data)),
            _JSON_WORDS,
            64_000,
            (ConfdError,),
            _OPEN,
        ),
        Target("Redis", _redis, redis, 32_000, (), (b"", b"*3\r\n", b"$9\r\n")),
        Target("NATS", _nats, nats, 64_000, (BoundedParser.refused,), (b"", b"INFO ", b"MSG ", b"MSG s 1", b"-ERR ")),
        Target("cache files", _cache, (*_JSON_WORDS, b'{"format":2,"checksum":"sha256:"}\n'), 64_000),
        Target("differences", _diff, (b"a", b"b", b"ab", b"abc", b"\0", b"aa", b"xyz"), 16_000),
        Target("texts", _texts, text, 16_000, (ValueError,), (*_BEGINNINGS, b"http://", b"a.")),
        Target(
            "pointers and variables", _values, (b"/", b"~0", b"~1", b"~", b"a", b"0", b"=", b"\n", b"\xc2\x85", b"-")
        ),
        Target(
            "kept documents", _kept, (*_JSON_WORDS, b'"tag":', b'"document":'), 16_000, (), (*_OPEN, b'{"tag":"1",')
        ),
        Target("labels", _labels, _LABEL_WORDS, 1024, (ConfdError,), (b"", b"a=b,")),
        Target("selectors", _selector, _LABEL_WORDS, 1024, (ConfdError,), (b"", b"a in (", b"a=b,", b"!")),
        Target("schemas", _schema, (b"a", b"b", b"http://", b"/", b" "), 16_000, (ConfdError,)),
    ]
