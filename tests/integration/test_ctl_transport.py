"""Tests of L{confd.cli.transport} with real sockets: good, absent and misbehaving servers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificate
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import CommandError, Exit
from confd.cli.transport import MAX_ANSWER_BYTES, MIN_BYTES_PER_SECOND, Reply, Transport, Unreached
from tests.integration.certificates import make_certificate
from tests.integration.fleet import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Y: z\r\n\r\n{}"


def bytes_of(text: bytes) -> Callable[[socket.socket], None]:
    """Return a handler that reads a little and sends C{text}."""

    def serve(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(text)

    return serve


@contextlib.contextmanager
def server(serve: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a server that handles each connection with C{serve}; yield its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with (
                    contextlib.suppress(OSError),
                    peer,
                    tls.wrap_socket(peer, server_side=True) if tls else peer as got,
                ):
                    serve(got)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def exchange(url: str, timeout: float = 10, body: bytes | None = None, ca_file: str | None = None) -> Reply:
    """Send a request."""
    return Transport(url, ca_file).exchange("GET" if body is None else "POST", "/x", {}, body, timeout)


class TransportTests(SynchronousTestCase):
    """Good and bad servers."""

    def _refused(self, url: str, words: str, **how: object) -> Unreached:
        failure: Unreached = self.assertRaises(Unreached, exchange, url, **how)
        self.assertIs(failure.status, Exit.UNREACHABLE)
        self.assertIn(words, failure.sentence)
        return failure

    def test_answer(self) -> None:
        """The answer has status, headers and body; the request goes below the path of the URL."""
        asked: list[bytes] = []

        def serve(peer: socket.socket) -> None:
            asked.append(peer.recv(65536))
            peer.sendall(OK)

        with server(serve) as url:
            answer = exchange(f"{url}/below")
        self.assertEqual((answer.status, answer.headers["x-y"], answer.body), (200, "z", b"{}"))
        self.assertTrue(asked[0].startswith(b"GET /below/x HTTP/1.1\r\n"))

    def test_nobody(self) -> None:
        """Without a listener, or with an unknown host, the request was not sent."""
        for url in (f"http://127.0.0.1:{free_port()}", "http://nowhere.invalid", f"http://{'a' * 70}"):
            self.assertFalse(self._refused(url, "No controller answers").asked)

    def test_silence(self) -> None:
        """A head has one deadline, for a silent server and for a server that sends it letter by letter."""
        over = threading.Event()

        def trickle(peer: socket.socket) -> None:
            peer.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not over.wait(0.01):
                peer.sendall(b"x")

        for serve in (lambda peer: over.wait(10), trickle):
            with server(serve) as url:
                self.assertTrue(self._refused(url, "in time", timeout=0.3).asked)
                over.set()
            over.clear()

    def test_a_slow_answer(self) -> None:
        """An answer that keeps coming may last longer than the timeout; a silence may not."""
        piece, over = b"x" * MIN_BYTES_PER_SECOND, threading.Event()

        def slow(peer: socket.socket) -> None:
            peer.recv(65536)
            peer.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {4 * len(piece)}\r\n\r\n".encode())
            for _ in range(4):
                over.wait(1)
                peer.sendall(piece)

        with server(slow) as url:
            self.assertEqual(exchange(url, timeout=3).body, 4 * piece)

        def silent(peer: socket.socket) -> None:
            for _ in range(10):
                peer.recv(MIN_BYTES_PER_SECOND)
            peer.sendall(OK[:-1])
            over.wait(5)
            peer.sendall(OK[-1:])

        with server(silent) as url:
            self._refused(url, "in time", timeout=0.3, body=10 * piece)
            over.set()

    def test_rubbish(self) -> None:
        """Answers that are no HTTP, cut off, or endless."""
        for text in (b"SSH-2.0\r\n", b"", OK[:-1], b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500 + b"\r\n"):
            with self.subTest(text=text[:20]), server(bytes_of(text)) as url:
                self.assertTrue(self._refused(url, url).asked)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_ANSWER_BYTES + 1}\r\n\r\n".encode()
        with server(bytes_of(head + b"x" * (MAX_ANSWER_BYTES + 1))) as url:
            failure = self.assertRaises(CommandError, exchange, url)
            self.assertIs(failure.status, Exit.FAILED)

    def test_early_refusal(self) -> None:
        """The refusal of a server that has not read the whole body arrives."""

        def serve(peer: socket.socket) -> None:
            peer.recv(1024)
            peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 20):
                pass

        with server(serve) as url:
            self.assertEqual(exchange(url, body=b"x" * 4_000_000).status, 413)

    def test_tls(self) -> None:
        """Certificates are verified, also by an authority of the user."""
        made = make_certificate(Path(self.mktemp()).resolve())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.certificate, made.key)
        with server(bytes_of(OK), context) as url:
            self.assertEqual(exchange(url, ca_file=str(made.authority)).status, 200)
            expiry = Transport(url, str(made.authority)).certificate_expiry(10)
            self.assertEqual(expiry, load_pem_x509_certificate(made.certificate.read_bytes()).not_valid_after_utc)
            self._refused(url, "--ca-file")
            self._refused(url.replace("127.0.0.1", "localhost"), "not trusted", ca_file=str(made.authority))
            self._refused(url.replace("https", "http"), url.replace("https", "http"))
        with server(bytes_of(OK)) as url:
            self.assertIsNone(Transport(url, None).certificate_expiry(10))
            self._refused(url.replace("http", "https"), "begins with http://")
        for path in ("/nonexistent", str(made.key)):
            failure = self.assertRaises(CommandError, Transport, "https://x", path)
            self.assertIs(failure.status, Exit.USAGE)

    def test_stream(self) -> None:
        """The pieces of a stream arrive at once; a silence or a refusal ends it."""
        go = threading.Event()

        def serve(peer: socket.socket) -> None:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            go.wait(10)
            peer.sendall(b"3\r\ntwo\r\n")
            over.wait(10)

        over = threading.Event()
        with server(serve) as url:
            found = Transport(url, None).stream("/x", {}, 1.5)
            self.assertEqual(next(found), Reply(200, {"transfer-encoding": "chunked"}, b""))
            self.assertEqual(next(found), b"one")
            go.set()
            self.assertEqual(next(found), b"two")
            self.assertRaises(Unreached, next, found)
            over.set()
        refusal = b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}"
        with server(bytes_of(refusal)) as url:
            (answer,) = Transport(url, None).stream("/x", {}, 10)
            self.assertEqual((answer.status, answer.body), (404, b"{}"))
