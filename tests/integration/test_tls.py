"""TLS from end to end in real processes: trust, client certificates, and renewal."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import warnings
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.certificates import Certificate, make_certificate
from tests.integration.fleet import Process, eventually, free_port, staged


class TlsTests(SynchronousTestCase):
    """A controller that requires certificates, a worker with a certificate, and their agent."""

    def setUp(self) -> None:
        self.fleet, self.target = staged(self)
        self.folder = self.fleet.folder
        self.server, self.client, self.stranger = (
            make_certificate(self.folder / name) for name in ("server", "client", "stranger")
        )
        self.worker_port = free_port()
        where = f"interface=127.0.0.1:privateKey={self.server.key}:certKey={self.server.certificate}"
        trusted = ["--controller-ca-file", str(self.server.authority), "--worker-ca-file", str(self.server.authority)]
        shown = ["--controller-cert-file", str(self.client.certificate), "--controller-key-file", str(self.client.key)]
        self.controller = self.start(
            "confd-controller",
            "--listen",
            f"ssl:{self.fleet.port}:{where}",
            "--client-ca-file",
            str(self.client.authority),
            "--default-poll-interval=1",
            "--default-config",
            f'{{"url": "{self.target}/over-tls"}}',
        )
        self.worker = self.start("confd-worker", "--listen", f"ssl:{self.worker_port}:{where}")
        self.agent = self.start(
            "confd-agent",
            "--controller-url",
            f"https://127.0.0.1:{self.fleet.port}",
            "--worker-url",
            f"https://127.0.0.1:{self.worker_port}",
            *trusted,
            *shown,
        )

    def start(self, command: str, *options: str) -> Process:
        """Start a process, and return it once its log says that it is up."""
        process = self.fleet.add(command, [command, *options]).start(wait=False)
        eventually(lambda: f"{command} is up" in process.log)
        return process

    def context(self, trusted: Certificate, shown: Certificate | None, newest: Any = None) -> ssl.SSLContext:
        """Return the TLS context of a client: its trusted authority, its certificate and its newest version of TLS."""
        made = ssl.create_default_context(cafile=str(trusted.authority))
        if shown is not None:
            made.load_cert_chain(shown.certificate, shown.key)
        if newest is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                made.minimum_version = made.maximum_version = newest
            made.set_ciphers("ALL:@SECLEVEL=0")
        return made

    def get(self, port: int, path: str, context: ssl.SSLContext) -> bytes:
        """Return the answer to a GET, with its head."""
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            secured.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: secured.recv(65536), b""))

    def test_from_end_to_end(self) -> None:
        """Both ends trust each other's certificates, and a client without a certificate is refused."""
        good = self.context(self.server, None)
        eventually(lambda: b"/over-tls" in self.get(self.worker_port, "/hit", good))
        known = self.context(self.server, self.client)
        self.assertIn(b'{"status":"ok"}', self.get(self.fleet.port, "/health", known))
        for refused in (
            self.context(self.server, None),
            self.context(self.server, self.stranger),
            self.context(self.stranger, self.client),
            self.context(self.server, self.client, ssl.TLSVersion.TLSv1_1),
            self.context(self.server, self.client, ssl.TLSVersion.TLSv1),
        ):
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                self.assertEqual(self.get(self.fleet.port, "/health", refused), b"", "answered")
                raise ConnectionError("closed without an answer")

    def test_expiry(self) -> None:
        """The metrics and the log of each role say when its certificates expire, here within a day."""
        known = self.context(self.server, self.client)
        for port, settings in ((self.fleet.port, ("LISTEN", "CLIENT_CA_FILE")), (self.worker_port, ("LISTEN",))):
            shown = self.get(port, "/metrics", known).decode()
            for setting in settings:
                self.assertRegex(shown, rf'confd_certificate_expiry_seconds{{certificate="{setting}"}} [1-9]')
        self.assertIn(f"CONTROLLER_CERT_FILE: a certificate in {self.client.certificate} expires at", self.agent.log)

    def test_renewed(self) -> None:
        """A certificate of another authority replaces the first without a restart."""
        good = self.context(self.server, None)
        eventually(lambda: b"/over-tls" in self.get(self.worker_port, "/hit", good))
        fresh = make_certificate(self.folder / "fresh")
        with self.server.authority.open("ab") as file:
            file.write(fresh.authority.read_bytes())
        self.server.key.write_bytes(fresh.key.read_bytes())
        self.server.certificate.write_bytes(fresh.certificate.read_bytes())
        reloaded_files = self.context(fresh, self.client)

        def served() -> bool:
            try:
                return b"ok" in self.get(self.fleet.port, "/health", reloaded_files)
            except ssl.SSLError:
                return False

        eventually(served)
        eventually(lambda: self.agent.log.count("reloaded ") == 2)
        self.publish("after-it", reloaded_files)
        hit = self.context(fresh, None)
        eventually(lambda: b"/after-it" in self.get(self.worker_port, "/hit", hit))

    def test_certificates_renewed_in_place_are_used_after_sighup(self) -> None:
        """SIGHUP loads certificates whose files keep their time, size and inode."""
        old_server, old_client = self.context(self.server, None), self.context(self.server, self.client)
        eventually(lambda: b"/over-tls" in self.get(self.worker_port, "/hit", old_server))
        for renewed in (self.server, self.client):
            _replace_unnoticed(renewed, self.folder / "spare")
        self.assertIn(b"ok", self.get(self.fleet.port, "/health", old_client))
        for process in (self.controller, self.worker, self.agent):
            process.signal(signal.SIGHUP)
        new_server, new_client = self.context(self.server, None), self.context(self.server, self.client)

        def serves(port: int, context: ssl.SSLContext) -> bool:
            with contextlib.suppress(ssl.SSLError):
                return b"ok" in self.get(port, "/health", context)
            return False

        eventually(lambda: serves(self.fleet.port, new_client) and serves(self.worker_port, new_server))
        eventually(lambda: self.agent.log.count("reloaded ") == 2)
        for process in (self.controller, self.worker):
            # The agent has no old connection left.
            process.stop()
            process.start(wait=False)
        eventually(lambda: serves(self.fleet.port, new_client) and serves(self.worker_port, new_server))
        self.publish("renewed", new_client)
        eventually(lambda: b"/renewed" in self.get(self.worker_port, "/hit", new_server))

    def publish(self, path: str, context: ssl.SSLContext) -> None:
        """Publish a document that names a page of the target."""
        body = f'{{"url": "{self.target}/{path}"}}'
        with (
            socket.create_connection(("127.0.0.1", self.fleet.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            secured.sendall(
                "POST /api/v1/config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                "Authorization: Basic YWRtaW46YWRtaW4xMjM=\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            self.assertIn(b" 200 ", secured.recv(65536))


def _replace_unnoticed(old: Certificate, folder: Path) -> None:
    """Overwrite certificate, key and authority with others, without a difference in C{stat}."""

    def files(found: Certificate) -> list[Path]:
        return [found.certificate, found.key, found.authority, found.authority_key]

    def sizes(found: Certificate) -> list[int]:
        return [each.stat().st_size for each in files(found)]

    # The length of a signature varies by a byte or two.
    fresh = next(each for each in iter(lambda: make_certificate(folder), None) if sizes(each) == sizes(old))
    for source, place in zip(files(fresh), files(old), strict=True):
        before = place.stat()
        place.write_bytes(source.read_bytes())
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
