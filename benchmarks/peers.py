"""What people would pick instead, as Debian has it: on free loopback ports, and keeping what it is told on disk."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks.dialects import ETCD_KEY
from tests.integration.fleet import eventually, free_port, request
from tests.integration.servers import Server

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
    One worker that serves C{/config.json} from a file, and passes on what is below C{/proxy/}.

    @ivar behind: the port on loopback that it passes on to.
    """

    behind: int = 9

    def command(self) -> list[str]:
        """Its command line, once what it serves is written."""
        (self.folder / "config.json").write_text('{"url": "https://ip.me", "pad": "%s"}' % ("x" * 400))
        (self.folder / "nginx.conf").write_text(_NGINX.format(port=self.port, behind=self.behind))
        return ["nginx", "-p", str(self.folder), "-c", "nginx.conf"]

    def greets(self, connection: socket.socket) -> bool:
        """Whether it takes connections, which it does."""
        return True

    @property
    def worker(self) -> int:
        """The process that does the work; its parent listens a moment before it is there."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return int(eventually(lambda: children.read_text().split())[0])


@define(eq=False)
class EtcdServer(Server):
    """C{etcd}, a cluster of one, by its JSON gateway; each put is on disk before it is answered."""

    peer_port: int = field(factory=free_port)

    def command(self) -> list[str]:
        """Its command line."""
        ours, peers = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peer_port}"
        addresses = ["--listen-client-urls", ours, "--advertise-client-urls", ours, "--listen-peer-urls", peers]
        addresses += ["--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"]
        return ["etcd", "--data-dir", str(self.folder / "data"), *addresses, "--logger", "zap", "--log-level", "error"]

    def greets(self, connection: socket.socket) -> bool:
        """Whether it takes a put."""
        return bool(self.call("put", key=ETCD_KEY, value="").status == 200)

    def call(self, what: str, **body: Any) -> Any:
        """One call of the gateway."""
        return request("POST", f"http://127.0.0.1:{self.port}/v3/kv/{what}", body)
