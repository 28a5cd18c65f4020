"""Tests of L{confd.web.auth.allowed_hosts}."""

from __future__ import annotations

from ipaddress import IPv4Address as Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.headers import basic_authorization
from confd.web.auth.allowed_hosts import AllowedHosts, _read_once, host_patterns, is_local
from confd.web.server.site import BoundedSite
from tests.controller.harness import AGENT, ControllerHarness
from tests.conversation import LOOPBACK, Conversation, serve
from tests.web.sample_api import AUTH, SampleApi

BUILT_IN = AllowedHosts(local_only=True)

LOCAL = (
    "localhost", "LOCALHOST", "localhost.", "localhost:8080", "localhost:", "a.localhost:1", "A.b.LocalHost.",
    "127.0.0.1", "127.0.0.1:8080", "127.1.2.3", "[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]:80", "[::ffff:127.0.0.1]",
)  # fmt: skip

#: Names that their owners may have resolve to this machine, and what only looks like one of its own.
ELSEWHERE = (
    "evil.example", "evil.example:8080", "", ":8080", "localhost.evil.example", "localhost.example", "xlocalhost",
    "127.0.0.1.evil.example", "127.0.0.1.", "127.1", "127.0.0.256", "0127.0.0.1", "2130706433", "0x7f.0.0.1", "0.0.0.0",
    "[::]", "10.0.0.1", "[::2]:8080", "[fe80::1]", ".localhost", "a..localhost", "%6cocalhost", "localhost;", "*",
    "localhost,evil.example", "controller", "ctl_1:8080", "[::ffff:10.0.0.1]", "localhost..", "localhost:80:80",
    "localhost:999999",
)  # fmt: skip

#: Parts of an address at the border of what is valid.
ODD_OCTETS = ("255", "256", "260", "300", "00", "01", "")


def passes(hosts: AllowedHosts, *names: str) -> list[str]:
    """Return the names that a client on this machine may use."""
    return [name for name in names if hosts.refusal(LOOPBACK, name.encode()) is None]


