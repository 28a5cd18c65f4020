"""
HTTP calls whose answer is taken to be hostile.

Every call has a deadline, every body a limit, no redirect is followed, and whatever goes wrong comes out as a
L{confd.model.ConfdError}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from attrs import frozen
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from confd import jsontext
from confd.model import (
    ConfdError,
    Conflict,
    Forbidden,
    Malformed,
    NotFound,
    StartError,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)
from confd.wire import MAX_ANSWER_BYTES, basic_authorization

#: Seconds to get a connection, and seconds that a call takes at most with the last byte of its answer.
CONNECT_TIMEOUT, CALL_TIMEOUT = 5.0, 10.0

#: Seconds that an idle connection is kept: fewer than confd's servers keep it, so that it is seldom found closed.
IDLE_TIMEOUT = 20

#: Characters of another program's words that are worth repeating.
_WORDS = 500


def web_agent(reactor: Any, tls: IPolicyForHTTPS) -> IAgent:
    """An HTTP/1.1 client that keeps its connections for the next call."""
    pool = HTTPConnectionPool(reactor)
    pool.cachedConnectionTimeout = IDLE_TIMEOUT
    agent: IAgent = Agent(reactor, tls, connectTimeout=CONNECT_TIMEOUT, pool=pool)
    return agent


def tls_policy(ca_file: str | None) -> IPolicyForHTTPS:
    """
    Whom to believe over TLS.

    @param ca_file: PEM certificates that are trusted instead of the system's roots.
    @raise StartError: if they cannot be read.
    """
    if ca_file is None:
        policy: IPolicyForHTTPS = BrowserLikePolicyForHTTPS()
        return policy
    try:
        found = load_pem_x509_certificates(Path(ca_file).read_bytes())
    except OSError as error:
        raise StartError(f"CONTROLLER_CA_FILE: {ca_file} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise StartError(f"CONTROLLER_CA_FILE: {ca_file} holds no PEM certificate.") from None
    roots = trustRootFromCertificates([Certificate.loadPEM(each.public_bytes(Encoding.PEM)) for each in found])
    return BrowserLikePolicyForHTTPS(roots)


@frozen
class Answer:
    """
    An HTTP answer, read to its end.

    @ivar who: who gave it, for people.
    """

    who: str
    status: int
    body: bytes

    def error(self) -> tuple[str, str]:
        """The C{code} and the words of an error answer: confd's, or whatever another program says."""
        code, words = "", self.body[: 4 * _WORDS].decode("utf-8", "replace")
        try:
            value = jsontext.decode(self.body)
        except Malformed:
            value = None
        if isinstance(value, dict):
            code, words = str(value.get("code", "")), str(value.get("error", words))
        return code[:_WORDS], "".join(each if each.isprintable() else " " for each in words)[:_WORDS].strip()

    def raise_unless_success(self) -> None:
        """
        Any 2xx is a success (S48).

        @raise ConfdError: the one for this status.
        """
        if 200 <= self.status < 300:
            return
        code, words = self.error()
        said = f"{self.who} answers {self.status}" + (f": {words}" if words else ".")
        if self.status in (400, 413, 415, 422):
            raise Unprocessable(code or "refused", words or said)
        kinds = {401: Unauthenticated, 403: Forbidden, 404: NotFound, 409: Conflict, 429: Unavailable}
        kind = kinds.get(self.status, Unavailable if self.status >= 500 else Malformed)
        raise kind(code or "unexpected_answer", said)


class Http:
    """One identity's calls to HTTP servers."""

    def __init__(self, clock: Any, web: IAgent, username: str | None, password: str | None) -> None:
        """
        @param clock: an L{IReactorTime}.
        @param web: makes the requests; it follows no redirects.
        @param username: C{None} sends no credentials.
        """
        self._clock = clock
        self._web = web
        self._authorization = None if username is None else basic_authorization(username, password or "")

    def call(
        self,
        who: str,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Deferred[Answer]:
        """
        Make a request and read the answer.

        @param who: the one that is asked, for people: begins a sentence.
        @param body: JSON.
        @return: fires with the answer whatever its status.
        @raise Unavailable: there was none in time.
        @raise Malformed: it was too long.
        """
        sent = Headers()
        for name, value in (headers or {}).items():
            sent.addRawHeader(name, value)
        if self._authorization is not None:
            sent.addRawHeader(b"Authorization", self._authorization)
        if body is not None:
            sent.addRawHeader("Content-Type", "application/json")

        async def exchange() -> Answer:
            # A client for each call: it has no cookies of a call before.
            response = await HTTPClient(self._web, data_to_body_producer=_Bytes).request(
                method,
                url,
                params=dict(params or {}),
                headers=sent,
                data=body,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._clock,
            )
            return Answer(who, response.code, await _read(response))

        def late(_: object, seconds: float) -> NoReturn:
            raise Unavailable("unreachable", f"{who} does not answer within {seconds:.0f} seconds.")

        def failed(failure: Failure) -> Failure:
            if failure.check(ConfdError):
                return failure
            if _cancelled(failure.value):
                return Failure(CancelledError())
            return Failure(Unavailable("unreachable", f"{who} cannot be reached: {_reason(failure.value)}."))

        return Deferred.fromCoroutine(exchange()).addTimeout(CALL_TIMEOUT, self._clock, late).addErrback(failed)


@implementer(IBodyProducer)
class _Bytes:
    """A small request body, written at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing to pause."""

    def resumeProducing(self) -> None:
        """There is nothing to resume."""

    def stopProducing(self) -> None:
        """There is nothing to stop."""


class _Body(Protocol):
    """Reads the body of an answer, up to a limit."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self.read: Deferred[bytes] = Deferred(lambda _: self._close())

    def dataReceived(self, data: bytes) -> None:
        """Keep it, or cut an answer that is too long."""
        self._size += len(data)
        if self._size <= MAX_ANSWER_BYTES:
            self._chunks.append(data)
        elif not self.read.called:
            self._chunks.clear()
            self.read.errback(Malformed("answer_too_long", f"The answer is over {MAX_ANSWER_BYTES} bytes."))
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, or was cut off."""
        if self.read.called:
            return
        # An answer without a length ends with its connection; whether it is whole, its JSON and checksum tell.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.read.callback(b"".join(self._chunks))
        else:
            self.read.errback(reason)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def _read(response: IResponse) -> Deferred[bytes]:
    body = _Body()
    response.deliverBody(body)
    return body.read


def _cancelled(error: BaseException | None) -> bool:
    """Whether a request failed because its caller gave it up: Twisted tells it in three ways."""
    reasons = [failure.value for failure in getattr(error, "reasons", ())]
    return any(isinstance(each, (CancelledError, ConnectingCancelledError)) for each in [error, *reasons])


def _reason(error: BaseException | None) -> str:
    """What went wrong, without the envelopes that L{twisted.web.client} puts around it."""
    reasons = getattr(error, "reasons", ())
    if reasons:
        return _reason(reasons[-1].value)
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:_WORDS].rstrip(".")
