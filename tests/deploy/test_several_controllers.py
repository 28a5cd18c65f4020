"""The files for several controllers: balancers, units of systemd, and the recipe for a site."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.deploy.test_units import UNITS, with_programs_of_here
from tests.integration.fleet import eventually, free_port

DEPLOY = UNITS.parent
HAPROXY, NGINX, NATS = (
    shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin") for name in ("haproxy", "nginx", "nats-server")
)


class UnitTests(SynchronousTestCase):
    """The template for several controllers on one machine."""

    def test_differs_from_the_unit_of_one_controller_in_its_database_only(self) -> None:
        one = (UNITS / "confd-controller.service").read_text().splitlines()
        template = (UNITS / "confd-controller@.service").read_text().splitlines()
        changes = [line for line in difflib.ndiff(one, template) if line[0] in "+-" and not line[2:].startswith("#")]
        for line in changes:
            self.assertRegex(
                line,
                "%i|controller.socket|DATABASE_URL|database-url|DB_PATH|(confd |[/=]confd-)controller$",
            )
        self.assertIn("+ Environment=DATABASE_URL_FILE=%d/database-url", changes)

    def test_port_is_shared(self) -> None:
        socket = (UNITS / "confd-controller@.socket").read_text()
        self.assertIn("\nReusePort=yes\n", socket)
        self.assertIn("\nListenStream=8080\n", socket)

    def test_valid(self) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        for file in UNITS.glob("confd-controller@.*"):
            (folder / file.name).write_text(with_programs_of_here(file.read_text()))
        done = subprocess.run(
            ["systemd-analyze", "verify", str(folder / "confd-controller@.service")], capture_output=True, text=True
        )
        self.assertEqual([line for line in (done.stdout + done.stderr).splitlines() if "confd" in line], [])

    test_valid.skip = None if shutil.which("systemd-analyze") else "there is no systemd-analyze here"  # type: ignore[attr-defined]


class Stub(BaseHTTPRequestHandler):
    """Answers as a controller that may not be ready, with its name."""

    statuses: ClassVar[dict[str, int]]
    name: ClassVar[str]

    def do_GET(self) -> None:
        body = self.name.encode()
        self.send_response(self.statuses.get(self.path, 200))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # A check of a balancer does not wait for the body.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


class BalancerTests(SynchronousTestCase):
    """C{deploy/balancer}, by the real programs before two stubs."""

    def stub(self, name: str) -> tuple[Any, int]:
        """Start a stub; return its handler and its port."""
        handler = type("Named", (Stub,), {"name": name, "statuses": {}})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return handler, server.server_address[1]

    def balance(self, text: str, command: list[str]) -> None:
        """Run a balancer on a file until the test is over; C{FILE} stands for the file."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        file = folder / "balancer.conf"
        file.write_text(text.replace("FOLDER", str(folder)))
        words = [word.replace("FILE", str(file)) for word in command]
        nowhere = subprocess.DEVNULL
        process = subprocess.Popen(
            words, stdin=nowhere, stdout=nowhere, stderr=nowhere, cwd=folder, start_new_session=True
        )
        self.addCleanup(process.wait)
        # The workers of nginx outlive a master that is killed alone.
        self.addCleanup(os.killpg, process.pid, signal.SIGKILL)

    def get(self, port: int, path: str = "/api/v1/config") -> str:
        """Return the answer's body, or its status if it is no success; an empty text without an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return str(error.code)
        except OSError:
            return ""

    def test_haproxy(self) -> None:
        (a, first), (b, second) = self.stub("a"), self.stub("b")
        agents, operators = free_port(), free_port()
        text = (DEPLOY / "balancer/controllers-haproxy.cfg").read_text()
        for before, after in (
            ("10.0.0.1:8080", f"127.0.0.1:{first}"),
            ("10.0.0.2:8080", f"127.0.0.1:{second}"),
            ("bind :8080", f"bind 127.0.0.1:{agents}"),
            ("bind :8081", f"bind 127.0.0.1:{operators}"),
            ("inter 1s", "inter 50ms"),
        ):
            self.assertIn(before, text)
            text = text.replace(before, after)
        # The database of a is away: agents go to both, operators to b.
        a.statuses["/ready"] = 503
        assert HAPROXY is not None
        self.balance(text, [HAPROXY, "-db", "-f", "FILE"])
        eventually(lambda: {self.get(agents) for _ in range(4)} == {"a", "b"})
        eventually(lambda: {self.get(operators) for _ in range(4)} == {"b"})
        # Later a cannot check tokens.
        a.statuses["/ready/read"] = 503
        eventually(lambda: {self.get(agents) for _ in range(4)} == {"b"})
        a.statuses.clear()
        b.statuses.update({"/ready": 503, "/ready/read": 503})
        eventually(lambda: {self.get(port) for _ in range(4) for port in (agents, operators)} == {"a"})

    def test_nginx(self) -> None:
        (a, first), (_, second) = self.stub("a"), self.stub("b")
        port = free_port()
        site = (DEPLOY / "balancer/controllers-nginx.conf").read_text()
        for before, after in (
            ("10.0.0.1:8080", f"127.0.0.1:{first}"),
            ("10.0.0.2:8080", f"127.0.0.1:{second}"),
            ("listen 8080", f"listen 127.0.0.1:{port}"),
        ):
            self.assertIn(before, site)
            site = site.replace(before, after)
        assert NGINX is not None
        self.balance(_nginx(site), [NGINX, "-c", "FILE"])
        eventually(lambda: {self.get(port) for _ in range(4)} == {"a", "b"})
        a.statuses["/api/v1/config"] = 503
        # Each request that meets a goes on to b.
        self.assertEqual({self.get(port) for _ in range(8)}, {"b"})

    test_haproxy.skip = None if HAPROXY else "haproxy is not installed"  # type: ignore[attr-defined]
    test_nginx.skip = None if NGINX else "nginx is not installed"  # type: ignore[attr-defined]


class SiteTests(SynchronousTestCase):
    """C{deploy/site}."""

    def test_nginx(self) -> None:
        site = (DEPLOY / "site/nginx.conf").read_text()
        self.assertNotIn("proxy_cache", site)
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        file = folder / "nginx.conf"
        file.write_text(_nginx(site.replace("hub.example.com:443", "127.0.0.1:443")).replace("FOLDER", str(folder)))
        assert NGINX is not None
        done = subprocess.run([NGINX, "-t", "-c", str(file)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_nats(self) -> None:
        assert NATS is not None
        for name in ("nats-leaf.conf", "nats-hub.conf"):
            done = subprocess.run([NATS, "-t", "-c", str(DEPLOY / "site" / name)], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    test_nginx.skip = None if NGINX else "nginx is not installed"  # type: ignore[attr-defined]
    test_nats.skip = None if NATS else "nats-server is not installed"  # type: ignore[attr-defined]


def _nginx(site: str) -> str:
    """Return a whole file of nginx with the servers of a site, for an ordinary user."""
    paths = "".join(
        f"{each}_temp_path FOLDER/{each}; " for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    http = f"access_log off; error_log FOLDER/error; {paths}\n{site}"
    return f"daemon off; pid FOLDER/pid; error_log FOLDER/error; worker_processes 1; events {{}} http {{ {http} }}"
