"""The controller behind real web servers: what proxies do to streams, tags and paths."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from attrs import define
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.browser import MISSING, browser, visit, write_document
from tests.integration.commands import confdctl
from tests.integration.fleet import ADMIN, PATIENCE, clean_environment, eventually, hit, request, staged
from tests.integration.servers import Server, missing
from tests.integration.test_swagger import sign_in, try_out

_NGINX = """
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""

_STOCK = "location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_set_header Host $http_host; }}"

_GZIP = "gzip on; gzip_proxied any; gzip_types *; gzip_min_length 1;"

_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend web
    bind 127.0.0.1:{port}
    default_backend confd
backend confd
    server confd 127.0.0.1:{upstream}
"""


@define(eq=False)
class WebProxy(Server):
    """
    A proxy before a controller.

    @ivar upstream: the port of the controller.
    @ivar config: its configuration file, with places for C{port} and C{upstream}.
    """

    upstream: int = 0
    config: str = ""

    def greets(self, connection: socket.socket) -> bool:
        """Whether it is up: it takes connections."""
        return True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def write(self) -> str:
        """Write its configuration; return the path."""
        path = (self.folder / "proxy.conf").resolve()
        path.write_text(self.config.format(port=self.port, upstream=self.upstream))
        return str(path)


class Nginx(WebProxy):
    """C{nginx}."""

    def command(self) -> list[str]:
        """Its command line."""
        return ["nginx", "-e", "stderr", "-p", str(self.folder.resolve()), "-c", self.write()]


class HAProxy(WebProxy):
    """C{haproxy}."""

    def command(self) -> list[str]:
        """Its command line."""
        return ["haproxy", "-db", "-f", self.write()]


def nginx(server: str) -> str:
    """Return an nginx configuration; C{server} is what its server block holds."""
    return _NGINX.replace("{server}", server)


def recipe(language: str) -> str:
    """Return the first recipe in a language in the page on proxies, ready for L{str.format}."""
    page = (Path(__file__).parents[2] / "docs" / "proxies.rst").read_text()
    block = page.partition(f".. code-block:: {language}\n\n")[2]
    lines = []
    for line in block.splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line[3:])
    return "\n".join(lines).replace("{", "{{").replace("}", "}}") + "\n"


_KINDS: dict[str, tuple[type[WebProxy], str]] = {
    "stock": (Nginx, nginx(_STOCK)),
    "gzip": (Nginx, nginx(_GZIP + _STOCK)),
    "http/1.1": (Nginx, nginx('proxy_http_version 1.1; proxy_set_header Connection "";' + _STOCK)),
    "haproxy": (HAProxy, _HAPROXY),
}


class ProxyTests(SynchronousTestCase):
    """Agents, administrators and pages that reach the controller through a proxy."""

    skip = missing("nginx") or missing("haproxy")

    def setUp(self) -> None:
        self.fleet, self.target = staged(self)
        self.controller = self.fleet.controller().start()

    def proxy(self, kind: type[WebProxy], config: str) -> WebProxy:
        """Start a proxy before the controller."""
        folder = self.fleet.folder / f"proxy{len(list(self.fleet.folder.glob('proxy*')))}"
        proxy = kind(folder, upstream=self.fleet.port, config=config)
        self.addCleanup(proxy.stop)
        proxy.start()
        return proxy

    def opened(self, proxy: WebProxy, path: str, auth: tuple[str, str], **headers: str) -> http.client.HTTPResponse:
        """Open a stream of events."""
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=8)
        self.addCleanup(connection.close)
        basic = "Basic " + b64encode(":".join(auth).encode()).decode()
        connection.request("GET", path, headers={"Authorization": basic, **headers})
        response = connection.getresponse()
        self.assertEqual(response.status, 200)
        return response

    def test_streams(self) -> None:
        """Every event passes while the answer is still open."""
        for name, (kind, config) in _KINDS.items():
            with self.subTest(proxy=name):
                proxy = self.proxy(kind, config)
                stream = self.opened(proxy, "/api/v1/stream", ("agent", "secret123"))
                events = self.opened(proxy, "/api/v1/events", ADMIN)
                self.assertIn(b"event: ", _until(stream, b"event: config"))
                document = {"url": f"{self.target}/{name}"}
                self.fleet.publish(document)
                self.assertIn(document["url"].encode(), _until(stream, document["url"].encode()))
                _until(events, b"event: config")

    def test_tags(self) -> None:
        """A proxy that compresses weakens tags: a caller with such a tag is up to date nevertheless."""
        proxy = self.proxy(Nginx, nginx(_GZIP + _STOCK))
        auth = ("agent", "secret123")
        first = self.opened(proxy, "/api/v1/config", auth, **{"Accept-Encoding": "gzip"})
        self.assertEqual((first.headers["ETag"] or "")[:3], 'W/"')
        self.assertEqual(first.headers["Content-Encoding"], "gzip")
        worker = self.fleet.worker().start()
        self.fleet.publish({"url": f"{self.target}/through"})
        self.fleet.agent(worker, "agent", "--controller-url", proxy.url).start()
        eventually(lambda: hit(worker) == "/through")

    def recipes(self) -> Iterator[tuple[str, str]]:
        """Start a proxy by each tested recipe of the documents; yield its name and the address below its prefix."""
        server = recipe("nginx").replace("127.0.0.1:8080", "127.0.0.1:{upstream}")
        haproxy = recipe("text").replace("127.0.0.1:8080", "127.0.0.1:{upstream}")
        for kind, config in (
            (Nginx, nginx(server)),
            (HAProxy, haproxy.replace("bind :80", "bind 127.0.0.1:{port}")),
        ):
            with self.subTest(proxy=kind.__name__):
                yield kind.__name__, f"{self.proxy(kind, config).url}/confd/"

    def test_links_lists_and_stream_agents_work_below_a_prefix(self) -> None:
        for name, base in self.recipes():
            self.check_links(base)
            self.check_agent(base, name)

    def test_pages_work_below_a_prefix_in_a_browser(self) -> None:
        if MISSING:
            raise SkipTest(MISSING)
        with browser() as chromium:
            for name, base in self.recipes():
                self.check_pages(chromium, base, name)

    def test_confdctl_works_below_a_prefix(self) -> None:
        for number in range(501):
            body = {"agent_id": f"agent-{number}", "hostname": "h"}
            status = request("POST", f"{self.fleet.url}/api/v1/register", body, ("agent", "secret123")).status
            self.assertEqual(status, 200)
        for name, base in self.recipes():
            self.check_confdctl(base, name)

    def check_links(self, base: str) -> None:
        """Check that the links of pages, of the API document and of lists stay below a prefix."""
        page = request("GET", base, auth=ADMIN).body.decode()
        found = [each for each in re.findall(r'(?:href|src)="([^"#]+)"', page) if not each.startswith("data:")]
        self.assertGreaterEqual(len(found), 3)
        for each in found:
            self.assertEqual(request("GET", urljoin(base, each), auth=ADMIN).status, 200, each)
        api = request("GET", f"{base}openapi.json").json()
        self.assertEqual(urljoin(f"{base}openapi.json", api["servers"][0]["url"]), base)
        for agent_id in ("1", "2"):
            request("POST", f"{base}api/v1/register", {"agent_id": agent_id}, ("agent", "secret123"))
        agents = f"{base}api/v1/agents?limit=1"
        first = request("GET", agents, auth=ADMIN)
        target = first.headers["link"].partition("<")[2].partition(">")[0]
        second = request("GET", urljoin(agents, target), auth=ADMIN)
        known = [each["id"] for each in request("GET", f"{base}api/v1/agents", auth=ADMIN).json()]
        self.assertEqual([each["id"] for page in (first, second) for each in page.json()], known[:2])

    def check_agent(self, base: str, name: str) -> None:
        """Check that a STREAM agent applies a publish through a prefix."""
        worker = self.fleet.worker(f"worker-{name}").start()
        options = ("--controller-url", base, "--distribution-strategy", "STREAM")
        agent = self.fleet.agent(worker, f"agent-{name}", *options).start()
        eventually(lambda: "changes arrive by STREAM" in agent.log)
        self.fleet.publish({"url": f"{self.target}/below-{name}"})
        eventually(lambda: hit(worker) == f"/below-{name}")

    def check_pages(self, chromium: Any, base: str, name: str) -> None:
        """Publish on the dashboard, see another publish arrive, and send an operation from the page of the API."""
        outside: list[str] = []

        def record(sent: Any) -> None:
            if not sent.url.startswith((base, "data:")):
                outside.append(sent.url)

        with visit(chromium, base.removesuffix("/confd/")) as visiting:
            page = visiting.page
            page.on("request", record)
            page.goto(f"{base}#configuration/default")
            write_document(page, f'{{"url": "{self.target}/typed-{name}"}}')
            page.get_by_role("button", name="Review and publish").click()
            page.get_by_role("button", name="Publish as version").click()
            page.get_by_text("is published.").first.wait_for()
            self.assertEqual(self.fleet.current()["data"]["url"], f"{self.target}/typed-{name}")
            page.goto(f"{base}#overview/default")
            for comment in (f"shown-{name}", f"documented-{name}"):
                # The page is there when the second is published, so that only an event can tell it.
                self.fleet.publish({"url": f"{self.target}/{comment}"}, comment=comment)
                page.get_by_text(comment).first.wait_for()
            page.goto(f"{base}swagger/index.html")
            sign_in(page)
            self.assertIn(self.fleet.current()["checksum"], try_out(page, "get_api_v1_config"))
        self.assertEqual((visiting.complaints, outside), ([], []))

    def check_confdctl(self, base: str, name: str) -> None:
        """Publish, read, list more than one page, and watch."""
        command = [sys.executable, "-m", "confd.cli", "--url", base]

        def run(*words: str) -> str:
            done = confdctl("--url", base, *words, environ=clean_environment(), folder=self.fleet.folder)
            self.assertEqual(done.status, 0, done.err)
            return done.out

        url = f"{self.target}/typed-{name}"
        with subprocess.Popen(
            [*command, "watch", "--only", "config", "--count", "2"],
            env=clean_environment(), stdout=subprocess.PIPE, text=True,
        ) as watching:  # fmt: skip
            self.addCleanup(watching.kill)
            assert watching.stdout is not None
            watching.stdout.readline()
            self.assertIn("Published version", run("set", f"url={url}", "--yes"))
            self.assertIn(" by admin", watching.stdout.readline())
            self.assertEqual(watching.wait(PATIENCE), 0)
        self.assertEqual(run("get", "url"), f"{url}\n")
        self.assertIn("admin", run("history"))
        self.assertIn("501: ", run("status"))
        self.assertEqual(len(json.loads(run("agents", "--limit", "1000", "-o", "json"))), 501)


def _until(response: http.client.HTTPResponse, wanted: bytes) -> bytes:
    """Read a stream until something has come; a silence raises a timeout."""
    found = b""
    while wanted not in found:
        piece = response.read1(65536)
        if not piece:
            raise AssertionError(f"the stream ended after {found!r}")
        found += piece
    return found
