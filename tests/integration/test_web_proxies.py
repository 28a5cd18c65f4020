"""The controller behind real web servers: what proxies do to streams, tags and paths."""

from __future__ import annotations

import http.client
import re
import socket
from base64 import b64encode
from pathlib import Path
from urllib.parse import urljoin

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fleet import ADMIN, eventually, hit, request, staged
from tests.integration.servers import Server, missing

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

    def test_recipes(self) -> None:
        """Everything works below the prefix of the recipes in the documents, also a STREAM agent."""
        server = recipe("nginx").replace("127.0.0.1:8080", "127.0.0.1:{upstream}")
        haproxy = recipe("text").replace("127.0.0.1:8080", "127.0.0.1:{upstream}")
        for kind, config in (
            (Nginx, nginx(server)),
            (HAProxy, haproxy.replace("bind :80", "bind 127.0.0.1:{port}")),
        ):
            with self.subTest(proxy=kind.__name__):
                self.check_below(f"{self.proxy(kind, config).url}/confd/", kind.__name__)

    def check_below(self, base: str, name: str) -> None:
        """Check that pages, lists and agents stay below a prefix."""
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
        worker = self.fleet.worker(f"worker-{name}").start()
        options = ("--controller-url", base, "--distribution-strategy", "STREAM")
        agent = self.fleet.agent(worker, f"agent-{name}", *options).start()
        eventually(lambda: "changes arrive by STREAM" in agent.log)
        self.fleet.publish({"url": f"{self.target}/below-{name}"})
        eventually(lambda: hit(worker) == f"/below-{name}")


def _until(response: http.client.HTTPResponse, wanted: bytes) -> bytes:
    """Read a stream until something has come; a silence raises a timeout."""
    found = b""
    while wanted not in found:
        piece = response.read1(65536)
        if not piece:
            raise AssertionError(f"the stream ended after {found!r}")
        found += piece
    return found
