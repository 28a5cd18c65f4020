"""
Sessions of browsers: a signed cookie in place of the credentials.

The cookie names the credentials and the end of the session, and carries a message authentication code (RFC 2104). Its
key consists of a signing key of the cluster and the digest of the credentials. So every controller of the cluster
accepts the cookie without keeping it, and a new password, a new secret or a revoked token ends the session.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.access.tokens import SECRET
from confd.errors import Forbidden, Unauthenticated
from confd.web.auth.api_tokens import IApiTokens, token_id_of
from confd.web.auth.basic import BasicAuth, IAuthenticator, digest_of
from confd.web.auth.principals import Permission, Principal, allow_somewhere
from confd.web.auth.throttle import source_of
from confd.web.server.request import BoundedRequest

COOKIE = "confd_session"

#: Seconds from the sign-in to the end of a session.
SESSION_SECONDS = 12 * 3600

_PASSWORD, _TOKEN = "p", "t"

_COOKIE = re.compile(rb"(1\.[pt]\.([A-Za-z0-9_=-]{0,400})\.([0-9]{1,12}))\.([A-Za-z0-9_-]{43})")

#: The challenge to a page: a browser asks the person for nothing, since it does not know the scheme.
PAGE_CHALLENGE = 'Session realm="confd"'


@frozen
class _Session:
    """
    What a cookie says.

    @ivar kind: L{_PASSWORD} or L{_TOKEN}.
    @ivar name: of the identity, or the id of the token.
    @ivar expires_at: seconds since 1970, UTC.
    """

    kind: str
    name: str
    expires_at: int

    @classmethod
    def parse(cls, cookie: bytes) -> tuple[_Session, bytes, bytes] | None:
        """Return the session, the signed bytes, and their code; C{None} for a malformed cookie."""
        match = _COOKIE.fullmatch(cookie)
        if match is None:
            return None
        try:
            name = base64.urlsafe_b64decode(match[2]).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        return cls(match[1][2:3].decode(), name, int(match[3])), match[1], match[4]

    def encode(self) -> bytes:
        """Return the bytes to sign."""
        name = base64.urlsafe_b64encode(self.name.encode()).decode()
        return f"1.{self.kind}.{name}.{self.expires_at}".encode()


@implementer(IAuthenticator)
@define(eq=False)
class SessionAuth:
    """
    Authenticates callers by the cookie of a session, and all other callers as L{BasicAuth} does.

    @ivar keys: returns the secret keys of the cluster, the current key first; raises L{Unavailable} during a start.
    @ivar now: the wall clock.
    """

    _basic: BasicAuth
    _api_tokens: IApiTokens
    _keys: Callable[[], Sequence[bytes]]
    _now: Callable[[], datetime]

    def prepare(self, request: BoundedRequest) -> Deferred[None] | None:
        cookie = _cookie_of(request)
        if cookie is None:
            return self._basic.prepare(request)
        found = _Session.parse(cookie)
        if found is None or found[0].kind != _TOKEN:
            return None
        looked_up: Deferred[None] | None = self._api_tokens.prepare(found[0].name)
        return looked_up

    def identify(self, request: BoundedRequest) -> Principal:
        """
        Return the identity of the caller.

        @raise Forbidden: C{cross_site}: a change with a cookie does not say which page sent it.
        """
        cookie = _cookie_of(request)
        if cookie is None:
            return self._basic.identify(request)
        principal = self._resume(cookie, source_of(request.getClientAddress()))
        if principal is None:
            raise Unauthenticated("unauthenticated", "The session has ended; sign in again.")
        if request.method not in (b"GET", b"HEAD"):
            _check_page(request)
        return principal

    def recognizes(self, request: BoundedRequest) -> Callable[[str], bool]:
        cookie = _cookie_of(request)
        if cookie is None:
            return self._basic.recognizes(request)
        principal = self._resume(cookie, source_of(request.getClientAddress()))
        return lambda source: principal is not None and self._resume(cookie, source) == principal

    async def sign_in(self, request: BoundedRequest, username: str, password: str) -> str:
        """
        Begin a session.

        @param username: empty for a token.
        @param password: the password, or the secret of a token.
        @return: the header C{Set-Cookie}.
        @raise Unauthenticated: the credentials are wrong.
        @raise Forbidden: the caller may read nothing that the dashboard shows.
        @raise TooMany: too many wrong credentials came from the same source.
        """
        secret = password.encode()
        if SECRET.fullmatch(secret) and username in ("", token_id_of(secret)):
            looked_up = self._api_tokens.prepare(token_id_of(secret))
            if looked_up is not None:
                await looked_up
            principal = self._api_tokens.identify(secret, source_of(request.getClientAddress()))
            kind, name, digest = _TOKEN, principal.token_id, hashlib.sha256(secret).digest()
        else:
            principal = self._basic.check(username.encode(), secret, request)
            kind, name, digest = _PASSWORD, principal.name, digest_of(username.encode(), secret)
        allow_somewhere(principal, (Permission.CONFIG_READ,))
        now = self._now()
        ends = _earlier(now + timedelta(seconds=SESSION_SECONDS), principal.expires_at)
        text = _Session(kind, name, int(ends.timestamp())).encode()
        cookie = text + b"." + _code(self._keys()[0], digest, text)
        return _header(request, cookie.decode(), int((ends - now).total_seconds()))

    def sign_out(self, request: BoundedRequest) -> str:
        """Return the header C{Set-Cookie} that deletes the cookie of a session."""
        return _header(request, "", 0)

    def _resume(self, cookie: bytes, source: str) -> Principal | None:
        """Return the caller with a session; C{None} if the session has ended."""
        found = _Session.parse(cookie)
        if found is None:
            return None
        session, text, code = found
        ends = datetime.fromtimestamp(min(session.expires_at, 1 << 36), UTC)
        if self._now() >= ends:
            return None
        proves = partial(_proves, self._keys(), text, code)
        if session.kind == _TOKEN:
            principal = self._api_tokens.resume(session.name, proves, source)
        else:
            principal = self._basic.resume(session.name, proves)
        return None if principal is None else evolve(principal, expires_at=_earlier(ends, principal.expires_at))


def asked_by_page(request: BoundedRequest) -> bool:
    """Tell whether a page in a browser sent a request, not the person: the browser must not ask for a password."""
    # Browsers send Sec-Fetch-Dest to https and to localhost only.
    browser = (request.getHeader(b"User-Agent") or b"").startswith(b"Mozilla/")
    return browser and b"text/html" not in (request.getHeader(b"Accept") or b"")


def _cookie_of(request: BoundedRequest) -> bytes | None:
    """Return the cookie of a session; C{None} where a request has other credentials."""
    headers = request.requestHeaders
    if not headers.hasHeader(b"Cookie") or headers.hasHeader(b"Authorization"):
        return None
    cookie: bytes | None = request.getCookie(COOKIE.encode())
    return cookie


def _check_page(request: BoundedRequest) -> None:
    headers = request.requestHeaders
    # The dispatcher compares them with the host. Each browser sends one of them with a change.
    if not (headers.hasHeader(b"Origin") or headers.hasHeader(b"Sec-Fetch-Site")):
        raise Forbidden(
            "cross_site",
            "A change with the cookie of a session needs the header Origin; programs send a token or a password.",
        )


def _code(key: bytes, digest: bytes, text: bytes) -> bytes:
    """Return the code that proves who signed a text."""
    own = hmac.digest(hashlib.sha256(b"confd-session-v1\n" + key).digest(), digest, "sha256")
    return base64.urlsafe_b64encode(hmac.digest(own, text, "sha256")).rstrip(b"=")


def _proves(keys: Sequence[bytes], text: bytes, code: bytes, digest: bytes) -> bool:
    """Tell whether a code is that of a text, for credentials with a digest."""
    return any(hmac.compare_digest(code, _code(key, digest, text)) for key in keys)


def _earlier(one: datetime, other: datetime | None) -> datetime:
    return one if other is None else min(one, other)


def _header(request: BoundedRequest, cookie: str, seconds: int) -> str:
    origin = request.requestHeaders.getRawHeaders(b"Origin") or [b""]
    # Behind a proxy that terminates TLS, only the page knows of it.
    secure = "; Secure" if request.isSecure() or origin[0].lower().startswith(b"https://") else ""
    return f"{COOKIE}={cookie}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
