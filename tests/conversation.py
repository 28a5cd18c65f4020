"""
HTTP conversations in memory: raw bytes into a real L{BoundedSite}, parsed answers out, on a L{Clock}.

    site = serve(clock, GUARD, api, other_api)
    conversation = Conversation(site, clock)
    reply = conversation.post("/api/v1/config", json={"url": "..."}, auth=("admin", "admin123"))
    reply.status, reply.headers["etag"], reply.json

A conversation is one connection. Where a handler waits, C{ask} sends, and C{answer} is C{None} until the reply is
there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IPushProducer, ITCPTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.codec import strict_json
from confd.codec.headers import basic_authorization
from confd.codec.sse import Event, Parser
from confd.runtime.offload import Offload
from confd.web.api.dispatch import Dispatcher
from confd.web.auth.basic import IAuditor, IAuthenticator
from confd.web.auth.throttle import Allowance
from confd.web.server.proxies import Proxies
from confd.web.server.response_cache import ResponseCache
from confd.web.server.site import BoundedSite, Limits

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 50000)
ELSEWHERE = IPv4Address("TCP", "192.0.2.7", 50000)

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) ([\x20-\x7e]*)\Z")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x20-\x7e\x80-\xff\t]*)\Z")
_FORBIDDEN_TWICE = {"content-length", "content-type", "transfer-encoding", "server", "date", "x-request-id"}


def serve(
    clock: Clock,
    guard: IAuthenticator,
    *apis: object,
    limits: Limits | None = None,
    auditor: IAuditor | None = None,
    response_cache: ResponseCache | None = None,
    proxies: Proxies | None = None,
    allowance: Allowance | None = None,
) -> BoundedSite:
    """A site on the production edge that answers the endpoints of C{apis}; threads are played by calling at once."""
    return site_on(
        clock,
        Dispatcher(guard, Offload(maybeDeferred), auditor, allowance),
        *apis,
        limits=limits,
        response_cache=response_cache,
        proxies=proxies,
    )


def site_on(
    clock: Clock,
    edge: Dispatcher,
    *apis: object,
    limits: Limits | None = None,
    response_cache: ResponseCache | None = None,
    proxies: Proxies | None = None,
) -> BoundedSite:
    """The same on an edge that is there."""
    return BoundedSite(
        clock, edge.resource(*apis), limits or Limits(), edge.large, response_cache, proxies or Proxies()
    )


@frozen
class Reply:
    """
    One answer, well-formed to the letter (RFC 9112): what is not raises L{AssertionError} while it is read.

    @ivar headers: values by lower-case name; several are joined by C{", "}.
    @ivar whole: whether the body has ended the way its framing announced.
    """

    status: int
    phrase: str
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True

    @property
    def json(self) -> Any:
        """The body, read as strict JSON."""
        assert self.headers.get("content-type") == "application/json", self
        return strict_json.decode(self.body)

    @property
    def code(self) -> str:
        """The C{code} of an error."""
        code: str = self.json["code"]
        return code


@implementer(ITCPTransport, IPushProducer)
class Wire:
    """
    The server's end of a connection; a lost one is sent in the next turn of the clock, as a reactor does.

    @ivar sent: what has reached the client.
    @ivar unsent: what it has not taken yet.
    @ivar ended: whether the client has seen the end of what is sent.
    @ivar lost: whether the connection is gone.
    @ivar aborted: whether the server reset it.
    @ivar reading: whether the server takes bytes.
    """

    def __init__(self, clock: Clock, peer: IAddress) -> None:
        self._clock, self._peer = clock, peer
        self.protocol: Any = None
        self.producer: Any = None
        self.sent, self.unsent = bytearray(), bytearray()
        self.stalled = self.disconnecting = self.ended = self.lost = self.aborted = False
        self.reading = True

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if self.lost or self.ended or self.disconnecting:
            return
        if self.stalled:
            empty, self.unsent = not self.unsent, self.unsent + data
            if empty and data and self.producer is not None:
                self.producer.pauseProducing()
        else:
            self.sent += data

    def writeSequence(self, pieces: Sequence[bytes]) -> None:
        self.write(b"".join(pieces))

    def stall(self) -> None:
        """The client takes no more bytes."""
        self.stalled = True

    def flow(self) -> None:
        """The client takes them again."""
        self.stalled = False
        waiting, self.sent, self.unsent = bool(self.unsent), self.sent + self.unsent, bytearray()
        if self.disconnecting:
            self._end_soon(ConnectionDone())
        elif waiting and self.producer is not None:
            self.producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming and self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            if not self.unsent:
                self._end_soon(ConnectionDone())

    def loseWriteConnection(self) -> None:
        self.ended = True

    def abortConnection(self) -> None:
        if not self.lost:
            self.disconnecting = self.aborted = True
            self._end_soon(ConnectionAborted())

    def end(self, reason: Exception) -> None:
        """The connection is gone."""
        if not self.lost:
            self.lost = self.ended = True
            self.protocol.connectionLost(Failure(reason))

    def _end_soon(self, reason: Exception) -> None:
        self._clock.callLater(0, self.end, reason)

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IAddress:
        return self._peer

    def getHost(self) -> IAddress:
        return IPv4Address("TCP", "127.0.0.1", 80)

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None: ...

    def getTcpKeepAlive(self) -> bool:
        return False


class Refused(Exception):
    """The site takes no more connections."""


class Conversation:
    """
    One connection to a site.

    @ivar wire: the server's end of it.
    """

    def __init__(self, site: BoundedSite, clock: Clock, peer: IAddress = LOOPBACK) -> None:
        """
        @raise Refused: if the site takes no more connections.
        """
        self._clock = clock
        self.wire = Wire(clock, peer)
        protocol = site.buildProtocol(peer)
        if protocol is None:
            raise Refused()
        self.wire.protocol = protocol
        protocol.makeConnection(self.wire)
        self._methods: list[str] = []
        self._read = 0

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self.wire.lost

    def send(self, raw: bytes) -> None:
        """Send bytes as they are; a closed connection swallows them."""
        if not self.wire.disconnecting and not self.wire.lost:
            self.wire.protocol.dataReceived(raw)
            self._clock.advance(0)

    def hang_up(self) -> None:
        """Go away."""
        self.wire.end(ConnectionLost())
        self._clock.advance(0)

    def ask(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | None = None,
        auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a request, and do not wait for its answer; C{json} or C{body} is what it carries."""
        sent = {"Host": "localhost"}
        if json is not None:
            body, sent["Content-Type"] = strict_json.encode(json), "application/json"
        if body is not None:
            sent["Content-Length"] = str(len(body))
        if auth is not None:
            sent["Authorization"] = basic_authorization(*auth).decode()
        sent |= headers or {}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        self._methods.append(method)
        self.send("\r\n".join(lines).encode() + (body or b""))

    def events(self) -> list[Event]:
        """What has come so far of the stream that is the only answer on it."""
        (reply,) = self.replies()
        assert reply.status == 200, reply
        return Parser(1 << 24).feed(reply.body)

    def tags(self) -> list[str]:
        """The tags of the configurations among these."""
        return [event.id for event in self.events() if event.name == "config"]

    def replies(self) -> list[Reply]:
        """All answers so far, the last of them perhaps not whole yet."""
        return parse_replies(bytes(self.wire.sent), self._methods, self.wire.ended)

    def answer(self) -> Reply | None:
        """The next answer that was not read yet, once it is whole."""
        replies = self.replies()
        if len(replies) <= self._read or not replies[self._read].whole:
            return None
        self._read += 1
        return replies[self._read - 1]

    def request(self, method: str, path: str, **carried: Any) -> Reply:
        """Send a request, see L{ask}, and read its answer, which must be there at once."""
        self.ask(method, path, **carried)
        reply = self.answer()
        assert reply is not None, f"no answer yet to {method} {path}"
        return reply

    def get(self, path: str, **carried: Any) -> Reply:
        """GET; see L{request}."""
        return self.request("GET", path, **carried)

    def post(self, path: str, **carried: Any) -> Reply:
        """POST; see L{request}."""
        return self.request("POST", path, **carried)

    def delete(self, path: str, **carried: Any) -> Reply:
        """DELETE; see L{request}."""
        return self.request("DELETE", path, **carried)


