"""One request to the receiver of a webhook, which may be slow, wrong or hostile."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import NoReturn
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from confd.client.address_policy import AddressPolicy
from confd.client.body import RequestBody, discard
from confd.client.checked_endpoints import CheckedEndpoints
from confd.codec.retry_after import parse_retry_after
from confd.errors import BadGateway, ConfdError, Forbidden
from confd.runtime.certificate_errors import CertificateProblem, is_tls_error
from confd.runtime.reactor import Reactor

#: Seconds for an answer, from the first attempt to connect.
ANSWER_MAX_SECONDS = 15.0

#: Words for errors, the first match counts. The text of an error may quote the URL, which may hold a token.
_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (CancelledError, "does not answer in time"),
    (ConnectTimeout, "does not accept the connection in time"),
    (DNSLookupError, "has a host name that does not resolve"),
    (ConnectError, "does not accept the connection"),
    (ConnectionClosed, "closed the connection"),
    (Forbidden, "leads to a link-local address or the metadata service of a cloud, where webhooks never go"),
)


class WebhookReceiver:
    """
    The receiver of a webhook.

    @ivar who: its host and number: the rest of the URL is a secret.
    """

    def __init__(self, reactor: Reactor, number: int, url: str) -> None:
        """
        @param number: its place in C{WEBHOOK_URLS}, from 1.
        """
        self.number, self._url, self._reactor = number, url, reactor
        self.host = urlsplit(url).hostname or ""
        self.who = f"WEBHOOK_URLS: {self.host} (number {number})"
        # An address is checked at each connection: a name may lead elsewhere each time it is resolved.
        self._agent = Agent.usingEndpointFactory(reactor, CheckedEndpoints(reactor, AddressPolicy()))

    async def send(self, body: bytes, secret: str) -> int:
        """
        Send an event; return the status, which is 2xx. The body of the answer is not read.

        @param secret: C{WEBHOOK_SECRET}.
        @raise ConfdError: without a 2xx answer in time; names host and number only.
        """
        event = json.loads(body)
        headers = Headers(
            {
                "Content-Type": ["application/json"],
                "User-Agent": ["confd"],
                "X-Confd-Event": [event["event"]],
                "X-Confd-Delivery": [event["id"]],
                "X-Confd-Signature": [signature(body, secret)],
            }
        )
        asking: Deferred[IResponse] = self._agent.request(b"POST", self._url.encode(), headers, RequestBody(body))
        try:
            response: IResponse = await asking.addTimeout(ANSWER_MAX_SECONDS, self._reactor, _late)
        except Exception as error:
            raise BadGateway("webhook_failed", f"{self.who} {_words(error)}.") from None
        discard(response)
        if not 200 <= response.code < 300:
            raise self._refusal(response)
        return int(response.code)

    def _refusal(self, response: IResponse) -> ConfdError:
        advice = "; give the final address" if 300 <= response.code < 400 else ""
        error = BadGateway("webhook_failed", f"{self.who} answers {response.code}{advice}.")
        after, date = (response.headers.getRawHeaders(name) or [None] for name in ("Retry-After", "Date"))
        error.retry_after = parse_retry_after(after[0], date[0])
        return error


def signature(body: bytes, secret: str) -> str:
    """Return the value of C{X-Confd-Signature}."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def _late(result: object, seconds: float) -> NoReturn:
    raise CancelledError


def _words(error: BaseException) -> str:
    # L{twisted.web.client} wraps errors.
    reasons = getattr(error, "reasons", ())
    if reasons:
        return _words(reasons[-1].value)
    if isinstance(error, CertificateProblem):
        return f"cannot be trusted: {error}"
    if is_tls_error(error):
        return "does not speak TLS"
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "does not speak valid HTTP")
