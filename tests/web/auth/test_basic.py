"""Tests of L{confd.web.auth.basic}."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from confd.errors import Forbidden, Unauthenticated
from confd.web.auth.basic import BasicAuth, Credential, LoopbackAuth, digest_of
from confd.web.auth.principals import Grant, Principal, Role

PEOPLE = {"agent": "secret123", "admin": "admin:pässword", "Ünal": "", "": "nameless"}


class Caller:
    """The part of a request that authenticators read."""

    head_arrived = 0.0

    def __init__(self, *authorization: bytes, peer: IAddress | None = None, host: str = "localhost:8082") -> None:
        self.requestHeaders = Headers({b"Authorization": list(authorization)} if authorization else {})
        self.requestHeaders.addRawHeader("Host", host)
        self._peer = peer

    def getClientAddress(self) -> IAddress | None:
        return self._peer


class BasicAuthTests(SynchronousTestCase):
    """L{BasicAuth}, with names and passwords."""

    guard = BasicAuth([Credential.of(name, password, Role.AGENT) for name, password in PEOPLE.items()])

    def test_any_password_is_accepted_in_any_spelling_of_the_scheme(self) -> None:
        for name, password in PEOPLE.items():
            encoded = base64.b64encode(f"{name}:{password}".encode())
            for scheme in (b"Basic ", b"basic ", b"BASIC ", b"bAsIc   "):
                identity = self.guard.identify(Caller(scheme + encoded))
                self.assertEqual(identity, Principal.shared(name, Role.AGENT))

    def test_invalid_header_counts_as_no_credentials(self) -> None:
        for header in (b"", b"Basic", b"Basic ", b"Basic !", b"Basic YQ", b"Basic YQ==", b"Bearer YTpi", b"YTpi"):
            error = self.assertRaises(Unauthenticated, self.guard.identify, Caller(header))
            self.assertEqual(error.code, "unauthenticated", header)
        self.assertRaises(Unauthenticated, self.guard.identify, Caller())

    def test_two_headers_count_as_no_credentials(self) -> None:
        right = b"Basic " + base64.b64encode(b"agent:secret123")
        self.assertRaises(Unauthenticated, self.guard.identify, Caller(right, right))

    @given(st.binary(max_size=40), st.binary(max_size=40))
    def test_all_other_credentials_are_wrong(self, name: bytes, password: bytes) -> None:
        known = {f"{name}:{password}".encode() for name, password in PEOPLE.items()}
        caller = Caller(b"Basic " + base64.b64encode(name + b":" + password))
        if name + b":" + password not in known:
            self.assertRaises(Unauthenticated, self.guard.identify, caller)

    def test_repr_of_a_credential_hides_the_password(self) -> None:
        shown = repr(Credential.of("agent", "secret123", Role.AGENT))
        self.assertNotIn("secret123", shown)
        self.assertNotIn("digest", shown)


class LoopbackAuthTests(SynchronousTestCase):
    """L{LoopbackAuth}."""

    def test_only_loopback_and_unix_sockets_are_accepted(self) -> None:
        here = Principal.shared("loopback", Role.AGENT)
        guard = LoopbackAuth(here)
        for host in ("127.0.0.1", "127.8.9.10"):
            self.assertEqual(guard.identify(Caller(peer=IPv4Address("TCP", host, 1))), here)
        for host in ("::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::1%lo"):
            self.assertEqual(guard.identify(Caller(peer=IPv6Address("TCP", host, 1))), here)
        for name in (b"/run/confd.sock", b"", None):
            self.assertEqual(guard.identify(Caller(peer=UNIXAddress(name))), here)
        for host in ("10.0.0.1", "192.0.2.1", "128.0.0.1", "0.0.0.0"):
            error = self.assertRaises(Forbidden, guard.identify, Caller(peer=IPv4Address("TCP", host, 1)))
            self.assertEqual(error.code, "loopback_only")
        for host in ("::", "::2", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1%eth0"):
            self.assertRaises(Forbidden, guard.identify, Caller(peer=IPv6Address("TCP", host, 1)))
        self.assertRaises(Forbidden, guard.identify, Caller(peer=None))

    def test_page_with_a_name_that_resolves_here_is_refused(self) -> None:
        guard, here = LoopbackAuth(Principal.shared("loopback", Role.AGENT)), IPv4Address("TCP", "127.0.0.1", 1)
        for host in ("localhost", "LOCALHOST:8082", "worker.localhost", "127.0.0.1:80", "127.1.2.3", "[::1]:8082"):
            self.assertEqual(guard.identify(Caller(peer=here, host=host)).name, "loopback")
        for host in (
            "evil.example",
            "evil.example:8082",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "::1",
        ):
            error = self.assertRaises(Forbidden, guard.identify, Caller(peer=here, host=host))
            self.assertEqual(error.code, "not_a_local_name", host)
        guard.identify(Caller(peer=UNIXAddress(b"/run/worker.sock"), host="anything"))


class TokenTests(SynchronousTestCase):
    """L{BasicAuth}, with the tokens of agents."""

    def test_token_with_its_agent_id_authenticates_that_agent_only(self) -> None:
        guard = BasicAuth((), tokens=lambda _, digest: {digest_of(b"a:1", b"t0ken"): ("a:1", "edge")}.get(digest))
        header = b"Basic " + base64.b64encode(b"a:1:t0ken")
        self.assertEqual(
            guard.identify(Caller(header)),
            Principal("agent a:1", "agent a:1", "agent", (Grant(Role.AGENT, ("edge",)),), "a:1"),
        )
        for wrong in (b"a:2:t0ken", b"a:1:t0ken2", b"t0ken:a:1", b"a:1:"):
            self.assertRaises(Unauthenticated, guard.identify, Caller(b"Basic " + base64.b64encode(wrong)))

    def test_agent_named_like_an_admin_is_not_an_admin(self) -> None:
        guard = BasicAuth(
            [Credential.of("admin", "secret", Role.ADMIN)],
            tokens=lambda _, digest: {digest_of(b"admin", b"t0ken"): ("admin", "edge")}.get(digest),
        )
        found = guard.identify(Caller(b"Basic " + base64.b64encode(b"admin:t0ken")))
        self.assertEqual((found.grants, found.who), ((Grant(Role.AGENT, ("edge",)),), "agent admin"))