class AllowedHostsTests(SynchronousTestCase):
    """L{AllowedHosts}."""

    def test_only_local_names_pass_with_a_built_in_password(self) -> None:
        for hosts in (BUILT_IN, AllowedHosts(host_patterns("x.example")), AllowedHosts()):
            self.assertEqual(passes(hosts, *LOCAL), list(LOCAL))
        self.assertEqual(passes(BUILT_IN, *(name for name in ELSEWHERE if name != "127.0.0.1.")), [])
        self.assertEqual([is_local(name.encode()) for name in LOCAL], [True] * len(LOCAL))

    def test_any_host_passes_without_patterns_and_built_in_password(self) -> None:
        self.assertEqual(passes(AllowedHosts(), *ELSEWHERE), list(ELSEWHERE))

    def test_patterns_match_ports_addresses_and_subdomains_in_any_case(self) -> None:
        for listed, still_authorized, bad in (
            (
                "controller",
                "controller Controller.:80 controller:8080 controller:",
                "controllers x.controller controller.x",
            ),
            ("ctl_1:8080", "ctl_1:8080 CTL_1.:8080", "ctl_1 ctl_1:80 ctl_1:80800 ctl_1:"),
            ("ctl.example:443", "ctl.example ctl.example:443 ctl.example.", "ctl.example:80 ctl.example:8443"),
            (".example.com", "example.com a.example.com a.b.EXAMPLE.com.:1", "xexample.com example.com.evil .com com"),
            (".example.com:80", "a.example.com a.example.com:80", "a.example.com:81"),
            (
                "10.0.0.7, fd00::7",
                "10.0.0.7 10.0.0.7:80 [fd00::7] [FD00:0::7]:9",
                "10.0.0.8 [fd00::8] fd00::7 [fd00::7",
            ),
            ("[fd00::7]:8080", "[fd00:0:0::7]:8080", "[fd00::7] [fd00::7]:80"),
            ("*", "anything a.b:9 [fd00::7]", "[ a:b:c"),
            ("*:8080", "anything:8080", "anything anything:80"),
            ("a,,b ,", "a b", "c a,b"),
        ):
            hosts = AllowedHosts(host_patterns(listed), local_only=True)
            self.assertEqual(passes(hosts, *still_authorized.split()), still_authorized.split(), listed)
            self.assertEqual(passes(hosts, *bad.split()), [], listed)

    def test_invalid_pattern_is_refused_with_the_valid_forms(self) -> None:
        for text in (
            "http://a",
            "a/b",
            "a b",
            "a:b",
            "a:999999",
            "*.example.com",
            "..a",
            ".",
            "[::g]",
            "[1.2.3.4]",
            "a@b",
            "ü",
        ):
            self.assertRaisesRegex(ValueError, "is not a host; write", host_patterns, text)

    def test_addresses_but_no_names_pass_when_the_site_listens_beyond_loopback(self) -> None:
        hosts = AllowedHosts(local_only=True, addresses=True)
        self.assertEqual(
            passes(hosts, "10.0.0.1:8080", "[fd00::7]", "evil.example", "2130706433"), ["10.0.0.1:8080", "[fd00::7]"]
        )

    def test_a_host_longer_than_any_name_is_refused_and_not_remembered(self) -> None:
        hosts, longest = AllowedHosts(host_patterns(".x.example")), f"{'a.' * 121}.x.example"
        kept = _read_once.cache_info().currsize
        for name in (f"{'a.' * 130}.x.example", f"{'a.' * 8000}.localhost"):
            self.assertEqual(passes(hosts, name, name), [])
        self.assertEqual(_read_once.cache_info().currsize, kept)
        self.assertEqual(passes(hosts, longest, longest), [longest, longest])

    def test_unix_socket_is_checked_against_patterns_only(self) -> None:
        peer = UNIXAddress(b"/run/confd.sock")
        self.assertIsNone(BUILT_IN.refusal(peer, b"evil.example"))
        self.assertIsNotNone(AllowedHosts(host_patterns("a")).refusal(peer, b"evil.example"))

    def test_refusals_name_the_settings(self) -> None:
        code, sentence = BUILT_IN.refusal(LOOPBACK, b"evil.example:80") or ("", "")
        self.assertEqual(code, "not_a_local_name")
        for word in ("'evil.example:80'", "ADMIN_PASSWORD", "AGENT_PASSWORD", "ALLOWED_HOSTS"):
            self.assertIn(word, sentence)
        code, sentence = AllowedHosts(host_patterns("a")).refusal(LOOPBACK, b"b" * 5000) or ("", "")
        self.assertEqual(code, "host_not_allowed")
        self.assertIn("ALLOWED_HOSTS", sentence)
        self.assertLess(len(sentence), 300)

    @given(
        st.lists(st.integers(0, 255).map(str) | st.sampled_from(ODD_OCTETS), min_size=4, max_size=4),
        st.sampled_from(("", ":80")),
    )
    def test_addresses_of_loopback_are_local(self, octets: list[str], end: str) -> None:
        for text in (".".join(octets), ".".join(["127", *octets[1:]])):
            try:
                local = Address(text.removesuffix(".")).is_loopback
            except ValueError:
                local = False
            self.assertEqual(is_local(f"{text}{end}".encode()), local, text)

    @given(st.text(st.characters(codec="ascii"), max_size=40), st.sampled_from(("", ".", ":8080", ".:1")))
    def test_no_name_below_a_registered_domain_is_local(self, text: str, end: str) -> None:
        self.assertEqual(passes(BUILT_IN, f"{text}.example{end}"), [])


