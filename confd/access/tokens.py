"""API tokens: named secrets, each with grants, that people and programs send in place of a password."""

from __future__ import annotations

import re
from datetime import datetime

from attrs import field, frozen

from confd.errors import Conflict, NotFound

#: A secret, as secret scanners find it: C{confd_}, the id of the token, and 32 random bytes in base64url.
SECRET = re.compile(rb"confd_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")


@frozen
class Token:
    """
    A token as the store keeps it: without its secret.

    @ivar id: eight lower-case hex digits; part of the secret.
    @ivar name: unique among the tokens that are not revoked.
    @ivar subject: the person or team that answers for the token.
    @ivar digest: SHA-256 of the secret. A secret of 256 random bits needs no slow hash.
    @ivar grants: JSON: C{[{"role": "publisher", "namespaces": ["billing"]}]}.
    @ivar created_by: who created the token, as the audit log names the caller.
    @ivar previous_digest: of the secret before the last rotation; valid until C{previous_until}.
    @ivar last_used_from: the address of the client; written behind, as C{last_used_at}.
    """

    id: str
    name: str
    subject: str
    digest: bytes = field(repr=False)
    grants: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    previous_digest: bytes | None = field(default=None, repr=False)
    previous_until: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str | None = None


def unknown_token(token_id: str) -> NotFound:
    """Return the error for an id that no token has."""
    return NotFound("unknown_token", f"No token has the id {token_id[:32]!r}; list the tokens.")


def token_exists(name: str) -> Conflict:
    """Return the error for a name that a token has."""
    return Conflict("token_exists", f"A token named {name} exists; revoke it first, or choose another name.")
