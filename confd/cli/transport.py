"""
HTTP on the standard library: blocking, bounded in time and size, and without redirects.

urllib3 would replace only the choice of the proxy, and its import makes each command of C{confdctl} a third slower.
"""

from __future__ import annotations

import contextlib
import http
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

from attrs import frozen

from confd.cli.errors import CommandError, Exit
from confd.client.forward_proxy import ForwardProxy
from confd.codec.text import printable
from confd.runtime.addresses import join
from confd.runtime.certificate_errors import describe_certificate_error, is_untrusted

#: Bytes of the largest answer, enough for a diff of the two largest documents.
MAX_ANSWER_BYTES = 64 * 1048576

#: The lowest rate of a transfer that continues beyond its timeout.
MIN_BYTES_PER_SECOND = 8192

_READ_BYTES = 65536


class Unreached(CommandError):
    """
    The controller did not answer.

    @ivar asked: whether it may have received the request.
    """

    def __init__(self, sentence: str, asked: bool = False) -> None:
        super().__init__(Exit.UNREACHABLE, sentence)
        self.asked = asked


@frozen
class Reply:
    """
    An answer.

    @ivar headers: values by lower-case name.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class ITransport(Protocol):
    """Sends requests, over a network or in a test."""

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        """
        Send a request and return its answer.

        @param path: path with query.
        @param timeout: longest silence in seconds; a faster transfer than L{MIN_BYTES_PER_SECOND} may take longer.
        @raise Unreached: no answer.
        """

    def stream(self, path: str, headers: Mapping[str, str], idle: float) -> Iterator[Reply | bytes]:
        """
        Get an endless body: yield the L{Reply}, which is complete unless its status is 200, then pieces of the body.

        @param idle: longest silence in seconds.
        @raise Unreached: no answer, or the stream broke.
        """

    def certificate_expiry(self, timeout: float) -> datetime | None:
        """
        Return when the certificate of the controller expires, UTC; C{None} without TLS.

        @param timeout: time limit for the connection, in seconds.
        @raise Unreached: no connection.
        """


class Transport:
    """Send each request on a connection of its own."""

    def __init__(self, url: str, ca_file: str | None, proxy: ForwardProxy | None = None) -> None:
        """
        @param url: address without credentials, query and final slash.
        @param ca_file: PEM file with the trusted authorities; C{None} for those of the system.
        @param proxy: the forward proxy; C{None} for a direct connection.
        @raise CommandError: C{ca_file} cannot be used.
        """
        parts = urlsplit(url)
        self._url, self._host, self._port, self._base = url, parts.hostname or "", parts.port, parts.path
        self._proxy = proxy
        self._tls = _context(ca_file) if parts.scheme == "https" else None

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        """Send a request and return its answer; see L{ITransport.exchange}."""
        patience = timeout + len(body or b"") // MIN_BYTES_PER_SECOND
        with (
            self._connected(timeout) as connection,
            _Deadline(connection.sock, patience) as deadline,
            self._errors(deadline.expired),
        ):
            response = self._asked(connection, method, path, headers, body)
            deadline.answered(timeout)
            answer = _answer(response, deadline.moved)
            if deadline.expired.is_set():
                # An aborted body may look complete.
                raise TimeoutError
            return answer

    def stream(self, path: str, headers: Mapping[str, str], idle: float) -> Iterator[Reply | bytes]:
        """Get an endless body; see L{ITransport.stream}."""
        with self._connected(idle) as connection, self._errors(threading.Event()):
            response = self._asked(connection, "GET", path, headers, None)
            if response.status != 200:
                yield _answer(response)
                return
            yield Reply(response.status, _headers(response), b"")
            while piece := response.read1(_READ_BYTES):
                yield piece

    def certificate_expiry(self, timeout: float) -> datetime | None:
        """Return when the certificate expires; see L{ITransport.certificate_expiry}."""
        if self._tls is None:
            return None
        with self._connected(timeout) as connection:
            assert isinstance(connection.sock, ssl.SSLSocket)
            certificate = connection.sock.getpeercert() or {}
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)

    def _asked(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> http.client.HTTPResponse:
        # The server may refuse a large body and close the connection before it has read everything.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, self._target(path), body, {**headers, **self._to_proxy()})
        response = connection.getresponse()
        if response.status == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and self._proxy is not None:
            raise self._proxy_error("it answers 407: write user and password into its URL")
        return response

    @contextlib.contextmanager
    def _connected(self, timeout: float) -> Iterator[http.client.HTTPConnection]:
        with contextlib.closing(self._connection(timeout)) as connection:
            try:
                connection.connect()
            except ssl.SSLCertVerificationError as error:
                words = describe_certificate_error(error.verify_code, error.verify_message)
                remedy = "; name its authority with --ca-file" if is_untrusted(error.verify_code) else ""
                raise Unreached(f"{self._url} cannot be reached: {words}{remedy}.") from None
            except ssl.SSLError:
                raise Unreached(
                    f"{self._url} has no valid TLS; check whether the address begins with http://."
                ) from None
            except (OSError, UnicodeError, http.client.HTTPException) as error:
                if self._proxy is not None:
                    raise self._proxy_error(_reason(error)) from None
                # UnicodeError: the host name is not valid in DNS.
                raise Unreached(
                    f"No controller answers at {self._url} ({_reason(error)}); start it, or correct the address."
                ) from None
            yield connection

    def _proxy_error(self, reason: str) -> Unreached:
        shown_proxy = "" if self._proxy is None else self._proxy.shown
        return Unreached(
            f"The proxy {shown_proxy} does not connect to {self._url} ({reason}); check CONTROLLER_PROXY, HTTP_PROXY,"
            " HTTPS_PROXY and NO_PROXY."
        )

    def _target(self, path: str) -> str:
        """Return the request target: a proxy needs an absolute URL (RFC 9112 section 3.2.2)."""
        if self._proxy is None or self._tls is not None:
            return self._base + path
        return f"http://{join(self._host, self._port or 80)}{self._base}{path}"

    def _to_proxy(self) -> dict[str, str]:
        """Return the headers for a proxy without a tunnel."""
        if self._proxy is None or self._proxy.authorization is None or self._tls is not None:
            return {}
        return {"Proxy-Authorization": self._proxy.authorization.decode("ascii")}

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        host, port = (self._host, self._port) if self._proxy is None else (self._proxy.host, self._proxy.port)
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls)
        if self._proxy is not None:
            own = self._proxy.authorization
            headers = {} if own is None else {"Proxy-Authorization": own.decode("ascii")}
            connection.set_tunnel(self._host, self._port or 443, headers)
        return connection

    @contextlib.contextmanager
    def _errors(self, expired: threading.Event) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            if expired.is_set() or isinstance(error, TimeoutError):
                sentence = f"{self._url} received the request and did not answer in time; try again."
            elif isinstance(error, http.client.BadStatusLine) and self._tls is None:
                sentence = f"{self._url} does not speak HTTP; check whether the address begins with https://."
            else:
                sentence = f"The connection to {self._url} broke ({_reason(error)}); try again."
            raise Unreached(sentence, asked=True) from None


def _context(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise CommandError(Exit.USAGE, f"ca_file: {ca_file} has no certificates ({_reason(error)}).") from None


class _Deadline:
    """
    Cut a connection that falls below the lowest rate; the timeout of a socket limits only one read or write.

    @ivar expired: set when the connection is cut.
    """

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        """
        @param sock: kept here, because the connection drops it after the head of the answer.
        @param seconds: time limit for the head of the answer.
        """
        self.expired, self._changed, self._over = threading.Event(), threading.Condition(), False
        self._sock, self._due, self._moved = sock, time.monotonic() + seconds, 0
        # To send a whole body is one operation of the socket.
        sock.settimeout(seconds)

    def answered(self, seconds: float) -> None:
        """Allow some seconds for the body of the answer, and for each silence in it."""
        with contextlib.suppress(OSError):
            # The socket is already closed if the answer has no body.
            self._sock.settimeout(seconds)
        with self._changed:
            self._due = time.monotonic() + seconds
            self._changed.notify()

    def moved(self, size: int) -> None:
        """Extend the deadline in proportion to received bytes."""
        self._moved += size
        whole, self._moved = divmod(self._moved, MIN_BYTES_PER_SECOND)
        with self._changed:
            self._due += whole

    def __enter__(self) -> _Deadline:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._over:
                left = self._due - time.monotonic()
                if left <= 0:
                    self.expired.set()
                    with contextlib.suppress(OSError):
                        self._sock.shutdown(socket.SHUT_RDWR)
                    return
                self._changed.wait(left)


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _answer(response: http.client.HTTPResponse, moved: Callable[[int], None] = lambda size: None) -> Reply:
    pieces, size = [], 0
    while size <= MAX_ANSWER_BYTES and (piece := response.read1(_READ_BYTES)):
        pieces.append(piece)
        size += len(piece)
        moved(len(piece))
    body = b"".join(pieces)
    if len(body) > MAX_ANSWER_BYTES:
        raise CommandError(Exit.FAILED, f"The answer is larger than {MAX_ANSWER_BYTES} bytes; check the address.")
    if response.length:
        # http.client accepts a body that is shorter than its Content-Length.
        raise http.client.IncompleteRead(body, response.length)
    return Reply(response.status, _headers(response), body)


def _reason(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)
