"""Authentication of programs that read from an agent: a bearer token, or a place on this machine."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from attrs import define, field
from zope.interface import implementer

from confd.errors import Forbidden, TokenRequired
from confd.web.auth.allowed_hosts import is_local
from confd.web.auth.basic import IAuthenticator
from confd.web.auth.principals import Principal
from confd.web.auth.throttle import Throttle, source_of
from confd.web.server.request import BoundedRequest


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


@implementer(IAuthenticator)
@define(eq=False)
class BearerAuth:
    """
    Authenticates each caller that presents the token (RFC 6750).

    @ivar throttle: limits wrong tokens.
    """

    _principal: Principal
    _throttle: Throttle
    _token_digest: bytes = field(repr=False)

    @classmethod
    def of(cls, principal: Principal, token: str, throttle: Throttle) -> BearerAuth:
        """Return an authenticator that accepts C{token}."""
        return cls(principal, throttle, _digest(token.encode()))

    def renew(self, token: str) -> None:
        """Replace the token."""
        self._token_digest = _digest(token.encode())

    def prepare(self, request: BoundedRequest) -> None: ...

    def identify(self, request: BoundedRequest) -> Principal:
        presented, source = _presented(request), source_of(request.getClientAddress())
        if presented is None:
            raise TokenRequired("unauthenticated", "Send the token of the agent: Authorization: Bearer TOKEN.")
        if not hmac.compare_digest(presented, self._token_digest):
            self._throttle.fail(source)
            raise TokenRequired("wrong_token", "The bearer token is wrong; send the AGENT_API_TOKEN of the agent.")
        self._throttle.succeed(source, self._principal.who)
        return self._principal

    def recognizes(self, request: BoundedRequest) -> Callable[[str], bool]:
        presented = _presented(request)
        return lambda source: presented == self._token_digest and self._throttle.knows(source, self._principal.who)


def _presented(request: BoundedRequest) -> bytes | None:
    """Return the digest of the token that a request presents; two headers count as none."""
    headers = request.requestHeaders.getRawHeaders(b"Authorization") or []
    scheme, _, token = headers[0].strip().partition(b" ") if len(headers) == 1 else (b"", b"", b"")
    return _digest(token.strip()) if scheme.lower() == b"bearer" else None


@implementer(IAuthenticator)
@define(eq=False)
class LocalAuth:
    """
    Authenticates every program on this machine, and refuses web pages.

    The endpoint must be unreachable from other machines. A web page reaches it through the browser of this machine: its
    requests carry an C{Origin}, or a C{Host} that the page made resolve to this machine.
    """

    _principal: Principal

    def prepare(self, request: BoundedRequest) -> None: ...

    def identify(self, request: BoundedRequest) -> Principal:
        """
        Check that no web page sends the request.

        @raise Forbidden: C{not_local}.
        """
        hosts = request.requestHeaders.getRawHeaders(b"Host") or ()
        if request.requestHeaders.hasHeader(b"Origin"):
            raise Forbidden("not_local", "Without AGENT_API_TOKEN the agent answers no web page.")
        # No web page reaches a unix socket, and its clients name any host.
        if hasattr(request.getClientAddress(), "host") and not all(map(is_local, hosts)):
            raise Forbidden(
                "not_local",
                "Without AGENT_API_TOKEN the Host header must be localhost or an address of loopback.",
            )
        return self._principal

    def recognizes(self, request: BoundedRequest) -> Callable[[str], bool]:
        return lambda source: True
