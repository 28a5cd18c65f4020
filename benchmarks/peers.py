"""The alternatives to confd in Debian, on free loopback ports, with their data on disk."""

from __future__ import annotations

import socket
from base64 import b64encode
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks import etcd_dialect
from tests.integration.fleet import eventually, free_port, request
from tests.integration.servers import Server

#: The one key of etcd, in Base64.
ETCD_KEY = b64encode(etcd_dialect.KEY).decode()

_NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    upstream behind {{ server 127.0.0.1:{behind}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port}; root .; types {{ application/json json; }}
        location /proxy/ {{ proxy_pass http://behind/; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""


@define(eq=False)
class Nginx(Server):
    """
    An nginx with one worker, which serves C{/config.json} from a file, and proxies C{/proxy/}.

    @ivar behind: the port on loopback that C{/proxy/} leads to.
    """

    behind: int = 9

    def command(self) -> list[str]:
        """Write the served files, and return the command line."""
        (self.folder / "config.json").write_text('{"url": "https://ip.me", "pad": "%s"}' % ("x" * 400))
        (self.folder / "nginx.conf").write_text(_NGINX.format(port=self.port, behind=self.behind))
        return ["nginx", "-p", str(self.folder), "-c", "nginx.conf"]

    def greets(self, connection: socket.socket) -> bool:
        """Return true: nginx that takes a connection is ready."""
        return True

    @property
    def worker(self) -> int:
        """Return the id of the worker process; the parent listens a moment before the worker starts."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return int(eventually(lambda: children.read_text().split())[0])


@define(eq=False)
class EtcdServer(Server):
    """A cluster of one C{etcd}, used through its JSON gateway; each put is on disk before its answer."""

    peer_port: int = field(factory=free_port)

    def command(self) -> list[str]:
        """Return the command line."""
        ours, peers = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peer_port}"
        addresses = ["--listen-client-urls", ours, "--advertise-client-urls", ours, "--listen-peer-urls", peers]
        addresses += ["--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"]
        return ["etcd", "--data-dir", str(self.folder / "data"), *addresses, "--logger", "zap", "--log-level", "error"]

    def greets(self, connection: socket.socket) -> bool:
        """Return whether etcd accepts a put."""
        return bool(self.call("put", key=ETCD_KEY, value="").status == 200)

    def call(self, what: str, **body: Any) -> Any:
        """Call the gateway, and return its answer."""
        return request("POST", f"http://127.0.0.1:{self.port}/v3/kv/{what}", body)
