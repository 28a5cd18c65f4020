"""Authentication: HTTP Basic credentials, or every program on this machine."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache, partial

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Interface, implementer

from confd.audit import Attempt
from confd.codec.headers import parse_basic_authorization
from confd.errors import Forbidden, Unauthenticated, Unavailable
from confd.runtime.timing import LogLimiter
from confd.web.auth.allowed_hosts import is_local
from confd.web.auth.api_tokens import IApiTokens, secret_of, token_id_of
from confd.web.auth.principals import EVERYWHERE, NOBODY, Grant, Principal, Role
from confd.web.auth.throttle import HERE, Throttle, source_of
from confd.web.server.request import BoundedRequest


class IAuthenticator(Interface):
    """Authenticates requests."""

    def prepare(request: BoundedRequest) -> Deferred[None] | None:
        """
        Look up what L{identify} needs for a request and memory does not hold.

        @return: fires once it is known, or fails with L{Unavailable}; C{None} if nothing has to be looked up.
        """

    def identify(request: BoundedRequest) -> Principal:
        """
        Return the identity of the caller.

        @raise Unauthenticated: the credentials are missing or wrong.
        @raise TooMany: too many wrong credentials came from the same source.
        @raise Forbidden: the caller may not call from this source.
        @raise Unavailable: the tokens of agents are not loaded yet.
        """

    def recognizes(request: BoundedRequest) -> Callable[[str], bool]:
        """
        Return a predicate: whether these credentials, sent from C{source}, still authenticate the same identity.

        @param request: L{identify} has returned its identity.
        """


class IAuditor(Interface):
    """Records refused changes. The store records each change that was made, in the same transaction."""

    def now() -> datetime:
        """Return the time of the wall clock, in UTC."""

    def refused(attempt: Attempt, error: Exception) -> None:
        """Record a failed attempt, without a delay or a change of the response."""


def digest_of(username: bytes, password: bytes) -> bytes:
    """
    Return the digest of credentials, which is kept and compared in their place.

    The id of an agent may hold colons, so the whole text counts, as it was sent.
    """
    return hashlib.sha256(username + b":" + password).digest()


#: Headers C{Authorization} whose credentials are kept: those of the requests that are under way, and then some.
MAX_HEADERS_KEPT = 512

#: The secret of an API token, or a user name with the digest of it and a password.
_Presented = tuple[bytes | None, tuple[bytes, str, bytes] | None]


@frozen
class Credential:
    """A principal and the digest of its credentials."""

    principal: Principal
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, username: str, password: str, role: Role, namespaces: tuple[str, ...] = (EVERYWHERE,)) -> Credential:
        """
        Return the credential of a name and a password.

        @param namespaces: see L{Principal.shared}.
        """
        return cls(Principal.shared(username, role, namespaces), digest_of(username.encode(), password.encode()))


def _no_tokens(agent_id: str, digest: bytes) -> tuple[str, str] | None:
    return None


def _no_look(agent_id: str, digest: bytes) -> None:
    return None


@implementer(IAuthenticator)
@define(eq=False)
class BasicAuth:
    """
    Authenticates callers by name and password, and agents also by their id and token (RFC 7617).

    @ivar throttle: limits wrong credentials; C{None} for no limit.
    @ivar tokens: called with the id and the digest of credentials; returns the id and the namespace of the agent with
        that id and token, or C{None}; may raise L{Unavailable}.
    @ivar api_tokens: authenticates callers by API tokens; C{None} where no such tokens exist.
    @ivar look: called with the id and the digest of credentials that no caller has; brings into memory what the store
        knows of them. It returns C{None} where memory holds everything.
    """

    _credentials: Sequence[Credential]
    _throttle: Throttle | None = None
    _tokens: Callable[[str, bytes], tuple[str, str] | None] = _no_tokens
    _api_tokens: IApiTokens | None = None
    _look: Callable[[str, bytes], Deferred[None] | None] = _no_look
    _replaced: Sequence[Credential] = field(default=(), init=False)
    _replaced_at: float = field(default=0.0, init=False)

    def renew(self, credentials: Sequence[Credential], now: float = 0.0) -> set[str]:
        """
        Replace all credentials.

        @param now: seconds of the reactor's clock. A change whose headers arrived before may use the old credentials.
        @return: the names whose old credentials are not valid now.
        """
        before = self._credentials
        lost = {each.principal.who for each in before if each not in credentials}
        if lost:
            self._replaced, self._replaced_at = before, now
        self._credentials = credentials
        return lost

    def prepare(self, request: BoundedRequest) -> Deferred[None] | None:
        secret, presented = self._presented_by(request)
        if secret is not None and self._api_tokens is not None:
            looked_up: Deferred[None] | None = self._api_tokens.prepare(token_id_of(secret))
            return looked_up
        if presented is None:
            return None
        _, agent_id, digest = presented
        try:
            if self._find(agent_id, digest) is not None:
                return None
        except Unavailable:
            # The look may find the agent.
            pass
        # Unknown credentials share what the look may read, so that they cannot flood the store.
        return self._look(agent_id, digest)

    def identify(self, request: BoundedRequest) -> Principal:
        secret, presented = self._presented_by(request)
        if secret is not None and self._api_tokens is not None:
            principal: Principal = self._api_tokens.identify(secret, source_of(request.getClientAddress()))
            return principal
        if presented is None:
            raise Unauthenticated("unauthenticated", "Send a user name and a password with HTTP Basic authentication.")
        return self._check(*presented, request)

    def check(self, username: bytes, password: bytes, request: BoundedRequest) -> Principal:
        """
        Return the identity with a user name and a password; an agent may use its id and its token.

        @raise Unauthenticated: C{wrong_credentials}.
        @raise TooMany: too many wrong credentials came from the source of the request.
        """
        return self._check(username, _agent_id(username, password), digest_of(username, password), request)

    def _check(self, username: bytes, agent_id: str, digest: bytes, request: BoundedRequest) -> Principal:
        found = self._find(agent_id, digest) or self._find_replaced(digest, request)
        if self._throttle is not None:
            source = source_of(request.getClientAddress())
            # Only passwords can be guessed. After a restore, a fleet whose tokens are void registers again at once.
            if found is not None and not found.agent_id:
                self._throttle.succeed(source, found.who)
            elif found is None and any(username == each.principal.who.encode() for each in self._credentials):
                self._throttle.fail(source)
        if found is None:
            raise Unauthenticated("wrong_credentials", "The user name or the password is wrong.")
        return found

    def resume(self, name: str, proves: Callable[[bytes], bool]) -> Principal | None:
        """
        Return the identity with a name; C{None} if its password is another one now.

        @param proves: tells whether the caller signed in with the credentials that have a digest.
        """
        found = (each for each in self._credentials if each.principal.name == name and proves(each.digest))
        return next((each.principal for each in found), None)

    def recognizes(self, request: BoundedRequest) -> Callable[[str], bool]:
        secret, presented = self._presented_by(request)
        if secret is not None and self._api_tokens is not None:
            recognized: Callable[[str], bool] = self._api_tokens.recognizes(secret)
            return recognized
        assert presented is not None
        _, agent_id, digest = presented
        # The password may have been replaced meanwhile.
        principal = self._find(agent_id, digest) or NOBODY
        return partial(self._still, agent_id, digest, principal)

    def _presented_by(self, request: BoundedRequest) -> _Presented:
        """Return the credentials of a request."""
        headers = request.requestHeaders.getRawHeaders(b"Authorization") or ()
        if len(headers) != 1:
            # Two headers count as none: another reader may believe the other one.
            return None, None
        return _parse(headers[0], self._api_tokens is not None)

    def _still(self, agent_id: str, digest: bytes, principal: Principal, source: str) -> bool:
        throttle = None if principal.agent_id else self._throttle
        known = throttle is None or throttle.knows(source, principal.who)
        try:
            found = self._find(agent_id, digest) if known else None
        except Unavailable:
            # The next look says why.
            return False
        return found is principal or found == principal

    def _find_replaced(self, digest: bytes, request: BoundedRequest) -> Principal | None:
        """Find the sender of a change that began before the password was replaced: it must not fail half-way."""
        in_flight = request.head_arrived < self._replaced_at and request.method not in (b"GET", b"HEAD")
        return _compare(digest, self._replaced) if in_flight else None

    def _find(self, agent_id: str, digest: bytes) -> Principal | None:
        found = _compare(digest, self._credentials)
        if found is None:
            holder = self._tokens(agent_id, digest)
            if holder is not None:
                found = _agent(*holder)
        return found


@lru_cache(maxsize=MAX_HEADERS_KEPT)
def _parse(header: bytes, tokens: bool) -> _Presented:
    """
    Return the credentials in a header. Each request asks twice or more, and the next request asks for the same.

    @param tokens: whether API tokens exist.
    """
    secret = secret_of(header) if tokens else None
    presented = parse_basic_authorization(header) if secret is None else None
    return secret, None if presented is None else (presented[0], _agent_id(*presented), digest_of(*presented))


def _agent_id(username: bytes, password: bytes) -> str:
    """Return the id of the agent that may have sent credentials: ids may have colons, and tokens have none."""
    return (username + b":" + password).rpartition(b":")[0].decode(errors="replace")


@lru_cache(maxsize=65_536)
def _agent(agent_id: str, namespace: str) -> Principal:
    """Return the agent that a token of its own authenticates, in the namespace of the agent only."""
    name = f"agent {agent_id}"
    return Principal(name, name, "agent", (Grant(Role.AGENT, (namespace,)),), agent_id)


def _compare(digest: bytes, credentials: Sequence[Credential]) -> Principal | None:
    """Compare a digest with each one, so that the time taken tells nothing."""
    found = None
    for credential in credentials:
        if hmac.compare_digest(digest, credential.digest):
            found = credential.principal
    return found


@implementer(IAuthenticator)
@define(eq=False)
class LoopbackAuth:
    """
    Authenticates every program on this machine as C{identity}, and refuses all other callers.

    Web pages in a browser on this machine are refused too: a page may have made its own name resolve to this machine.

    @ivar log_limiter: limits the log lines about each peer whose configuration is refused; C{None} for no lines.
    """

    log = Logger()

    _identity: Principal
    _log_limiter: LogLimiter | None = None

    def prepare(self, request: BoundedRequest) -> None: ...

    def identify(self, request: BoundedRequest) -> Principal:
        """
        Check the address of the peer, and the name by which it addresses this machine.

        @raise Forbidden: the peer is on another machine, or uses another name.
        """
        peer = request.getClientAddress()
        if peer is None or source_of(peer) != HERE:
            self._log_refusal(request, source_of(peer))
            raise Forbidden(
                "loopback_only",
                "Without credentials only this machine may send this; set WORKER_USERNAME and WORKER_PASSWORD.",
            )
        hosts = request.requestHeaders.getRawHeaders(b"Host") or ()
        if hasattr(peer, "host") and not all(map(is_local, hosts)):
            raise Forbidden(
                "not_a_local_name",
                "Without credentials the Host header must be localhost or an address of loopback; set WORKER_USERNAME"
                " and WORKER_PASSWORD.",
            )
        return self._identity

    def recognizes(self, request: BoundedRequest) -> Callable[[str], bool]:
        # The name by which the peer addresses this machine is among the bytes that it sends again.
        return lambda source: source == HERE

    def _log_refusal(self, request: BoundedRequest, source: str) -> None:
        # An agent of the Go system logs no more of a refusal than its status.
        if self._log_limiter is not None and request.method == b"POST" and self._log_limiter.due(source):
            self.log.warn(
                "refused a configuration from {peer} with 403: without credentials only this machine may send one."
                " Set WORKER_USERNAME and WORKER_PASSWORD here, and at that agent"
                " WORKER_URL=http://name:password@host:8082.",
                peer=source,
            )
