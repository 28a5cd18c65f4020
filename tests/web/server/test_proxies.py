"""Tests of L{confd.web.server.proxies}."""

from __future__ import annotations

from ipaddress import IPv4Address as Plain4
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from confd.web.auth.basic import BasicAuth, Credential, LoopbackAuth
from confd.web.auth.principals import Principal, Role
from confd.web.auth.throttle import Throttle
from confd.web.server.proxies import MAX_HOPS, Proxies
from confd.web.server.site import BoundedSite, Limits
from tests.conversation import Conversation, Refused, serve
from tests.web.sample_api import ADMIN, AUTH, RecordingAuditor, SampleApi

PROXIES = Proxies(tuple(map(ip_network, ("127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"))))

HERE, PROXY, STRANGER = (IPv4Address("TCP", host, 1) for host in ("127.0.0.1", "10.0.0.1", "203.0.113.66"))

#: Peer, what the headers say, and who that is; C{None} where it is refused.
WAYS: list[tuple[IAddress, list[tuple[str, str]], str | None]] = [
    (PROXY, [], "10.0.0.1"),
    (PROXY, [("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
    (PROXY, [("X-Forwarded-For", "198.51.100.1, 203.0.113.9")], "203.0.113.9"),
    (PROXY, [("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
    (PROXY, [("X-Forwarded-For", "198.51.100.1, 203.0.113.9, 10.9.9.9")], "203.0.113.9"),
    (PROXY, [("X-Forwarded-For", "10.0.0.3,10.0.0.2")], "10.0.0.3"),
    (PROXY, [("X-Forwarded-For", "203.0.113.9:4711")], "203.0.113.9"),
    (PROXY, [("X-Forwarded-For", "2001:db8::1")], "2001:db8::1"),
    (PROXY, [("X-Forwarded-For", "[2001:db8::1]:4711")], "2001:db8::1"),
    (PROXY, [("X-Forwarded-For", "203.0.113.9, unknown")], "10.0.0.1"),
    (PROXY, [("X-Forwarded-For", "203.0.113.9, garbage, 10.0.0.2")], "10.0.0.2"),
    (PROXY, [("X-Forwarded-For", "")], "10.0.0.1"),
    (PROXY, [("Forwarded", "for=203.0.113.9;proto=https;by=10.0.0.1")], "203.0.113.9"),
    (PROXY, [("Forwarded", 'proto=https; For="[2001:db8::1]:4711"')], "2001:db8::1"),
    (PROXY, [("Forwarded", 'for="198.51.100.1, 198.51.100.2", for=203.0.113.9')], "203.0.113.9"),
    (PROXY, [("Forwarded", "for=198.51.100.1"), ("Forwarded", "for=203.0.113.9")], "203.0.113.9"),
    (PROXY, [("Forwarded", "for=203.0.113.9, for=_hidden")], "10.0.0.1"),
    (PROXY, [("Forwarded", "for=203.0.113.9, proto=https")], "10.0.0.1"),
    (PROXY, [("Forwarded", 'for="198.51.100.1')], None),
    (PROXY, [("Forwarded", 'for="x'), ("Forwarded", 'for="[2001:db8::1]"')], None),
    (PROXY, [("Forwarded", "for=203.0.113.9"), ("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
    (PROXY, [("Forwarded", "for=198.51.100.1"), ("X-Forwarded-For", "203.0.113.9")], None),
    # The loopback of a proxy is not ours.
    (PROXY, [("X-Forwarded-For", "127.0.0.1")], "10.0.0.1"),
    (HERE, [("X-Forwarded-For", "127.0.0.1")], "127.0.0.1"),
    (HERE, [("X-Forwarded-For", "127.0.0.1, 203.0.113.9")], "203.0.113.9"),
    (HERE, [("X-Forwarded-For", "203.0.113.9, 10.0.0.1")], "203.0.113.9"),
    (IPv6Address("TCP", "::ffff:10.0.0.1", 1), [("X-Forwarded-For", "::ffff:203.0.113.9")], "203.0.113.9"),
    (IPv6Address("TCP", "2001:db8:1::1", 1), [("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
    (UNIXAddress(b"/run/confd.sock"), [("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
    (STRANGER, [("X-Forwarded-For", "198.51.100.1")], "203.0.113.66"),
    (STRANGER, [("Forwarded", "for=127.0.0.1")], "203.0.113.66"),
    (STRANGER, [("Forwarded", 'for="x')], "203.0.113.66"),
]


def found(proxies: Proxies, peer: IAddress, said: list[tuple[str, str]]) -> str | None:
    """Return the host of the caller; C{None} if the request is refused."""
    headers = Headers()
    for name, value in said:
        headers.addRawHeader(name, value)
    hops = proxies.hops(peer, headers)
    if hops is None and proxies.trusts(peer):
        return None
    return getattr(proxies.caller(peer, hops or ()), "host", "unix")


class ProxiesTests(SynchronousTestCase):
    """L{Proxies}."""

    def test_caller_is_the_nearest_untrusted_address(self) -> None:
        for peer, said, expected in WAYS:
            self.assertEqual(found(PROXIES, peer, said), expected, (peer, said))

    def test_only_the_nearest_32_hops_are_read(self) -> None:
        for count, expected in ((MAX_HOPS - 1, "203.0.113.9"), (MAX_HOPS, "10.0.0.2"), (5000, "10.0.0.2")):
            ways = (
                ("X-Forwarded-For", "203.0.113.9" + ", 10.0.0.2" * count),
                ("Forwarded", "for=203.0.113.9" + ", for=10.0.0.2" * count),
            )
            for way in ways:
                self.assertEqual(found(PROXIES, PROXY, [way]), expected, (way[0], count))
            self.assertEqual(found(PROXIES, PROXY, list(ways)), expected, count)

    def test_headers_of_untrusted_peers_are_ignored(self) -> None:

        class Unread(Headers):
            def getRawHeaders(self, name: object, default: object = None) -> object:  # type: ignore[override]
                raise AssertionError(f"{name!r} was read")

        headers = Unread()
        headers.addRawHeader("Forwarded", 'for="x')
        headers.addRawHeader("X-Forwarded-For", "203.0.113.9")
        self.assertRaises(AssertionError, PROXIES.hops, PROXY, headers)
        for proxies, peer in ((PROXIES, STRANGER), (PROXIES, None), (Proxies(), PROXY)):
            self.assertEqual(proxies.hops(peer, headers), ())

    def test_no_peer_is_trusted_by_default(self) -> None:
        for peer, said, _ in WAYS:
            self.assertEqual(found(Proxies(), peer, said), getattr(peer, "host", "unix"))

    @given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60))
    def test_invalid_headers_raise_nothing(self, text: str) -> None:
        for name, added in (("X-Forwarded-For", "203.0.113.9"), ("Forwarded", 'for="203.0.113.9:80";proto=https')):
            self.assertIn(found(PROXIES, PROXY, [(name, f"{text}, {added}")]), ("203.0.113.9", None))
            self.assertIn(found(PROXIES, PROXY, [(name, text), (name, added)]), ("203.0.113.9", None))

    @given(st.ip_addresses(v=4), st.integers(1, 65535))
    def test_every_address_is_read_with_and_without_a_port(self, address: Plain4, port: int) -> None:
        for name, value in (
            ("X-Forwarded-For", str(address)),
            ("X-Forwarded-For", f"{address}:{port}"),
            ("Forwarded", f"for={address}"),
            ("Forwarded", f'For="{address}:{port}"'),
        ):
            self.assertEqual(found(PROXIES, HERE, [(name, value)]), str(address))


class SiteTests(SynchronousTestCase):
    """What follows from it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.auditor = RecordingAuditor()
        guard = BasicAuth([Credential.of(*ADMIN, Role.ADMIN)], Throttle(self.clock, 10))
        self.site = serve(self.clock, guard, SampleApi(), auditor=self.auditor, proxies=PROXIES)

    def guess(self, peer: IAddress, behind: str) -> int:
        """Send a wrong password, and return the status."""
        caller = Conversation(self.site, self.clock, peer)
        return caller.get("/wish", auth=("admin", "guess"), headers={"X-Forwarded-For": behind}).status

    def test_clients_behind_a_proxy_are_throttled_one_by_one(self) -> None:
        statuses = [self.guess(PROXY, f"198.51.100.{number}, 203.0.113.9") for number in range(12)]
        self.assertEqual(statuses, [401] * 10 + [429] * 2)
        self.assertEqual(self.guess(PROXY, "203.0.113.8"), 401)
        self.assertEqual(self.guess(STRANGER, "203.0.113.9"), 401)

    def test_client_cannot_forge_its_address(self) -> None:
        self.assertEqual([self.guess(STRANGER, f"198.51.100.{each}") for each in range(11)], [401] * 10 + [429])

    def test_audit_log_has_the_address_of_the_client(self) -> None:
        for body in (b"{}", b"x" * 9000):
            for peer in (PROXY, STRANGER):
                caller = Conversation(self.site, self.clock, peer)
                caller.post("/document", body=body, headers={"X-Forwarded-For": "203.0.113.9"})
        peers = [attempt.peer for attempt, _ in self.auditor.audit_log]
        self.assertEqual(peers, ["203.0.113.9", "203.0.113.66"] * 2)

    def test_contradicting_headers_get_400(self) -> None:
        caller = Conversation(self.site, self.clock, PROXY)
        reply = caller.get("/open", headers={"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=198.51.100.1"})
        self.assertEqual((reply.status, reply.code), (400, "bad_request"))

    def test_local_proxy_does_not_make_its_clients_local(self) -> None:
        guard = LoopbackAuth(Principal.shared("loopback", Role.AGENT))
        site = serve(self.clock, guard, SampleApi(), proxies=PROXIES)
        caller = Conversation(site, self.clock, HERE)
        self.assertEqual(caller.get("/wish").status, 200)
        for name, value in (("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=203.0.113.9")):
            reply = caller.get("/wish", headers={name: value})
            self.assertEqual((reply.status, reply.code), (403, "loopback_only"), name)

    def test_trusted_proxy_has_no_limit_of_connections_from_one_address(self) -> None:
        site: BoundedSite = serve(
            self.clock, AUTH, SampleApi(), limits=Limits(connections=100, from_one=2), proxies=PROXIES
        )
        callers = [Conversation(site, self.clock, PROXY) for _ in range(9)]
        self.assertEqual({each.get("/open").status for each in callers}, {200})
        others = [Conversation(site, self.clock, STRANGER) for _ in range(2)]
        self.assertRaises(Refused, Conversation, site, self.clock, STRANGER)
        self.assertEqual(len(others), 2)