class SiteTests(SynchronousTestCase):
    """L{AllowedHosts}, over HTTP."""

    def setUp(self) -> None:
        self.clock = Clock()

    def test_every_path_refuses_a_wrong_host_before_any_other_check(self) -> None:
        harness = ControllerHarness()
        harness.site.allow_hosts(BUILT_IN)
        for method, path in (
            ("GET", "/api/v1/config"), ("POST", "/api/v1/config"), ("GET", "/api/v1/stream"), ("GET", "/api/v1/events"),
            ("GET", "/"), ("GET", "/dashboard/main.js"), ("GET", "/metrics"), ("GET", "/health"), ("GET", "/ready"),
            ("GET", "/openapi.json"), ("GET", "/swagger/index.html"), ("GET", "/nothing"), ("OPTIONS", "/health"),
            ("POST", "/api/v1/register"), ("GET", "/api/v1/agents"), ("GET", "/ready/read"),
        ):  # fmt: skip
            caller = Conversation(harness.site, harness.clock)
            reply = caller.request(method, path, headers={"Host": "evil.example"}, auth=("admin", "admin123"))
            self.assertEqual((reply.status, reply.code), (403, "not_a_local_name"), path)
            self.assertTrue(caller.wire.ended, path)
        self.assertEqual(harness.caller().get("/health").status, 200)

    def test_http_1_0_needs_no_host(self) -> None:
        site = site_with(self.clock, BUILT_IN)
        caller = Conversation(site, self.clock)
        caller.send(b"GET /open HTTP/1.0\r\n\r\n")
        self.assertEqual([each.status for each in caller.replies()], [200])
        caller = Conversation(site, self.clock)
        caller.send(b"GET /open HTTP/1.0\r\nHost: evil.example\r\n\r\n")
        self.assertEqual([each.status for each in caller.replies()], [403])

    def test_absolute_request_target_is_refused(self) -> None:
        for target in (b"http://localhost/open", b"http://evil.example/open"):
            for host in (b"localhost", b"evil.example"):
                caller = Conversation(site_with(self.clock, BUILT_IN), self.clock)
                caller.send(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
                self.assertEqual([each.status for each in caller.replies()], [400])

    def test_wrong_host_is_refused_before_the_body(self) -> None:
        caller = Conversation(site_with(self.clock, BUILT_IN), self.clock)
        caller.send(b"POST /document HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000\r\n\r\n")
        self.assertEqual([each.status for each in caller.replies()], [403])

    def test_peer_and_not_the_client_behind_a_proxy_decides_what_is_a_unix_socket(self) -> None:
        site = site_with(self.clock, BUILT_IN)
        caller = Conversation(site, self.clock, IPv4Address("TCP", "127.0.0.1", 1))
        reply = caller.get("/open", headers={"Host": "evil.example", "X-Forwarded-Host": "localhost"})
        self.assertEqual(reply.status, 403)

    def test_cached_response_is_not_given_to_a_host_refused_since(self) -> None:
        harness = ControllerHarness(ALLOWED_HOSTS="*")
        raw = b"GET /api/v1/config HTTP/1.1\r\nHost: evil.example\r\nAuthorization: %s\r\n\r\n" % (
            basic_authorization(*AGENT)
        )
        caller = Conversation(harness.site, harness.clock)
        caller.send(raw)
        caller.send(raw)
        self.assertEqual(harness.site.response_cache.answered, 1)
        harness.site.allow_hosts(BUILT_IN)
        caller.send(raw)
        self.assertEqual([each.status for each in caller.replies()], [200, 200, 403])
        self.assertEqual(harness.site.response_cache.answered, 1)

    def test_refused_host_is_logged_once_a_minute(self) -> None:
        site = site_with(self.clock, BUILT_IN)
        audit_log = [site.refuse_host(LOOPBACK, b"evil.example") for _ in range(3)]
        self.assertEqual(len(set(audit_log)), 1)


def site_with(clock: Clock, hosts: AllowedHosts) -> BoundedSite:
    """Return a site of the sample API that answers to these hosts."""
    site = serve(clock, AUTH, SampleApi())
    site.allow_hosts(hosts)
    return site
