"""
Make HTTP requests to peers that may be slow, wrong or hostile.

Every call has a deadline, which received bytes extend, and every body a limit. Redirects are not followed. Every
failure is a L{confd.errors.ConfdError}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import TypedDict, TypeVar
from urllib.parse import urlencode, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from confd.client.body import RequestBody, StreamBody, read_body
from confd.client.failures import connection_error
from confd.client.response import Response
from confd.codec.headers import basic_authorization
from confd.codec.text import printable
from confd.errors import ConfdError, Malformed, Unavailable
from confd.runtime.timing import Progress

T = TypeVar("T")

#: Seconds without a byte, before a response and within it, after which a call fails.
SILENCE_MAX_SECONDS = 10.0

#: Lowest rate of a request and of the body of its response, after L{SILENCE_MAX_SECONDS}.
MIN_BYTES_PER_SECOND = 8192

#: Characters of a C{Content-Encoding} that an error repeats.
_MAX_ENCODING_CHARS = 40


class RequestOptions(TypedDict, total=False):
    """Optional arguments of L{Http.call}, for clients that pass them on."""

    headers: Mapping[str, str]
    params: Mapping[str, str]
    body: bytes


class Http:
    """Make requests with one identity."""

    def __init__(
        self, clock: IReactorTime, web: IAgent, username: str | None, password: str | None, setting: str = ""
    ) -> None:
        """
        @param web: makes the requests; follows no redirects.
        @param username: C{None} sends no credentials.
        @param setting: name of the setting that holds the address of the servers, for errors.
        """
        self._clock = clock
        self._setting = setting
        self._web = web
        self.present(username, password)

    def present(self, username: str | None, password: str | None) -> None:
        """Use these credentials from now on."""
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
        Make a request and read the response.

        @param who: the peer, at the beginning of a sentence.
        @param body: JSON.
        @param authorization: C{Authorization} header to send instead of the identity's own.
        @return: fires with the response, whatever its status.
        @raise Unavailable: if no response came in time.
        @raise Malformed: if the response is too long, or compressed.
        """

        async def exchange(progress: Progress) -> Response:
            response = await self._request(method, url, headers, params, body, authorization)
            progress.restart()
            return await self._read(who, url, response, progress.moved)

        return Deferred.fromCoroutine(self._bounded(who, exchange, len(body or b"")))

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
        Request an endless response with GET, and pass its bytes on until the peer or a cancellation ends it.

        @param received: called with each piece, and not again before the Deferred that it may return has fired; an
            error ends the stream.
        @param authorization: see L{call}.
        @raise ConfdError: if no stream began in time, or the stream was interrupted.
        """

        async def begin(progress: Progress) -> IResponse:
            response = await self._request("GET", url, headers, params, authorization=authorization)
            if response.code != 200:
                (await self._read(who, url, response, progress.moved)).raise_unless_success()
                raise Malformed("unexpected_answer", f"{who} answers {response.code} to a request for a stream.")
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
            raise connection_error(who, error) from None

    async def _read(self, who: str, url: str, response: IResponse, moved: Callable[[int], None]) -> Response:
        body = await read_body(response, moved)
        if response.code < 300:
            _refuse_encoded(who, response)
        elif _encoding(response):
            # The status is enough.
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
        # A compressed body could expand to any size.
        sent.addRawHeader("Accept-Encoding", "identity")
        authority = urlsplit(url).netloc
        if "%" in authority:
            # A zone has a meaning on this machine only (RFC 6874 section 3).
            sent.addRawHeader("Host", re.sub("%[^]]*", "", authority))
        query = f"?{urlencode(params)}" if params else ""
        producer = None if body is None else RequestBody(body)
        return await self._web.request(method.encode("ascii"), (url + query).encode("ascii"), sent, producer)

    async def _bounded(
        self, who: str, work: Callable[[Progress], Coroutine[Deferred[object], object, T]], size: int = 0
    ) -> T:
        """
        Give a call its deadline, and convert its failures.

        @param size: bytes of the body of the request.
        """
        calling: Deferred[T]
        progress = Progress(self._clock, SILENCE_MAX_SECONDS, MIN_BYTES_PER_SECOND, lambda: calling.cancel())
        progress.restart(size)
        calling = Deferred.fromCoroutine(work(progress))
        try:
            return await calling
        except Exception as error:
            if progress.late:
                seconds = SILENCE_MAX_SECONDS + size // MIN_BYTES_PER_SECOND
                sentence = f"{who} does not answer within {seconds:.0f} seconds."
                raise Unavailable("unreachable", sentence) from None
            if isinstance(error, ConfdError):
                raise
            raise connection_error(who, error) from None
        finally:
            progress.end()


def _encoding(response: IResponse) -> str:
    """Return the content codings of a response (RFC 9110 section 8.4), C{""} without any."""
    values = b",".join(response.headers.getRawHeaders(b"Content-Encoding", [])).decode("latin-1").split(",")
    codings = [value.strip().lower() for value in values]
    return ", ".join(each for each in codings if each not in ("", "identity"))


def _refuse_encoded(who: str, response: IResponse) -> None:
    """Raise an error for a compressed response, which could expand to any size."""
    encoding = _encoding(response)
    if encoding:
        shown = printable(encoding, _MAX_ENCODING_CHARS)
        raise Malformed(
            "encoded_answer",
            f"{who} answers with Content-Encoding: {shown}, which confd did not ask for; disable compression there.",
        )
