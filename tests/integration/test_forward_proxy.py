"""Agents and confdctl behind a forward proxy: the only way to a controller that no resolver knows."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from urllib.parse import urlsplit

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.headers import basic_authorization
from tests.cli.harness import CommandResult
from tests.integration.certificates import make_certificate
from tests.integration.commands import confdctl
from tests.integration.fleet import eventually, hit, staged

#: The URL of the controller with a name that only the proxy knows.
HOST = "controller.test"

_USER, _PASSWORD = "me", "p@ss"
_OWN = basic_authorization(_USER, _PASSWORD)


@define(eq=False)
class ForwardProxy:
    """
    A small HTTP proxy that demands credentials, and connects to this machine for every host.

    @ivar asked: The first line of each request.
    @ivar leaked: Whether a forwarded request had the credentials for the proxy.
    """

    listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    asked: list[str] = field(factory=list)

    @property
    def url(self) -> str:
        """The address with the credentials."""
        return f"http://{_USER}:p%40ss@127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        """Accept connections until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Close the listener."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            data = b""
            while b"\r\n\r\n" not in data:
                piece = client.recv(65536)
                if not piece:
                    return
                data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            line, *headers = head.split(b"\r\n")
            method, target, _ = line.decode().split(" ")
            self.asked.append(f"{method} {target}")
            own = [each for each in headers if each.lower().startswith(b"proxy-authorization:")]
            if [each.partition(b": ")[2] for each in own] != [_OWN]:
                client.sendall(b"HTTP/1.1 407 Credentials\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
            with socket.create_connection(("127.0.0.1", parts.port or 0)) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Go\r\nX-By: test\r\n\r\n")
                else:
                    kept = [each for each in headers if each not in own and not each.lower().startswith(b"connection:")]
                    path = parts.path + (f"?{parts.query}" if parts.query else "")
                    start = f"{method} {path} HTTP/1.1".encode()
                    server.sendall(b"\r\n".join([start, *kept, b"Connection: close", b"", body]))
                back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
                back.start()
                _pass_on(client, server)
                back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


class ForwardProxyTests(SynchronousTestCase):
    """Real processes with a real proxy."""

    def setUp(self) -> None:
        self.fleet, self.target = staged(self)
        self.proxy = ForwardProxy()
        threading.Thread(target=self.proxy.run, daemon=True).start()
        self.addCleanup(self.proxy.close)

    def ctl(self, url: str, *words: str, **environ: str) -> CommandResult:
        """Run confdctl."""
        folder = self.fleet.folder
        given = {"ADMIN_PASSWORD": "admin123", "HOME": str(folder)} | environ
        return confdctl("--url", url, *words, environ=given, folder=folder)

    def check(self, url: str, variable: str, *trusted: str, **more: str) -> None:
        """Publish with confdctl through the proxy, and have agents apply it: a POLLER and a STREAM agent."""
        workers = {}
        for strategy in ("POLLER", "STREAM"):
            workers[strategy] = worker = self.fleet.worker(f"worker-{strategy}").start()
            options = ("--controller-url", url, "--distribution-strategy", strategy, *trusted)
            agent = self.fleet.agent(worker, f"agent-{strategy}", *options)
            agent.environ |= {variable: self.proxy.url}
            agent.start()
        ended = self.ctl(url, "set", f"url={self.target}/through", "--yes", **{variable: self.proxy.url}, **more)
        self.assertEqual(ended.status, 0, ended.err)
        for worker in workers.values():
            eventually(lambda worker=worker: hit(worker) == "/through")
        eventually(lambda: "changes arrive by STREAM" in agent.log)
        self.assertNotIn(_PASSWORD, agent.log)
        self.assertNotIn("p%40ss", agent.log)

    def test_http(self) -> None:
        """Requests for http go to the proxy with whole URLs."""
        self.fleet.controller("--allowed-hosts", HOST).start()
        self.check(f"http://{HOST}:{self.fleet.port}", "http_proxy")
        paths = {each.partition("?")[0] for each in self.proxy.asked}
        base = f"http://{HOST}:{self.fleet.port}/api/v1"
        self.assertIn(f"GET {base}/stream", paths)
        self.assertIn(f"POST {base}/config", paths)
        self.assertFalse([each for each in paths if not each.partition(" ")[2].startswith(base)], paths)

    def test_https(self) -> None:
        """Of requests for https the proxy sees CONNECT only."""
        made = make_certificate(self.fleet.folder / "tls")
        listen = f"ssl:{self.fleet.port}:privateKey={made.key}:certKey={made.certificate}:interface=127.0.0.1"
        controller = self.fleet.controller("--listen", listen, "--allowed-hosts", HOST)
        controller.health = None
        controller.start(wait=False)
        eventually(lambda: socket.create_connection(("127.0.0.1", self.fleet.port)).close() or True)
        url, trusted = f"https://{HOST}:{self.fleet.port}", ("--controller-ca-file", str(made.authority))
        self.check(url, "HTTPS_PROXY", *trusted, CONFD_CA_FILE=str(made.authority))
        self.assertEqual(set(self.proxy.asked), {f"CONNECT {HOST}:{self.fleet.port}"})

    def test_direct(self) -> None:
        """Requests to loopback and to the worker never use a proxy."""
        self.fleet.controller().start()
        worker = self.fleet.worker().start()
        agent = self.fleet.agent(worker, "agent")
        agent.environ |= {"CONTROLLER_PROXY": self.proxy.url, "HTTP_PROXY": "http://127.0.0.1:1"}
        agent.start()
        self.fleet.publish({"url": f"{self.target}/direct"})
        eventually(lambda: hit(worker) == "/direct")
        self.assertEqual(self.ctl(self.fleet.url, "status", HTTP_PROXY="http://127.0.0.1:1").status, 0)
        self.assertEqual(self.proxy.asked, [])

    def test_refusals(self) -> None:
        """The error names a proxy that refuses or is absent; an invalid URL is an error of the start."""
        port = self.proxy.listener.getsockname()[1]
        for proxy, words in ((f"http://127.0.0.1:{port}", "407"), ("http://127.0.0.1:1", "127.0.0.1:1 ")):
            for scheme in ("http", "https"):
                name = f"agent-{scheme}-{words.strip(' .:')[:3]}"
                agent = self.fleet.agent("http://127.0.0.1:1", name, "--controller-url", f"{scheme}://{HOST}:9")
                agent.environ["CONTROLLER_PROXY"] = proxy
                agent.start()
                eventually(lambda agent=agent, words=words: re.search(f"proxy.*{words}", agent.log))
                agent.stop()
                ended = self.ctl(f"{scheme}://{HOST}:9", "status", CONTROLLER_PROXY=proxy)
                self.assertRegex(ended.err, "[Pp]roxy")
                self.assertNotEqual(ended.status, 0)
        for name in ("CONTROLLER_PROXY", "http_proxy", "HTTPS_PROXY"):
            agent = self.fleet.agent("http://127.0.0.1:1", f"agent-{name}", "--controller-url", f"http://{HOST}:9")
            agent.environ[name] = "socks5://u:geheim@proxy:1"
            agent.start(wait=False)
            eventually(agent.gone)
            self.assertIn(f"{name.upper()}: must begin with http://", agent.log)
            self.assertNotIn("Traceback", agent.log)
            self.assertNotIn("geheim", agent.log)
            self.assertEqual(agent.stop(), 1)
            ended = self.ctl(f"http://{HOST}", "status", **{name: "socks5://u:geheim@proxy:1"})
            self.assertIn(f"{name.upper()}: must begin with http://", ended.err)
            self.assertNotIn("geheim", ended.err)
