"""HTTP over the standard library: blocking, bounded in time and size, and never led elsewhere by a redirect."""

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
from typing import Any, Protocol
from urllib.parse import urlsplit

from attrs import frozen

from confd.cli.errors import CommandError, Exit
from confd.client.forward_proxy import ForwardProxy
from confd.codec.text import printable
from confd.runtime.addresses import join
from confd.runtime.certificate_errors import describe_certificate_error, is_untrusted

#: Bytes of an answer at most: a diff of the two largest documents fits.
MAX_ANSWER = 64 * 1048576

#: Bytes a second that a request and its answer make at least, once the timeout is over.
LEAST_RATE = 8192

_PIECE = 65536


class Unreached(CommandError):
    """
    No answer.

    @ivar asked: whether the controller may have got the request nevertheless.
    """

    def __init__(self, sentence: str, asked: bool = False) -> None:
        super().__init__(Exit.UNREACHABLE, sentence)
        self.asked = asked


@frozen
class Reply:
    """
    What came back.

    @ivar headers: by lower-case name.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class ITransport(Protocol):
    """What carries requests: a network, or a test."""

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        """
        One request and its answer.

        @param path: with its query.
        @param timeout: seconds of silence at most; a transfer that goes on may take longer, see L{LEAST_RATE}.
        @raise Unreached: if there is none.
        """

    def stream(self, path: str, headers: Mapping[str, str], idle: float) -> Iterator[Reply | bytes]:
        """
        GET something without an end: first the L{Reply}, complete if its status is not 200, then pieces of its body.

        @param idle: seconds of silence after which it counts as broken.
        @raise Unreached: if there is no answer, or when it breaks.
        """

    def certificate_expiry(self, timeout: float) -> datetime | None:
        """
        Return when the certificate of the controller expires, UTC; C{None} without TLS.

        @param timeout: seconds for the connection.
        @raise Unreached: if there is none.
        """


class Transport:
    """One connection a request."""

    def __init__(self, url: str, ca_file: str | None, proxy: ForwardProxy | None = None) -> None:
        """
        @param url: without path at its end, credentials and query.
        @param proxy: on the way to it.
        @raise Failure: if C{ca_file} cannot be used.
        """
        parts = urlsplit(url)
        self._url, self._host, self._port, self._base = url, parts.hostname or "", parts.port, parts.path
        self._proxy = proxy
        self._tls = _context(ca_file) if parts.scheme == "https" else None

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        """See L{ITransport.exchange}."""
        patience = timeout + len(body or b"") // LEAST_RATE
        with (
            self._connected(timeout) as connection,
            _Deadline(connection.sock, patience) as deadline,
            self._errors(deadline.expired),
        ):
            response = self._asked(connection, method, path, headers, body)
            deadline.answered(timeout)
            answer = _answer(response, deadline.moved)
            if deadline.expired.is_set():
                # What was broken off may look complete.
                raise TimeoutError
            return answer

    def stream(self, path: str, headers: Mapping[str, str], idle: float) -> Iterator[Reply | bytes]:
        """See L{ITransport.stream}."""
        with self._connected(idle) as connection, self._errors(threading.Event()):
            response = self._asked(connection, "GET", path, headers, None)
            if response.status != 200:
                yield _answer(response)
                return
            yield Reply(response.status, _headers(response), b"")
            while piece := response.read1(_PIECE):
                yield piece

    def certificate_expiry(self, timeout: float) -> datetime | None:
        """See L{ITransport.certificate_expiry}."""
        if self._tls is None:
            return None
        with self._connected(timeout) as connection:
            shown_certificate = connection.sock.getpeercert()
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown_certificate["notAfter"]), UTC)

    def _asked(
        self, connection: Any, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> http.client.HTTPResponse:
        # A refusal may come, and the connection end, before all of a large body was taken.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, self._target(path), body, {**headers, **self._to_proxy()})
        response: http.client.HTTPResponse = connection.getresponse()
        if response.status == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and self._proxy is not None:
            raise self._astray("it answers 407; write user and password into its URL")
        return response

    @contextlib.contextmanager
    def _connected(self, timeout: float) -> Iterator[Any]:
        with contextlib.closing(self._connection(timeout)) as connection:
            try:
                connection.connect()
            except ssl.SSLCertVerificationError as error:
                words = describe_certificate_error(error.verify_code, error.verify_message)
                remedy = "; name its authority with --ca-file" if is_untrusted(error.verify_code) else ""
                raise Unreached(f"{self._url} cannot be reached: {words}{remedy}.") from None
            except ssl.SSLError:
                raise Unreached(f"{self._url} does not speak TLS as it should; is it an http:// address?") from None
            except (OSError, UnicodeError, http.client.HTTPException) as error:
                if self._proxy is not None:
                    raise self._astray(_reason(error)) from None
                # UnicodeError: a name that DNS cannot have.
                raise Unreached(
                    f"No controller answers at {self._url} ({_reason(error)}); is it running, and is that its address?"
                ) from None
            yield connection

    def _astray(self, reason: str) -> Unreached:
        shown_proxy = "" if self._proxy is None else self._proxy.shown
        return Unreached(
            f"The proxy {shown_proxy} does not lead to {self._url} ({reason}); see CONTROLLER_PROXY, HTTP_PROXY,"
            " HTTPS_PROXY and NO_PROXY."
        )

    def _target(self, path: str) -> str:
        """Return what a request asks for: a proxy takes whole URLs (RFC 9112 section 3.2.2)."""
        if self._proxy is None or self._tls is not None:
            return self._base + path
        return f"http://{join(self._host, self._port or 80)}{self._base}{path}"

    def _to_proxy(self) -> dict[str, str]:
        """Return the headers for the proxy, of which a tunnel sends none to the controller."""
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
                sentence = f"{self._url} took the request and did not answer in time; try again."
            elif isinstance(error, http.client.BadStatusLine) and self._tls is None:
                sentence = f"What answers at {self._url} is no confd controller; is it an https:// address?"
            else:
                sentence = f"The connection to {self._url} broke ({_reason(error)}); try again."
            raise Unreached(sentence, asked=True) from None


def _context(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise CommandError(Exit.USAGE, f"ca_file: {ca_file} holds no certificates ({_reason(error)}).") from None


class _Deadline:
    """
    Breaks a connection off below the least rate: a timeout of the socket is for one piece only.

    @ivar expired: set once the connection is broken off.
    """

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        """
        @param sock: kept here, as the connection lets go of it once the head of the answer is there.
        @param seconds: until the head of the answer must be there.
        """
        self.expired, self._changed, self._over = threading.Event(), threading.Condition(), False
        self._sock, self._due, self._moved = sock, time.monotonic() + seconds, 0
        # Sending all of a body counts as one operation of the socket.
        sock.settimeout(seconds)

    def answered(self, seconds: float) -> None:
        """Allow so many seconds for the body of the answer, and for each silence in it."""
        with contextlib.suppress(OSError):
            # The socket is closed already where the answer has no body.
            self._sock.settimeout(seconds)
        with self._changed:
            self._due = time.monotonic() + seconds
            self._changed.notify()

    def moved(self, size: int) -> None:
        """Count bytes that have come: they give time for as many more."""
        self._moved += size
        whole, self._moved = divmod(self._moved, LEAST_RATE)
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
    while size <= MAX_ANSWER and (piece := response.read1(_PIECE)):
        pieces.append(piece)
        size += len(piece)
        moved(len(piece))
    body = b"".join(pieces)
    if len(body) > MAX_ANSWER:
        raise CommandError(Exit.FAILED, f"The answer is larger than {MAX_ANSWER} bytes; that is no confd controller.")
    if response.length:
        # Where a size is given, http.client takes less than was announced for all of it.
        raise http.client.IncompleteRead(body, response.length)
    return Reply(response.status, _headers(response), body)


def _reason(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)
