"""Who is calling: HTTP Basic identities, or nobody but this machine."""

from __future__ import annotations

import enum
import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from datetime import datetime

from attrs import define, field, frozen
from twisted.internet.address import UNIXAddress
from twisted.web.iweb import IRequest
from zope.interface import Interface, implementer

from confd.audit import Attempt
from confd.model import Forbidden, Unauthenticated
from confd.wire import parse_basic_authorization


class Role(enum.Enum):
    """What an identity may do."""

    ANYONE = "anyone"
    AGENT = "agent"
    ADMIN = "admin"


@frozen
class Identity:
    """Somebody who proved who they are."""

    name: str
    role: Role


NOBODY = Identity("", Role.ANYONE)


class IGuard(Interface):
    """Tells who sent a request."""

    def identify(request: IRequest) -> Identity:
        """
        The caller.

        @raise Unauthenticated: no credentials, or wrong ones.
        @raise Forbidden: not from where they call.
        """


class IAuditor(Interface):
    """Hears of those who were turned away; what was done is on record with what it did."""

    def now() -> datetime:
        """The wall clock, UTC."""

    def refused(attempt: Attempt, error: Exception) -> None:
        """An attempt failed; what comes of this delays no answer and changes none."""


def _digest(username: bytes, password: bytes) -> bytes:
    return hashlib.sha256(username + b":" + password).digest()


@frozen
class Credential:
    """One identity and the digest of what it presents."""

    identity: Identity
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, username: str, password: str, role: Role) -> Credential:
        """Make one of a name and a password."""
        return cls(Identity(username, role), _digest(username.encode(), password.encode()))


@implementer(IGuard)
@define(eq=False)
class BasicGuard:
    """Knows its callers by name and password (RFC 7617)."""

    _credentials: Sequence[Credential]

    def identify(self, request: IRequest) -> Identity:
        """
        Compare digests, each of them, so that the time taken tells nothing.

        @raise Unauthenticated: no credentials, or wrong ones.
        """
        headers = request.requestHeaders.getRawHeaders(b"Authorization") or []
        # Two of them are none: another reader may believe the other one.
        presented = parse_basic_authorization(headers[0]) if len(headers) == 1 else None
        if presented is None:
            raise Unauthenticated("unauthenticated", "Send a user name and a password with HTTP Basic authentication.")
        digest = _digest(*presented)
        found = None
        for credential in self._credentials:
            if hmac.compare_digest(digest, credential.digest):
                found = credential.identity
        if found is None:
            raise Unauthenticated("wrong_credentials", "The user name or the password is wrong.")
        return found


@implementer(IGuard)
@define(eq=False)
class LoopbackGuard:
    """Takes every process on this machine for C{identity}, and nobody else."""

    _identity: Identity

    def identify(self, request: IRequest) -> Identity:
        """
        Look at the peer's address.

        @raise Forbidden: a peer on another machine.
        """
        peer = request.getClientAddress()
        if isinstance(peer, UNIXAddress) or _is_loopback(getattr(peer, "host", None)):
            return self._identity
        raise Forbidden(
            "loopback_only",
            "Without credentials this is taken from this machine only; set WORKER_USERNAME and WORKER_PASSWORD.",
        )


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    address = ipaddress.ip_address(host.partition("%")[0])
    # As an IPv6 socket that also takes IPv4 names its peers.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


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
