"""Tests of L{confd.runtime.listen_address}, and of what a role says about C{LISTEN}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from confd.errors import StartError
from confd.runtime.listen_address import parse_endpoint
from confd.runtime.options import read
from confd.runtime.setting_types import is_private
from confd.runtime.settings import AgentSettings, ControllerSettings, WorkerSettings

#: What is no endpoint, and what to write instead.
MEANT = {
    "127.0.0.1:8080": "tcp:8080:interface=127.0.0.1",
    "localhost:8080": "tcp:8080:interface=localhost",
    "controller:8080": "tcp:8080:interface=controller",
    "0.0.0.0:8080": "tcp:8080",
    "*:8080": "tcp:8080",
    ":8080": "tcp:8080",
    "8080": "tcp:8080:interface=127.0.0.1",
    "[::1]:8080": r"tcp:8080:interface=\:\:1",
    "::1": r"tcp:8080:interface=\:\:1",
    "127.0.0.1": "tcp:8080:interface=127.0.0.1",
    "tcp:127.0.0.1:8080": "tcp:8080:interface=127.0.0.1",
    "ssl:0.0.0.0:443": "ssl:443",
    "tcp://127.0.0.1:8080": "tcp:8080:interface=127.0.0.1",
    "http://127.0.0.1:8080/": "tcp:8080:interface=127.0.0.1",
    "unix:///run/confd.sock": "unix:/run/confd.sock",
    "/run/confd.sock": "unix:/run/confd.sock",
    "tcp:": "tcp:8080:interface=127.0.0.1",
    "tcp::8080": "tcp:8080",
    "nonsense": "tcp:8080:interface=127.0.0.1",
}


class EndpointTests(SynchronousTestCase):
    """L{parse_endpoint}."""

    def test_a_mistake_is_named_with_what_to_write_instead(self) -> None:
        for text, meant in MEANT.items():
            error = self.assertRaises(ValueError, parse_endpoint, text)
            self.assertTrue(f"{error},".startswith(f"write {meant},"), (text, str(error)))

    def test_what_to_write_instead_is_an_endpoint(self) -> None:
        for meant in MEANT.values():
            self.assertEqual(parse_endpoint(meant), meant)

    def test_ipv6_interfaces_are_escaped(self) -> None:
        for text, read_as in (
            ("tcp:8080:interface=::1", r"tcp:8080:interface=\:\:1"),
            ("tcp6:8080:interface=[::1]:backlog=5", r"tcp6:8080:interface=\:\:1:backlog=5"),
            ("ssl:443:interface=2001:DB8::7:privateKey=a.pem", r"ssl:443:interface=2001\:db8\:\:7:privateKey=a.pem"),
            (r"tcp:8080:interface=\:\:1", r"tcp:8080:interface=\:\:1"),
            ("tcp:8080:interface=fe80::1%eth0", r"tcp:8080:interface=fe80\:\:1%eth0"),
            ("tcp:interface=127.0.0.1:port=8080", "tcp:interface=127.0.0.1:port=8080"),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
        ):
            self.assertEqual(parse_endpoint(text), read_as)
        self.assertTrue(is_private(parse_endpoint("tcp6:8080:interface=::1")))
        self.assertFalse(is_private(parse_endpoint("tcp6:8080:interface=::")))

    def test_ports_out_of_range(self) -> None:
        self.assertIn("65535", str(self.assertRaises(ValueError, parse_endpoint, "tcp:65536")))

    def test_nothing_else_is_blamed(self) -> None:
        """One line, about the setting, and none about passwords."""
        for role, name in ((ControllerSettings, "LISTEN"), (WorkerSettings, "LISTEN"), (AgentSettings, "AGENT_LISTEN")):
            error = self.assertRaises(StartError, read, role, {}, {name: "127.0.0.1:8080"})
            self.assertEqual(
                error.reasons,
                (f"{name}: '127.0.0.1:8080' is not an endpoint; write tcp:8080:interface=127.0.0.1.",),
            )
