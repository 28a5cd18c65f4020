"""Certificates that cannot be trusted, over real TLS: an agent's client and confdctl say the same."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import TestCase
from twisted.web.client import HTTPConnectionPool

from confd.cli.transport import Transport, Unreached
from confd.client.http import Http
from confd.client.web_agent import web_agent
from confd.errors import Unavailable
from confd.runtime.tls import ClientTls
from tests.integration.certificates import Certificate, make_certificate


class CertificateTests(TestCase):
    """A server on loopback whose certificate is wrong."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()

    def serve(self, shown: Certificate, clients: Path | None = None) -> str:
        """Accept connections until the test ends, of clients of that authority if one is given; return the URL."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.certificate, shown.key)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        listening = socket.create_server(("127.0.0.1", 0))
        listening.settimeout(10)

        def accept() -> None:
            # The close of the socket ends the loop.
            with contextlib.suppress(OSError):
                while True:
                    peer = listening.accept()[0]
                    peer.settimeout(10)
                    with peer, contextlib.suppress(OSError), context.wrap_socket(peer, server_side=True) as secured:
                        secured.recv(65536)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()

        def end() -> None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            thread.join(10)

        self.addCleanup(end)
        return f"https://127.0.0.1:{listening.getsockname()[1]}"

    async def said(self, shown: Certificate, authority: Path) -> tuple[str, str]:
        """Return the errors of an agent's client and of confdctl for a certificate."""
        url = self.serve(shown)
        tls = ClientTls(reactor, maybeDeferred, "CONTROLLER", str(authority))  # type: ignore[arg-type]
        http = Http(reactor, web_agent(reactor, HTTPConnectionPool(reactor, False), tls), None, None)
        try:
            await http.call("The controller", "GET", url)
        except Unavailable as error:
            agent = error.message
        else:
            self.fail("The agent trusts it.")
        try:
            Transport(url, str(authority)).exchange("GET", "/", {}, None, 5.0)
        except Unreached as failure:
            return agent, failure.sentence
        self.fail("confdctl trusts it.")

    async def assert_both(self, shown: Certificate, authority: Path, words: str) -> None:
        """Assert that both errors name the same reason."""
        said = await self.said(shown, authority)
        for sentence in said:
            self.assertIn(f"cannot be reached: its certificate {words}", sentence)

    async def test_expired(self) -> None:
        made = make_certificate(self.folder, -2, -1)
        await self.assert_both(made, made.authority, "has expired; renew it")

    async def test_not_yet_valid(self) -> None:
        made = make_certificate(self.folder, 1, 2)
        await self.assert_both(made, made.authority, "is not valid yet; check")

    async def test_misnamed(self) -> None:
        made = make_certificate(self.folder, address="127.0.0.9")
        await self.assert_both(made, made.authority, "is not trusted for this address")

    async def test_untrusted(self) -> None:
        made = make_certificate(self.folder / "one")
        other = make_certificate(self.folder / "other")
        await self.assert_both(made, other.authority, "is from an authority that is not trusted here")

    async def test_self_signed(self) -> None:
        made = make_certificate(self.folder / "one")
        alone = Certificate(made.authority, made.authority_key, made.authority, made.authority_key)
        other = make_certificate(self.folder / "other")
        await self.assert_both(alone, other.authority, "is self-signed and not trusted here")

    async def test_own_certificate(self) -> None:
        """A server refuses the certificate of an agent, or asks for a certificate that the agent lacks."""
        server, other = make_certificate(self.folder / "server"), make_certificate(self.folder / "other")
        expired = make_certificate(self.folder / "expired", -2, -1)
        for own, words in (
            (expired, "it refuses the certificate of this client, which has expired"),
            (None, "it requires a client certificate"),
            (other, "it does not trust the authority of this client's certificate"),
        ):
            with self.subTest(words=words):
                files = [] if own is None else [str(own.certificate), str(own.key)]
                url = self.serve(server, expired.authority)
                tls = ClientTls(reactor, maybeDeferred, "CONTROLLER", str(server.authority), *files)  # type: ignore[arg-type]
                http = Http(reactor, web_agent(reactor, HTTPConnectionPool(reactor, False), tls), None, None)
                with self.assertRaises(Unavailable) as raised:
                    await http.call("The controller", "GET", url)
                self.assertIn(words, raised.exception.message)
