"""Tests of L{confd.runtime.transport}: names that only a resolver knows, and addresses that do not answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.tls import client_options
from confd.runtime.transport import NEXT_ADDRESS_SECONDS, HostEndpoint


class Resolver:
    """Knows the addresses of every name at once."""

    def __init__(self, *hosts: str) -> None:
        self.hosts, self.asked = hosts, []

    def resolveHostName(self, receiver: Any, host: str, port: int = 0, *_: object) -> None:
        """Hand them over."""
        self.asked.append(host)
        receiver.resolutionBegan(None)
        for each in self.hosts:
            receiver.addressResolved((IPv6Address if ":" in each else IPv4Address)("TCP", each, port))
        receiver.resolutionComplete()


class HostEndpointTests(SynchronousTestCase):
    """L{HostEndpoint}."""

    def connect(self, host: str, *hosts: str, check: Any = lambda _: None) -> Deferred[Any]:
        """Begin to connect to a host with these addresses."""
        self.reactor: Any = MemoryReactorClock()
        self.resolver = self.reactor.nameResolver = Resolver(*hosts)
        return HostEndpoint(self.reactor, host, 80, 5.0, check).connect(Factory.forProtocol(Protocol))

    def tried(self) -> Sequence[str]:
        """The addresses that were connected to so far."""
        return [each[0] for each in self.reactor.tcpClients]

    def refuse(self, number: int) -> None:
        """End an attempt."""
        self.reactor.tcpClients[number][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))

    def accept(self, number: int) -> None:
        """Let an attempt succeed."""
        self.reactor.tcpClients[number][2].buildProtocol(None).makeConnection(None)

    def test_names_with_underscores_are_resolved(self) -> None:
        connecting = self.connect("stack_redis", "10.0.0.1")
        self.assertEqual((self.resolver.asked, self.tried()), (["stack_redis"], ["10.0.0.1"]))
        self.accept(0)
        self.assertTrue(self.successResultOf(connecting))

    def test_addresses_are_not_looked_up(self) -> None:
        for host in ("::1", "fe80::1%lo", "127.0.0.1"):
            self.connect(host)
            self.assertEqual((self.resolver.asked, self.tried()), ([], [host]))

    def test_the_next_address_is_tried_at_once_after_a_refusal(self) -> None:
        connecting = self.connect("h", "::1", "10.0.0.1")
        self.refuse(0)
        self.assertEqual(self.tried(), ["::1", "10.0.0.1"])
        self.refuse(1)
        self.failureResultOf(connecting, ConnectionRefusedError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_next_address_is_tried_after_a_silence(self) -> None:
        connecting = self.connect("h", "::1", "10.0.0.1", "10.0.0.2")
        self.reactor.advance(NEXT_ADDRESS_SECONDS)
        self.assertEqual(self.tried(), ["::1", "10.0.0.1"])
        self.accept(1)
        self.assertTrue(self.successResultOf(connecting))
        self.reactor.advance(NEXT_ADDRESS_SECONDS)
        self.assertEqual(len(self.tried()), 2)

    def test_nobody_knows_the_name(self) -> None:
        self.failureResultOf(self.connect("nowhere"), DNSLookupError)

    def test_addresses_are_checked_before_one_is_connected_to(self) -> None:
        def check(hosts: Sequence[str]) -> None:
            raise PermissionError(hosts)

        self.failureResultOf(self.connect("h", "10.0.0.1", check=check), PermissionError)
        self.assertEqual(self.tried(), [])

    def test_certificates_of_such_names(self) -> None:
        """TLS to a name with underscores, to a zone and to an absolute name asks for the name in the certificate."""
        for host, name in (("ctl_1", "ctl_1"), ("h.example.", "h.example"), ("fe80::1%eth0", "fe80::1")):
            options: Any = client_options(host)
            self.assertEqual(options.host, name)
