"""Tests of L{confd.runtime.addresses}."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.client.address_policy import Rules
from confd.controller.configs.schema import Schema
from confd.errors import Unprocessable
from confd.runtime.addresses import fetchable, is_host_name, is_loopback, parse_base_url, parse_host, parse_network
from confd.runtime.setting_types import address, nats_urls, networks, urls

#: Parts of URLs, right and wrong, of which the tests put some together.
PIECES = st.sampled_from(
    ["http://", "HTTPS://", "ftp://", "//", "user:pw@", "h", "a_b", "h.example.", "..", "-", "[::1]", "[", "]", "::1",
     "[fe80::1%25e]", "[::1", "127.0.0.1", "1.2.3.4.5", "bücher.example", "l" * 63, "l" * 64, ":", ":0", ":80",
     ":99999", ":x", "/", "/a b", "/%zz", "?q=1", "#f", "\\", " ", "\t", "\x00", "\x7f", "é", "@", "%41"]
)  # fmt: skip


class DocumentUrlTests(SynchronousTestCase):
    """The URL of a document, at the controller and at the worker."""

    def setUp(self) -> None:
        self.schema = Schema.load(None)

    @given(st.one_of(st.lists(PIECES, max_size=6).map("".join), st.text(max_size=20).map("http://{}".format)))
    @example("http://user:pw@h/")
    @example("http://h:99999/")
    @example("http://bücher.example/")
    @example("http://[::1/")
    @example("http://a..b/")
    @example("http://h:/")
    @example("http://" + "h" * 2042)
    @example("http://h/" + "p" * 2039)
    @example("http://h/" + "p" * 2040)
    def test_the_controller_takes_what_the_worker_takes(self, url: str) -> None:
        try:
            fetchable(url)
        except ValueError:
            refusal = self.assertRaises(Unprocessable, self.schema.check, {"url": url})
            self.assertEqual({each["pointer"] for each in refusal.details}, {"/url"})
        else:
            self.schema.check({"url": url})

    def test_values_other_than_strings_are_refused(self) -> None:
        for value in (None, 7, ["http://h/"], {"a": "http://h/"}, True):
            self.assertRaises(Unprocessable, self.schema.check, {"url": value})


class HostNameTests(SynchronousTestCase):
    """L{is_host_name}."""

    @given(
        st.lists(st.sampled_from(("a", "Z-9_", "", "l" * 63, "l" * 64, "a b", "\xe9", "x\n")), min_size=1, max_size=5)
    )
    @example(["l" * 63] * 4)
    @example(["l" * 63] * 3 + ["l" * 61])
    def test_each_label_is_valid_and_the_name_not_too_long(self, labels: list[str]) -> None:
        name = ".".join(labels)
        if labels[-1] == "" and len(labels) > 1:
            labels = labels[:-1]
        valid = all(each in ("a", "Z-9_", "l" * 63, "l" * 61) for each in labels)
        self.assertEqual(is_host_name(name), valid and len(".".join(labels)) <= 253)


class SettingTests(SynchronousTestCase):
    """Addresses in settings."""

    def test_base_urls_are_normalized_or_refused(self) -> None:
        for text, read_as in (
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("HTTP://[2001:DB8:0::7]/", "http://[2001:db8::7]"),
            ("http://[fe80::1%25eth0]:8080", "http://[fe80::1%eth0]:8080"),
            ("http://[fe80::1%eth0]:8080", "http://[fe80::1%eth0]:8080"),
            ("http://ctl_1:8080", "http://ctl_1:8080"),
            ("http://Stack_Controller.Tasks.:8080/Confd/", "http://stack_controller.tasks.:8080/Confd"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://BÜCHER.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
            ("https://h/a%20b", "https://h/a%20b"),
        ):
            self.assertEqual(urls(text), (read_as,))

    def test_what_no_connection_can_be_made_to(self) -> None:
        for text in (
            "http://", "http://:8080", "http://h:", "http://h:0", "http://h:99999", "http://h:x", "http://::1",
            "http://[::1", "http://::1]", "http://[::1]8080", "http://[h]:80", "http://[1.2.3.4]", "http://[::1%lo]",
            "http://[fe80::1%]", "http://a..b", "http://.a", "http://a b", "http://a/b c", "http://a\\b", "http://h?q",
            "http://h#f", "http://%41", "http://a,b", "ftp://h", "h:80", "http:/h", "http://1.2.3", "http://1.2.3.400",
            "http://0x7f.1", f"http://{'l' * 64}", f"http://{'l.' * 127}x", "http://u:p@h", "http://\u2603.\udfff",
            "http://\u0000", "http://h\x7f", "http://-ü-.\u200d",
        ):  # fmt: skip
            error = self.assertRaises(ValueError, urls, text)
            self.assertRegex(str(error), "^must ", text)

    def test_a_mistake_tells_no_password(self) -> None:
        for parse in (urls, nats_urls, address):
            for text in ("http://u:hunter2@h", "nats://u:hunter2@h:4222", "u:hunter2@h:6379"):
                self.assertNotIn("hunter2", str(self.assertRaises(ValueError, parse, text)))

    def test_a_host_and_a_port_are_both_required(self) -> None:
        for text, read_as in (
            ("stack_redis:6379", ("stack_redis", 6379)),
            ("[::1]:6379", ("::1", 6379)),
            ("[fe80::1%eth0]:6379", ("fe80::1%eth0", 6379)),
            ("Bücher.example.:1", ("xn--bcher-kva.example.", 1)),
        ):
            self.assertEqual(address(text), read_as)
        for text in (
            "::1:6379",
            "[::1]",
            "[::1:6379",
            "::1",
            "redis",
            "redis:",
            "redis:x",
            "a..b:1",
            "redis://h:1",
            ":1",
        ):
            self.assertRaises(ValueError, address, text)
        self.assertEqual(nats_urls("nats://[::1]:4222, TLS://nats_1"), ("nats://[::1]:4222", "tls://nats_1"))

    def test_mapped_networks_are_ipv4_networks(self) -> None:
        for text, read_as in (
            ("::ffff:127.0.0.0/104", "127.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ):
            self.assertEqual(str(parse_network(text)), read_as)
            self.assertEqual([str(each) for each in networks(text)], [read_as])
            self.assertEqual([str(each) for each in Rules.parse(text).networks], [read_as])
        for text in ("::ffff:127.0.0.1/104", "fe80::1%eth0", "[::1]", "10.0.0.1:80", "[::1]:80", "1.2.3"):
            self.assertRaises(ValueError, networks, text)
            self.assertRaises(ValueError, Rules.parse, text)

    def test_rules_know_names_as_they_are_connected_to(self) -> None:
        self.assertEqual(Rules.parse("Xn--Bcher-Kva.Example., a_b").hosts, {"xn--bcher-kva.example", "a_b"})

    def test_names_and_addresses_of_this_machine_are_loopback(self) -> None:
        for host in ("localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(is_loopback(host), host)
        for host in ("127.evil.example", "localhost.example", "10.0.0.1", "::", "", "fe80::1%lo"):
            self.assertFalse(is_loopback(host), host)

    @given(st.text(max_size=40))
    def test_nothing_but_a_refusal_is_raised(self, text: str) -> None:
        for parse in (parse_host, lambda each: parse_base_url(f"http://{each}", ("http",)), address, networks):
            try:
                parse(text)
            except ValueError as error:
                self.assertTrue(str(error))
