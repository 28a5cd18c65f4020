"""Who is calling: HTTP Basic identities, or nobody but this machine."""

from __future__ import annotations

import enum
import hashlib
import hmac
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from attrs import define, field, frozen
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from zope.interface import Interface, implementer

from confd.audit import Attempt
from confd.codec.headers import parse_basic_authorization
from confd.errors import Forbidden, Unauthenticated
from confd.runtime.timing import LogLimiter
from confd.web.auth.allowed_hosts import is_local
from confd.web.auth.throttle import HERE, Throttle, source_of


class Role(enum.Enum):
    """What an identity may do."""

    ANYONE = "anyone"
    AGENT = "agent"
    ADMIN = "admin"


@frozen
class Identity:
    """
    Somebody who proved who they are.

    @ivar agent_id: the one agent that they may speak for; empty where they may for any.
    """

    name: str
    role: Role
    agent_id: str = ""


NOBODY = Identity("", Role.ANYONE)


class IAuthenticator(Interface):
    """Tells who sent a request."""

    def identify(request: IRequest) -> Identity:
        """
        The caller.

        @raise Unauthenticated: no credentials, or wrong ones.
        @raise TooMany: wrong ones, again and again.
        @raise Forbidden: not from where they call.
        @raise Unavailable: who that is, is not known yet.
        """

    def recognizes(request: IRequest) -> Callable[[str], bool]:
        """
        Whether whoever sends the same as this request, which was let in, from a source, is the same caller still.
        """


class IAuditor(Interface):
    """Hears of those who were turned away; what was done is on record with what it did."""

    def now() -> datetime:
        """The wall clock, UTC."""

    def refused(attempt: Attempt, error: Exception) -> None:
        """An attempt failed; what comes of this delays no answer and changes none."""


def digest_of(username: bytes, password: bytes) -> bytes:
    """
    What is kept of credentials, and compared.

    A token may follow a name with colons in it: what counts is the whole, which is what was sent.
    """
    return hashlib.sha256(username + b":" + password).digest()


@frozen
class Credential:
    """One identity and the digest of what it presents."""

    identity: Identity
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, username: str, password: str, role: Role) -> Credential:
        """Make one of a name and a password."""
        return cls(Identity(username, role), digest_of(username.encode(), password.encode()))


def _no_tokens(digest: bytes) -> str | None:
    return None


@implementer(IAuthenticator)
@define(eq=False)
class BasicAuth:
    """
    Knows its callers by name and password, agents also by their id and the token that they were given (RFC 7617).

    @ivar throttle: slows those who are wrong again and again; C{None} slows nobody.
    @ivar tokens: the agent whose token has a digest, C{None} if it is nobody's; may raise L{Unavailable}.
    """

    _credentials: Sequence[Credential]
    _throttle: Throttle | None = None
    _tokens: Callable[[bytes], str | None] = _no_tokens
    _replaced: Sequence[Credential] = field(default=(), init=False)
    _replaced_at: float = field(default=0.0, init=False)

    def renew(self, credentials: Sequence[Credential], now: float = 0.0) -> set[str]:
        """
        Know these from now on, and no others.

        @param now: seconds of the reactor's clock; a change whose head came before may present what was good then.
        @return: the names of those that are good no longer as they were.
        """
        before = self._credentials
        lost = {each.identity.name for each in before if each not in credentials}
        if lost:
            self._replaced, self._replaced_at = before, now
        self._credentials = credentials
        return lost

    def identify(self, request: IRequest) -> Identity:
        """See L{IAuthenticator.identify}."""
        headers = request.requestHeaders.getRawHeaders(b"Authorization") or []
        # Two of them are none: another reader may believe the other one.
        presented = parse_basic_authorization(headers[0]) if len(headers) == 1 else None
        if presented is None:
            raise Unauthenticated("unauthenticated", "Send a user name and a password with HTTP Basic authentication.")
        found = self._find(digest_of(*presented)) or self._find_replaced(digest_of(*presented), request)
        if self._throttle is not None:
            source = source_of(request.getClientAddress())
            # Only passwords can be guessed. A fleet whose tokens are void, after a restore, is to join anew at once.
            if found is not None and not found.agent_id:
                self._throttle.succeed(source, found.name)
            elif found is None and any(presented[0] == each.identity.name.encode() for each in self._credentials):
                self._throttle.fail(source)
        if found is None:
            raise Unauthenticated("wrong_credentials", "The user name or the password is wrong.")
        return found

    def recognizes(self, request: IRequest) -> Callable[[str], bool]:
        """See L{IAuthenticator.recognizes}: a password or a token is looked at again each time."""
        presented = parse_basic_authorization(request.requestHeaders.getRawHeaders(b"Authorization")[0])
        assert presented is not None
        digest = digest_of(*presented)
        # Nobody, where the password was replaced meanwhile.
        identity = self._find(digest) or NOBODY
        return partial(self._still, digest, identity)

    def _still(self, digest: bytes, identity: Identity, source: str) -> bool:
        throttle = None if identity.agent_id else self._throttle
        known = throttle is None or throttle.knows(source, identity.name)
        return known and self._find(digest) == identity

    def _find_replaced(self, digest: bytes, request: IRequest) -> Identity | None:
        """Whoever sent the head of a change before its password was replaced: it must not fail half-way."""
        in_flight = getattr(request, "began", math.inf) < self._replaced_at and request.method not in (b"GET", b"HEAD")
        return _compare(digest, self._replaced) if in_flight else None

    def _find(self, digest: bytes) -> Identity | None:
        found = _compare(digest, self._credentials)
        if found is None:
            agent_id = self._tokens(digest)
            if agent_id is not None:
                found = Identity(f"agent {agent_id}", Role.AGENT, agent_id)
        return found


