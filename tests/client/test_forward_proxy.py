"""Tests of L{confd.client.forward_proxy}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from confd.client.forward_proxy import ForwardProxies, ForwardProxy, parse_bypass, parse_proxy, read_proxies
from confd.codec.headers import basic_authorization


class ParsingTests(SynchronousTestCase):
    """What the URL of a proxy may be."""

    def test_urls_of_proxies_are_parsed(self) -> None:
        for text, proxy in (
            ("http://proxy.example:3128", ForwardProxy("proxy.example", 3128)),
            ("HTTP://proxy_1:3128/", ForwardProxy("proxy_1", 3128)),
            ("proxy.example:3128", ForwardProxy("proxy.example", 3128)),
            ("http://10.0.0.1", ForwardProxy("10.0.0.1", 80)),
            ("http://[fd00::1]:3128", ForwardProxy("fd00::1", 3128)),
            ("http://me:p%40ss:%3A@proxy:1", ForwardProxy("proxy", 1, basic_authorization("me", "p@ss::"))),
            ("me:p@ss@proxy:1", ForwardProxy("proxy", 1, basic_authorization("me", "p@ss"))),
            ("http://me@proxy:1", ForwardProxy("proxy", 1, basic_authorization("me", ""))),
        ):
            self.assertEqual(parse_proxy(text), proxy, text)

    def test_an_invalid_url_is_refused_without_the_password(self) -> None:
        for text in (
            "socks5://u:geheim@proxy:1080",
            "https://u:geheim@proxy",
            "http://u:geheim@",
            "http://u:geheim@proxy:0",
            "http://u:geheim@proxy:port",
            "http://u:geheim@proxy:99999",
            "http://u:geheim@pro xy:1",
            "http://u:geheim@proxy:1/path",
            "http://u:geheim@proxy:1?x=y",
            "http://u:gehe/im@proxy:1",
            "http://u%3Ax:geheim@proxy:1",
            "http://u:geheim@a..b:1",
            "http://u:geheim@::1:3128",
            "http://",
            "://",
            "u:geheim\n@proxy",
        ):
            error = self.assertRaises(ValueError, parse_proxy, text)
            self.assertNotIn("gehe", str(error))
            self.assertTrue(str(error).startswith("must "), error)

    def test_controller_proxy_wins_over_the_shared_variables(self) -> None:
        """CONTROLLER_PROXY wins; upper case wins over lower case; a mistake has the name of its variable."""
        a, b = ForwardProxy("a", 1), ForwardProxy("b", 2)
        for environ, proxies in (
            ({}, ForwardProxies()),
            ({"HTTP_PROXY": "a:1", "HTTPS_PROXY": ""}, ForwardProxies(a)),
            ({"http_proxy": "a:1", "https_proxy": "b:2"}, ForwardProxies(a, b)),
            ({"https_proxy": "a:1", "HTTPS_PROXY": "b:2"}, ForwardProxies(None, b)),
            ({"HTTP_PROXY": "", "http_proxy": "a:1", "no_proxy": "X, .y"}, ForwardProxies(a, None, ("x", ".y"))),
        ):
            self.assertEqual(read_proxies(environ), proxies, environ)
        self.assertEqual(read_proxies({"HTTP_PROXY": "socks4://x"}, ForwardProxies(a, a)), ForwardProxies(a, a))
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            for given in (name, name.lower()):
                error = self.assertRaises(ValueError, read_proxies, {given: "socks4://x"})
                self.assertTrue(str(error).startswith(f"{name}: must "), error)


class BypassTests(SynchronousTestCase):
    """Which hosts are reached directly."""

    def direct(self, bypass: str, host: str, port: int = 443) -> bool:
        """Tell whether there is no proxy on the way."""
        proxies = ForwardProxies(None, ForwardProxy("proxy", 1), parse_bypass(bypass))
        return proxies.find("https", host, port) is None

    def test_no_proxy_names_hosts_domains_and_networks(self) -> None:
        for bypass, hosts, others in (
            (
                "",
                ("localhost", "LOCALHOST.", "a.localhost", "127.9.9.9", "::ffff:127.0.0.1"),
                ("a", "128.0.0.1"),
            ),
            ("*", ("a", "10.0.0.1"), ()),
            ("example.com", ("example.com", "a.example.com", "Example.COM."), ("badexample.com", "example.com.evil")),
            (".example.com", ("example.com", "a.b.example.com"), ("xexample.com",)),
            ("*.example.com", ("a.example.com",), ("example.org",)),
            ("10.0.0.0/8 192.168.1.1", ("10.1.2.3", "192.168.1.1", "::ffff:10.0.0.1"), ("11.0.0.1", "192.168.1.10")),
            ("fd00::/8,[fe80::1],2001:db8::1", ("fd00::5", "fe80::1", "2001:db8::1"), ("2001:db8::2",)),
            ("a:443,[fd00::1]:443,b:80", ("a", "fd00::1"), ("b",)),
            ("10.0.0.0/99,[,:,.,%,a:99999999,10.0.0.1.5", (), ("a", "10.0.0.1", "com", "fd00::1")),
        ):
            for host in hosts:
                self.assertTrue(self.direct(bypass, host), (bypass, host))
            for host in others:
                self.assertFalse(self.direct(bypass, host), (bypass, host))

    def test_each_scheme_has_its_own_proxy(self) -> None:
        proxies = ForwardProxies(ForwardProxy("a", 1), None)
        self.assertEqual(proxies.find("http", "x", 80), ForwardProxy("a", 1))
        self.assertIsNone(proxies.find("https", "x", 443))
