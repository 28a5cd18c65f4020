"""Tests of L{confd.client.address_policy}."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.client.address_policy import ALWAYS_DENIED, AddressPolicy, Rules, is_host_name
from confd.errors import Forbidden

#: Never reached: link-local, metadata, and what is no host; in every disguise.
DENIED = (
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "febf::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "::",
    "ff02::1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::ffff:224.0.0.1",
    "::ffff:100.100.100.200",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::169.254.169.254",
    "2002:a9fe:a9fe::",
    "2002:a9fe:a9fe::1",
    "2002:a83f:8110::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:808:808:0:0:5601:5601",
)

#: Other ways to write addresses, as a resolver reads them.
SPELLINGS = {
    "2852039166": "169.254.169.254",
    "0xa9fea9fe": "169.254.169.254",
    "0251.0376.0251.0376": "169.254.169.254",
    "0xa9.0xfe.0xa9.0xfe": "169.254.169.254",
    "169.254.43518": "169.254.169.254",
    "169.16689662": "169.254.169.254",
    "0": "0.0.0.0",
    "2130706433": "127.0.0.1",
    "0x7f.1": "127.0.0.1",
    "0177.0.0.1": "127.0.0.1",
    "127.1": "127.0.0.1",
}

#: Reached, unless an operator says otherwise.
REACHED = (
    "127.0.0.1",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "100.100.100.199",
    "169.253.255.255",
    "169.255.0.0",
    "8.8.8.8",
    "223.255.255.255",
    "::1",
    "fd00::1",
    "2606:4700::1",
    "::ffff:127.0.0.1",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
)


def reached(policy: AddressPolicy, host: str, *addresses: str) -> bool:
    """Tell whether a policy allows a host with these addresses."""
    try:
        policy.check(host, [ip_address(address) for address in addresses or (host,)])
    except Forbidden as error:
        assert error.code == "address_denied"
        return False
    return True


class DefaultTests(SynchronousTestCase):
    """The policy without settings."""

    def test_default_policy_denies_metadata_and_link_local_addresses(self) -> None:
        for address in DENIED:
            self.assertFalse(reached(AddressPolicy(), "some.example", address), address)

    def test_default_policy_allows_other_addresses(self) -> None:
        for address in REACHED:
            self.assertTrue(reached(AddressPolicy(), "some.example", address), address)

    def test_resolved_address_counts_and_not_its_spelling(self) -> None:
        for spelling, address in SPELLINGS.items():
            found = {entry[4][0] for entry in socket.getaddrinfo(spelling, 80, type=socket.SOCK_STREAM)}
            self.assertEqual(found, {address}, spelling)
            self.assertEqual(reached(AddressPolicy(), spelling, address), address == "127.0.0.1")

    def test_one_denied_address_denies_the_host(self) -> None:
        self.assertTrue(reached(AddressPolicy(), "some.example", "8.8.8.8", "::1"))
        self.assertFalse(reached(AddressPolicy(), "some.example", "8.8.8.8", "169.254.1.1", "::1"))

    @given(st.sampled_from(ALWAYS_DENIED), st.data())
    def test_networks_are_denied_to_their_ends_in_every_form(self, network: object, data: st.DataObject) -> None:
        size = network.num_addresses  # type: ignore[attr-defined]
        address = network[data.draw(st.sampled_from([0, size - 1]) | st.integers(0, size - 1))]  # type: ignore[index]
        forms = [str(address)]
        if address.version == 4:
            number = int(address)
            forms += [f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1"]
        for form in forms:
            self.assertFalse(reached(AddressPolicy(), "some.example", form), form)

    def test_error_names_the_host_and_the_settings_but_no_address(self) -> None:
        error = self.assertRaises(Forbidden, AddressPolicy().check, "some.example", [ip_address("169.254.1.1")])
        self.assertEqual(error.message, "/hit may not reach some.example; HIT_ALLOW and HIT_DENY decide.")


class SetTests(SynchronousTestCase):
    """The policy with HIT_ALLOW and HIT_DENY."""

    def check(self, allow: str, deny: str, expected: dict[tuple[str, ...], bool]) -> None:
        """Check whether each host, with its address, is allowed."""
        policy = AddressPolicy(Rules.parse(allow), Rules.parse(deny))
        for where, passes in expected.items():
            self.assertEqual(reached(policy, *where), passes, (allow, deny, where))

    def test_denied_networks_and_hosts_are_refused(self) -> None:
        self.check(
            "",
            "10.0.0.0/8, fd00::/8, internal.example",
            {
                ("a.example", "8.8.8.8"): True,
                ("a.example", "10.1.2.3"): False,
                ("a.example", "::ffff:10.1.2.3"): False,
                ("a.example", "64:ff9b::10.1.2.3"): False,
                ("a.example", "2002:a01:203::1"): False,
                ("a.example", "fd12::1"): False,
                ("internal.example", "8.8.8.8"): False,
                ("INTERNAL.example.", "8.8.8.8"): False,
                ("not-internal.example", "8.8.8.8"): True,
            },
        )

    def test_allow_list_denies_all_other_addresses(self) -> None:
        self.check(
            "api.example, 10.0.0.0/8",
            "",
            {
                ("api.example", "8.8.8.8"): True,
                ("API.Example.", "8.8.8.8"): True,
                ("other.example", "8.8.8.8"): False,
                ("other.example", "10.1.2.3"): True,
                ("other.example", "::ffff:10.1.2.3"): True,
                ("other.example", "64:ff9b::10.1.2.3"): False,
                ("other.example", "10.1.2.3", "8.8.8.8"): False,
            },
        )

    def test_deny_wins_over_allow(self) -> None:
        self.check(
            "10.0.0.0/8, api.example",
            "10.1.0.0/16, 8.8.8.8",
            {
                ("a.example", "10.2.0.1"): True,
                ("a.example", "10.1.0.1"): False,
                ("api.example", "8.8.8.8"): False,
                ("api.example", "9.9.9.9"): True,
            },
        )

    def test_always_denied_address_needs_a_host_name_or_a_narrow_network(self) -> None:
        metadata, other = ("metadata", "169.254.169.254"), ("a.example", "169.254.170.2")
        self.check("0.0.0.0/0, ::/0", "", {metadata: False, ("a.example", "8.8.8.8"): True, ("b", "fe80::1"): False})
        self.check("169.0.0.0/8", "", {metadata: False, ("a.example", "169.1.1.1"): True})
        self.check("metadata", "", {metadata: True, other: False, ("a.example", "169.254.169.254"): False})
        self.check("169.254.170.2", "", {metadata: False, other: True})
        self.check("169.254.0.0/16", "", {metadata: True, other: True})
        self.check("169.254.0.0/16", "169.254.169.254", {metadata: False, other: True})
        self.check("fe80::/10", "", {("a", "fe80::1"): True, metadata: False})


class RulesTests(SynchronousTestCase):
    """L{Rules.parse}."""

    def test_empty_list_has_no_rules(self) -> None:
        for text in ("", " ", ",", " , ,"):
            self.assertFalse(Rules.parse(text))

    def test_rules_are_parsed_in_any_case_and_with_spaces(self) -> None:
        rules = Rules.parse("Api.Example., 10.0.0.0/8,::1 ,1.2.3.4,under_score,xn--p1ai,")
        self.assertEqual(rules.hosts, {"api.example", "under_score", "xn--p1ai"})
        self.assertEqual([str(each) for each in rules.networks], ["10.0.0.0/8", "::1/128", "1.2.3.4/32"])

    def test_rule_that_can_never_match_is_refused_by_name(self) -> None:
        for text in (
            "*.example",
            "http://example",
            "example:80",
            "example/path",
            "a b",
            "a..b",
            "höst",
            "[::1]",
            "10.0.0.0/33",
            "10.0.0.0/8/8",
            "10.0.0.1-10.0.0.9",
            "256.1.1.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "::12345",
            "a" * 64,
        ):
            error = self.assertRaises(ValueError, Rules.parse, f"ok.example,{text}")
            self.assertIn(repr(text), str(error))
        error = self.assertRaises(ValueError, Rules.parse, "10.1.2.3/8")
        self.assertIn("host bits", str(error))

    @given(st.text(max_size=80))
    def test_any_text_is_parsed_or_refused_with_value_error(self, text: str) -> None:
        try:
            rules = Rules.parse(text)
        except ValueError as error:
            self.assertIn("host", str(error))
        else:
            self.assertTrue(all(is_host_name(host) for host in rules.hosts))
