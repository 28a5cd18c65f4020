"""Tests of L{confd.tls}; what it is worth on a wire is shown by L{tests.integration.test_tls}."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface.verify import verifyObject

from confd.model import StartError
from confd.tls import LOOK, ClientTls, Renewed, server_endpoint
from tests.integration.certificates import make_certificate


class RenewedTests(SynchronousTestCase):
    """L{Renewed}, of a file that holds a number."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.path.write_text("1")
        self.loads = 0
        self.renewed = Renewed(self.clock, maybeDeferred, [str(self.path)], self.load)
        self.renewed.startService()
        self.addCleanup(self.renewed.stopService)

    def load(self) -> int:
        """Read it."""
        self.loads += 1
        try:
            return int(self.path.read_text())
        except (OSError, ValueError):
            raise ValueError("it holds no number") from None

    def replace(self, text: str) -> None:
        """As programs that renew certificates do."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, self.path)

    def test_unchanged(self) -> None:
        """It is only looked at."""
        self.clock.pump([LOOK] * 10)
        self.assertEqual((self.renewed.value, self.loads), (1, 1))

    def test_changed(self) -> None:
        self.replace("2")
        self.clock.advance(LOOK - 0.1)
        self.assertEqual(self.renewed.value, 1)
        self.clock.advance(0.1)
        self.assertEqual((self.renewed.value, self.loads), (2, 2))
        # The same text once more is another file.
        self.replace("2")
        self.clock.pump([LOOK] * 3)
        self.assertEqual(self.loads, 3)

    def test_of_no_use(self) -> None:
        """The one before stays, which is said once; it is tried until it works."""
        with capturedLogs() as logs:
            self.replace("x")
            self.clock.pump([LOOK] * 3)
            self.path.unlink()
            self.clock.pump([LOOK] * 3)
        self.assertEqual(self.renewed.value, 1)
        self.assertEqual([each["log_level"].name for each in logs], ["error", "error"])
        self.assertEqual(logs[0]["reason"], "it holds no number")
        self.replace("3")
        self.clock.advance(LOOK)
        self.assertEqual(self.renewed.value, 3)

    def test_back_to_what_it_was(self) -> None:
        """A failure in between leaves nothing behind."""
        os.rename(self.path, self.path.with_suffix(".away"))
        self.clock.advance(LOOK)
        os.rename(self.path.with_suffix(".away"), self.path)
        self.clock.advance(LOOK)
        self.assertEqual((self.renewed.value, self.loads), (1, 2))

    def test_stopped(self) -> None:
        self.renewed.stopService()
        self.replace("2")
        self.clock.advance(LOOK)
        self.assertEqual((self.renewed.value, self.clock.getDelayedCalls()), (1, []))


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

    def test_arguments(self) -> None:
        """As Twisted reads them."""
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

    def test_mistakes(self) -> None:
        """Each in one sentence."""
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
            ("ssl", None, "it names no port"),
            ("ssl:https", None, "it names no port"),
            ("ssl:443:colour=red", None, "ssl takes backlog, certKey, extraCertChain, interface, port, privateKey, and"
             " no 'colour'"),
        ):  # fmt: skip
            error = self.assertRaises(ValueError, self.make, described, client_ca)
            self.assertEqual(str(error), said)

    def test_key_before_its_certificate(self) -> None:
        """They are replaced one after the other: what was there before stays in force until both are new."""
        clock, one = MemoryReactorClock(), self.one
        described = f"ssl:443:privateKey={one.key}:certKey={one.certificate}"
        _, options = server_endpoint(clock, maybeDeferred, described, None)
        options.startService()
        before = options.value
        one.key.write_bytes(self.other.key.read_bytes())
        clock.advance(LOOK)
        self.assertIs(options.value, before)
        one.certificate.write_bytes(self.other.certificate.read_bytes())
        clock.advance(LOOK)
        self.assertIsNot(options.value, before)
        options.stopService()


class ClientTests(FilesCase):
    """L{ClientTls}."""

    def make(self, ca: Path | str | None, cert: Path | None = None, key: Path | None = None) -> ClientTls:
        """One for the controller."""
        given = [None if each is None else str(each) for each in (ca, cert, key)]
        return ClientTls(Clock(), maybeDeferred, "CONTROLLER", *given)

    def test_interface(self) -> None:
        verifyObject(IPolicyForHTTPS, self.make(None))

    def test_nothing_to_look_at(self) -> None:
        """The system's roots are nobody's file here."""
        self.assertEqual([self.make(None).changes, self.make(self.one.authority).changes], [False, True])

    def test_mistakes(self) -> None:
        """They name the setting."""
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
