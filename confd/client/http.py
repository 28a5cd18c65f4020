"""
HTTP calls whose answer is taken to be hostile.

Every call has a deadline that moves with the bytes that come, every body a limit. No redirect is followed, and
whatever goes wrong comes out as a L{confd.errors.ConfdError}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

from attrs import field, frozen
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from confd.client.body import RequestBody, StreamBody, read_body
from confd.codec import strict_json
from confd.codec.headers import basic_authorization
from confd.codec.retry_after import STATUSES, parse_retry_after
from confd.codec.text import printable
from confd.errors import (
    ConfdError,
    Conflict,
    Forbidden,
    Malformed,
    NotFound,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)
from confd.runtime.addresses import join
from confd.runtime.certificate_errors import describe_tls_error
from confd.runtime.offload import LARGE_BYTES
from confd.runtime.timing import Progress

T = TypeVar("T")

#: Seconds that a call may be silent, before its answer and within it.
CALL_TIMEOUT = 10.0

#: Bytes a second that a request and the body of its answer make at least, once L{CALL_TIMEOUT} is over.
LEAST_RATE = 8192

#: Bytes of an error that are read as JSON, on the reactor.
_LONGEST_ERROR = LARGE_BYTES

_REDIRECTS = (301, 302, 303, 307, 308)

#: Characters of another program's words that are worth repeating.
_WORDS = 500


@frozen
class Response:
    """
    An HTTP answer, read to its end.

    @ivar who: who gave it, for people.
    @ivar asked: the URL of the request.
    @ivar setting: the one that holds the address, for people.
    """

    who: str
    status: int
    body: bytes
    _headers: Headers = field(factory=Headers, eq=False)
    asked: str = field(default="", eq=False)
    setting: str = field(default="", eq=False)

    def header(self, name: str) -> str | None:
        """The value of a header, C{None} where it is not there."""
        values = self._headers.getRawHeaders(name)
        return values[0] if values else None

    def error(self) -> tuple[str, str]:
        """The C{code} and the words of an error answer: confd's, or whatever another program says."""
        code, words = "", self.body[: 4 * _WORDS].decode("utf-8", "replace")
        try:
            value = strict_json.decode(self.body) if len(self.body) <= _LONGEST_ERROR else None
        except Malformed:
            value = None
        if isinstance(value, dict):
            code, words = str(value.get("code", "")), str(value.get("error", words))
        return code[:_WORDS], printable(" ".join(words[:_WORDS].split()), _WORDS)

    def _redirect(self) -> str:
        """Tell where a redirect leads, without credentials and query; no request of confd follows one."""
        try:
            place = urljoin(self.asked, self.header("Location") or "")
            parts = urlsplit(place)
            host = join(parts.hostname or "", parts.port)
        except ValueError:
            host = ""
        if not host:
            return f"{self.who} answers {self.status}, a redirect that does not say where it leads."
        path = parts.path.removesuffix(urlsplit(self.asked).path)
        to = printable(f"{parts.scheme}://{host}{path}", _WORDS)
        if to == self.asked.partition("?")[0].removesuffix(urlsplit(self.asked).path):
            to += parts.path
        mend = f"set {self.setting} to it" if self.setting else "use that address"
        return f"{self.who} answers {self.status} and leads to {to}; {mend}, as redirects are not followed."

    def raise_unless_success(self) -> None:
        """
        Any 2xx is a success.

        @raise ConfdError: the one for this status.
        """
        if 200 <= self.status < 300:
            return
        code, words = self.error()
        said = f"{self.who} answers {self.status}" + (f": {words}" if words else ".")
        if self.status in _REDIRECTS and self.header("Location"):
            raise Malformed("redirect", self._redirect())
        if self.status in (400, 413, 415, 422):
            raise Unprocessable(code or "refused", words or said)
        if self.status == 407:
            said = f"The proxy on the way to {self.who} answers 407; write user and password into the URL of the proxy."
        kinds = {401: Unauthenticated, 403: Forbidden, 404: NotFound, 409: Conflict, 429: Unavailable}
        kind = kinds.get(self.status, Unavailable if self.status >= 500 else Malformed)
        error = kind(code or "unexpected_answer", said)
        if self.status in STATUSES:
            error.retry_after = parse_retry_after(self.header("Retry-After"), self.header("Date"))
        raise error


