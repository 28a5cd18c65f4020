"""Tests of L{confd.runtime.tls}; what it is worth on a wire is shown by L{tests.integration.test_tls}."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.x509 import load_pem_x509_certificate
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface.verify import verifyObject

from confd.errors import StartError
from confd.runtime.reload import CHECK_INTERVAL_SECONDS
from confd.runtime.tls import ClientTls, server_endpoint
from tests.integration.certificates import make_certificate

NOW = datetime.now(UTC)


def expiry_of(path: Path) -> datetime:
    """When the certificate in a file expires."""
    return load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


class FilesCase(SynchronousTestCase):
    """Two certificates, each of an authority of its own."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).resolve()
        self.one, self.other = make_certificate(folder / "one"), make_certificate(folder / "other")
        self.rubbish = folder / "rubbish.pem"
        self.rubbish.write_text("-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n")


class ServerTests(FilesCase):
    """L{server_endpoint}."""

    def make(self, described: str, client_ca: str | None = None) -> Any:
        """The endpoint, and its options."""
        return server_endpoint(MemoryReactorClock(), maybeDeferred, described, client_ca)

    def test_arguments_are_read_as_twisted_reads_them(self) -> None:
        reactor: Any = MemoryReactorClock()
        files = f"privateKey={self.one.key}:certKey={self.one.certificate}:extraCertChain={self.one.authority}"
        for described, expected in (
            (f"ssl:443:{files}", (443, 50, "")),
            (f"ssl:port=443:{files}:interface=127.0.0.1:backlog=7", (443, 7, "127.0.0.1")),
            (f"ssl:443:interface=\\:\\:1:{files}", (443, 50, "::1")),
        ):
            endpoint, _ = server_endpoint(reactor, maybeDeferred, described, None)
            self.successResultOf(endpoint.listen(object()))  # type: ignore[arg-type]
            port, _, _, backlog, interface = reactor.sslServers[-1]
            self.assertEqual((port, backlog, interface), expected)

    def test_key_and_certificate_in_one_file(self) -> None:
        both = self.one.key.with_name("both.pem")
        both.write_bytes(self.one.key.read_bytes() + self.one.certificate.read_bytes())
        self.make(f"ssl:443:privateKey={both}")

    def test_each_mistake_is_one_sentence(self) -> None:
        one = self.one
        for described, client_ca, said in (
            ("ssl:443:privateKey=/nowhere", None, "/nowhere cannot be read: No such file or directory"),
            (f"ssl:443:privateKey={self.rubbish}", None, f"{self.rubbish} holds no PEM key without a passphrase"),
            (f"ssl:443:privateKey={one.key}", None, f"{one.key} holds no PEM certificate"),
            (f"ssl:443:privateKey={one.key}:certKey={self.rubbish}", None, f"{self.rubbish} holds no PEM certificate"),
            (
                f"ssl:443:privateKey={one.key}:certKey={self.other.certificate}",
                None,
                f"the key in {one.key} is not that of the certificate in {self.other.certificate}",
            ),
            (
                f"ssl:443:privateKey={one.key}:certKey={one.certificate}",
                str(self.rubbish),
                f"{self.rubbish} holds no PEM certificate",
            ),
            ("ssl", None, "the port is missing"),
            ("ssl:https", None, "the port is missing"),
            ("ssl:443:colour=red", None, "ssl takes backlog, certKey, extraCertChain, interface, port, privateKey,"
             " not 'colour'"),
        ):  # fmt: skip
            error = self.assertRaises(ValueError, self.make, described, client_ca)
            self.assertEqual(str(error), said)

    def test_a_key_that_does_not_match_yet_leaves_the_certificate_current(self) -> None:
        clock, one = MemoryReactorClock(), self.one
        described = f"ssl:443:privateKey={one.key}:certKey={one.certificate}"
        _, options = server_endpoint(clock, maybeDeferred, described, None)
        options.startService()
        before = options.value
        one.key.write_bytes(self.other.key.read_bytes())
        clock.advance(CHECK_INTERVAL_SECONDS)
        self.assertIs(options.value, before)
        one.certificate.write_bytes(self.other.certificate.read_bytes())
        clock.advance(CHECK_INTERVAL_SECONDS)
        self.assertIsNot(options.value, before)
        options.stopService()

    def test_the_expiry_is_that_of_the_current_certificates(self) -> None:
        one, chain = self.one, self.one.authority
        described = f"ssl:443:privateKey={one.key}:certKey={one.certificate}"
        _, served = self.make(described, str(self.other.authority))
        own, clients = served.value.in_use
        self.assertEqual((own.setting, own.path, len(own.expiries)), ("LISTEN", str(one.certificate), 1))
        self.assertEqual((clients.setting, clients.path), ("CLIENT_CA_FILE", str(self.other.authority)))
        (own,) = self.make(f"{described}:extraCertChain={chain}")[1].value.in_use
        self.assertEqual(own.expiry(NOW), expiry_of(one.certificate))
        self.assertEqual(own.expiries[1], expiry_of(chain))


class ClientTests(FilesCase):
    """L{ClientTls}."""

    def make(self, ca: Path | str | None, cert: Path | None = None, key: Path | None = None) -> ClientTls:
        """One for the controller."""
        given = [None if each is None else str(each) for each in (ca, cert, key)]
        return ClientTls(Clock(), maybeDeferred, "CONTROLLER", *given)

    def test_the_policy_provides_its_interface(self) -> None:
        verifyObject(IPolicyForHTTPS, self.make(None))

    def test_without_files_nothing_is_watched(self) -> None:
        self.assertEqual([self.make(None).changes, self.make(self.one.authority).changes], [False, True])

    def test_the_named_files_are_in_use_and_no_others(self) -> None:
        one, other = self.one, self.other
        self.assertEqual(list(self.make(None).in_use()), [])
        both = one.authority.with_name("both.pem")
        short = make_certificate(both.parent / "short", -3, -1)
        both.write_bytes(short.certificate.read_bytes() + other.certificate.read_bytes() + one.authority.read_bytes())
        trusted, own = self.make(both, one.certificate, one.key).in_use()
        self.assertEqual((trusted.setting, trusted.path), ("CONTROLLER_CA_FILE", str(both)))
        self.assertEqual(trusted.expiry(NOW), expiry_of(other.certificate))
        self.assertEqual((own.setting, own.path), ("CONTROLLER_CERT_FILE", str(one.certificate)))
        self.assertEqual(own.expiry(NOW), expiry_of(one.certificate))

    def test_mistakes_name_the_setting(self) -> None:
        one = self.one
        for given, said in (
            (("/nowhere",), "CONTROLLER_CA_FILE: /nowhere cannot be read: No such file or directory."),
            ((self.rubbish,), f"CONTROLLER_CA_FILE: {self.rubbish} holds no PEM certificate."),
            ((one.key,), f"CONTROLLER_CA_FILE: {one.key} holds no PEM certificate."),
            (
                (one.authority, one.certificate, self.other.key),
                f"CONTROLLER_CERT_FILE: the key in {self.other.key} is not that of the certificate in"
                f" {one.certificate}.",
            ),
        ):
            self.assertEqual(self.assertRaises(StartError, self.make, *given).reasons, (said,))