def parse_replies(sent: bytes, methods: Sequence[str] = (), ended: bool = False) -> list[Reply]:
    """
    Read answers as a strict client does; interim ones (1xx) are left out.

    @param methods: of the requests, in order: an answer to HEAD has no body.
    @param ended: whether no more will come.
    @raise AssertionError: at what is not well-formed.
    """
    replies: list[Reply] = []
    while sent:
        head, blank, rest = sent.partition(b"\r\n\r\n")
        if not blank:
            assert not ended, f"the end came in the middle of a head: {sent!r}"
            break
        status, phrase, headers = _head(head)
        if 100 <= status < 200:
            sent = rest
            continue
        method = methods[len(replies)] if len(replies) < len(methods) else "GET"
        body, sent, whole = _body(method, status, headers, rest, ended)
        replies.append(Reply(status, phrase, headers, body, whole))
    return replies


def _head(head: bytes) -> tuple[int, str, dict[str, str]]:
    status_line, *lines = head.split(b"\r\n")
    match = _STATUS_LINE.match(status_line)
    assert match is not None, f"not a status line: {status_line!r}"
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER_LINE.match(line)
        assert found is not None, f"not a header line: {line!r}"
        name, value = found.group(1).decode().lower(), found.group(2).decode("latin-1")
        assert name not in headers or name not in _FORBIDDEN_TWICE, f"{name} twice"
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(match.group(1)), match.group(2).decode(), headers


def _body(method: str, status: int, headers: Mapping[str, str], rest: bytes, ended: bool) -> tuple[bytes, bytes, bool]:
    """The body, what follows it, and whether it is whole."""
    length = headers.get("content-length")
    if method == "HEAD" or status in (204, 304):
        return b"", rest, True
    if "transfer-encoding" in headers:
        assert headers["transfer-encoding"] == "chunked" and length is None, headers
        return _chunks(rest)
    if length is not None:
        assert length.isdigit(), headers
        return rest[: int(length)], rest[int(length) :], len(rest) >= int(length)
    return rest, b"", ended


def _chunks(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        size, line_end, after = rest.partition(b"\r\n")
        if not line_end or len(after) < int(size, 16) + 2:
            return body, b"", False
        length = int(size, 16)
        assert after[length : length + 2] == b"\r\n", after[:80]
        body, rest = body + after[:length], after[length + 2 :]
        if length == 0:
            return body, rest, True