class Http:
    """One identity's calls to HTTP servers."""

    def __init__(self, clock: Any, web: IAgent, username: str | None, password: str | None, setting: str = "") -> None:
        """
        @param clock: an L{IReactorTime}.
        @param web: makes the requests; it follows no redirects.
        @param username: C{None} sends no credentials.
        @param setting: the one that holds the address of the servers, for people.
        """
        self._clock = clock
        self._setting = setting
        self._web = web
        self.present(username, password)

    def present(self, username: str | None, password: str | None) -> None:
        """Call by these credentials from now on."""
        self._authorization = None if username is None else basic_authorization(username, password or "")

    def call(
        self,
        who: str,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        authorization: bytes | None = None,
    ) -> Deferred[Response]:
        """
        Make a request and read the answer.

        @param who: the one that is asked, for people: begins a sentence.
        @param body: JSON.
        @param authorization: to be sent in the place of the identity's own.
        @return: fires with the answer whatever its status.
        @raise Unavailable: there was none in time.
        @raise Malformed: it was too long.
        """

        async def exchange(progress: Progress) -> Response:
            response = await self._request(method, url, headers, params, body, authorization)
            progress.restart()
            return await self._read(who, url, response, progress.moved)

        return self._bounded(who, exchange, len(body or b""))

    async def stream(
        self,
        who: str,
        url: str,
        headers: Mapping[str, str],
        params: Mapping[str, str],
        received: Callable[[bytes], object],
        authorization: bytes | None = None,
    ) -> None:
        """
        GET an answer that has no end, and hand its bytes on as they come; cancelling closes it.

        @param authorization: see L{call}.
        @param received: called with each piece, and not again before a Deferred that it returns has fired; an error
            that it raises, or with which the Deferred fails, ends the stream.
        @return: when the other side has ended it.
        @raise ConfdError: there was no such answer in time, or the stream broke off.
        """

        async def begin(progress: Progress) -> IResponse:
            response = await self._request("GET", url, headers, params, authorization=authorization)
            if response.code != 200:
                (await self._read(who, url, response, progress.moved)).raise_unless_success()
                raise Malformed("unexpected_answer", f"{who} answers {response.code} where a stream was asked for.")
            _refuse_encoded(who, response)
            return response

        response = await self._bounded(who, begin)
        body = StreamBody(received)
        response.deliverBody(body)
        try:
            await body.ended
        except ConfdError:
            raise
        except Exception as error:
            raise _told(who, error) from None

    async def _read(self, who: str, url: str, response: IResponse, moved: Callable[[int], None]) -> Response:
        body = await read_body(response, moved)
        if response.code < 300:
            _refuse_encoded(who, response)
        elif _encoding(response):
            # The status says enough.
            body = b""
        return Response(who, response.code, body, response.headers, url, self._setting)

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        params: Mapping[str, str] | None,
        body: bytes | None = None,
        authorization: bytes | None = None,
    ) -> IResponse:
        sent = Headers()
        for name, value in (headers or {}).items():
            sent.addRawHeader(name, value)
        authorization = authorization or self._authorization
        if authorization is not None:
            sent.addRawHeader(b"Authorization", authorization)
        if body is not None:
            sent.addRawHeader("Content-Type", "application/json")
        # What an encoded answer unpacks to could be of any size.
        sent.addRawHeader("Accept-Encoding", "identity")
        authority = urlsplit(url).netloc
        if "%" in authority:
            # A zone means something on this machine only (RFC 6874 section 3).
            sent.addRawHeader("Host", re.sub("%[^]]*", "", authority))
        query = f"?{urlencode(params)}" if params else ""
        response: IResponse = await self._web.request(
            method.encode("ascii"), (url + query).encode("ascii"), sent, None if body is None else RequestBody(body)
        )
        return response

    def _bounded(self, who: str, work: Callable[[Progress], Coroutine[Any, Any, T]], size: int = 0) -> Deferred[T]:
        """
        Give a call its deadline, and its failures a name.

        @param size: bytes of the request's body.
        """
        progress = Progress(self._clock, CALL_TIMEOUT, LEAST_RATE, lambda: calling.cancel())
        progress.restart(size)

        def ended(result: Any) -> Any:
            progress.end()
            return result

        def failed(failure: Failure) -> Failure:
            error = failure.value
            if progress.late:
                sentence = f"{who} does not answer within {CALL_TIMEOUT + size // LEAST_RATE:.0f} seconds."
                return Failure(Unavailable("unreachable", sentence))
            return failure if isinstance(error, ConfdError) else Failure(_told(who, error))

        calling = Deferred.fromCoroutine(work(progress))
        return calling.addBoth(ended).addErrback(failed)


def _encoding(response: IResponse) -> str:
    """Return the content codings of an answer (RFC 9110 section 8.4), empty where there is none."""
    values = b",".join(response.headers.getRawHeaders(b"Content-Encoding", [])).decode("latin-1").split(",")
    codings = [value.strip().lower() for value in values]
    return ", ".join(each for each in codings if each not in ("", "identity"))


def _refuse_encoded(who: str, response: IResponse) -> None:
    """Refuse an encoded answer: what it unpacks to could be of any size."""
    named = _encoding(response)
    if named:
        raise Malformed(
            "encoded_answer",
            f"{who} answers with Content-Encoding: {printable(named, 40)}, which was not asked for;"
            " turn compression off there.",
        )


def _told(who: str, error: BaseException | None) -> Exception:
    """What a caller is told of a request that failed below HTTP."""
    if _cancelled(error):
        return CancelledError()
    return Unavailable("unreachable", f"{who} cannot be reached: {_reason(error)}.")


def _cancelled(error: BaseException | None) -> bool:
    """Whether a request failed because its caller gave it up: Twisted tells it in three ways."""
    reasons = [failure.value for failure in getattr(error, "reasons", ())]
    return any(isinstance(each, (CancelledError, ConnectingCancelledError)) for each in [error, *reasons])


def _reason(error: BaseException | None) -> str:
    """What went wrong, without the envelopes that L{twisted.web.client} puts around it."""
    reasons = getattr(error, "reasons", ())
    if reasons:
        return _reason(reasons[-1].value)
    if isinstance(error, TLSError) and error.args and isinstance(error.args[0], list) and error.args[0]:
        return describe_tls_error(str(error.args[0][-1][-1]))[:_WORDS]
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:_WORDS].rstrip(".")


def refused_credentials(who: str, role: str) -> Unauthenticated:
    """
    Make the error for a 401.

    @param who: the peer that refused, for people.
    @param role: the prefix of the settings to change, such as C{WORKER}.
    """
    settings = f"{role}_USERNAME and {role}_PASSWORD"
    return Unauthenticated("bad_credentials", f"{who} refuses the credentials; set {settings} to what it expects.")
