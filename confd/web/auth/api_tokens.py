"""The contract of API tokens with the guard of a site."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import Interface

from confd.access.tokens import SECRET
from confd.web.auth.principals import Principal


class IApiTokens(Interface):
    """Authenticates callers by API tokens."""

    def prepare(token_id: str) -> Deferred[None] | None:
        """Look up a token that memory does not hold: see L{confd.web.auth.basic.IAuthenticator.prepare}."""

    def identify(secret: bytes, source: str) -> Principal:
        """
        Return the caller that sends a secret.

        @param secret: matches L{SECRET}.
        @param source: as L{confd.web.auth.throttle.source_of} returns it.
        @raise Unauthenticated: C{wrong_credentials} for an unknown, wrong or revoked secret, C{token_expired}.
        @raise TooMany: C{too_many_failures}.
        @raise Unavailable: C{starting}: the tokens are not loaded yet; C{controller_stale}: they are too old.
        """

    def resume(token_id: str, proves: Callable[[bytes], bool], source: str) -> Principal | None:
        """
        Return the caller that signed in with a token; C{None} if the token is not valid now.

        @param proves: tells whether the caller signed in with the secret that has a digest.
        @raise Unavailable: as L{identify}.
        """

    def recognizes(secret: bytes) -> Callable[[str], bool]:
        """Return a predicate: whether L{identify} would return the same caller for a source as it does now."""


def secret_of(header: bytes) -> bytes | None:
    """
    Return the secret in an C{Authorization} header; C{None} if the header holds other credentials.

    The secret is a bearer token, or a Basic password whose user name is the id of the token.
    """
    scheme, _, rest = header.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        secret = rest.strip()
        return secret if SECRET.fullmatch(secret) else None
    # All have one length: this saves decoding other passwords, and the tokens of agents, twice.
    if scheme.lower() != b"basic" or len(rest.strip()) != _LENGTH:
        return None
    try:
        username, _, secret = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    found = SECRET.fullmatch(secret)
    return secret if found is not None and found[1] == username else None


def token_id_of(secret: bytes) -> str:
    """
    Return the id of a token.

    @param secret: matches L{SECRET}.
    """
    return secret[6:14].decode()


#: Characters of Basic credentials with the id and the secret of a token.
_LENGTH = len(base64.b64encode(b"7f3a9c21:confd_7f3a9c21_" + b"x" * 43))