def _compare(digest: bytes, credentials: Sequence[Credential]) -> Identity | None:
    """Compare with each password, so that the time taken tells nothing; no time tells the digest of a token."""
    found = None
    for credential in credentials:
        if hmac.compare_digest(digest, credential.digest):
            found = credential.identity
    return found


@implementer(IAuthenticator)
@define(eq=False)
class LoopbackAuth:
    """
    Takes every process on this machine for C{identity}, and nobody else.

    Not the pages in a browser on it either: one may have been loaded from a name that was made to lead here since.

    @ivar seldom: how often the log tells of each peer whose configuration is refused; C{None} for never.
    """

    log = Logger()

    _identity: Identity
    _seldom: LogLimiter | None = None

    def identify(self, request: IRequest) -> Identity:
        """
        Look at the peer's address, and at the name by which it calls us.

        @raise Forbidden: a peer on another machine, or another name.
        """
        peer = request.getClientAddress()
        if peer is None or source_of(peer) != HERE:
            self._tell(request, source_of(peer))
            raise Forbidden(
                "loopback_only",
                "Without credentials this is taken from this machine only; set WORKER_USERNAME and WORKER_PASSWORD.",
            )
        hosts = request.requestHeaders.getRawHeaders(b"Host") or ()
        if hasattr(peer, "host") and not all(map(is_local, hosts)):
            raise Forbidden(
                "not_a_local_name",
                "Without credentials this is taken from who calls this machine localhost, or by an address of loopback;"
                " set WORKER_USERNAME and WORKER_PASSWORD.",
            )
        return self._identity

    def recognizes(self, request: IRequest) -> Callable[[str], bool]:
        """See L{IAuthenticator.recognizes}: the name by which they call us is in what they send."""
        return lambda source: source == HERE

    def _tell(self, request: IRequest, source: str) -> None:
        """Whoever runs an agent of the Go system sees no more of it than a status."""
        if self._seldom is not None and request.method == b"POST" and self._seldom.due(source):
            self.log.warn(
                "a configuration from {peer} was refused with 403: without credentials it is taken from this machine"
                " only. Set WORKER_USERNAME and WORKER_PASSWORD here, and at that agent"
                " WORKER_URL=http://name:password@host:8082.",
                peer=source,
            )


def allow(identity: Identity, role: Role, reads: bool) -> None:
    """
    Let an identity pass that has the role; an admin may also read what an agent may read.

    @raise Forbidden: if it may not.
    """
    if identity.role is role or (reads and role is Role.AGENT and identity.role is Role.ADMIN):
        return
    raise Forbidden(
        "forbidden", f"This takes the {role.value} identity; {identity.name!r} is the {identity.role.value} one."
    )
